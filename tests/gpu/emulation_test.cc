// The emulation itself: that right kernels run, and that it finds faults that are planted.
#include <atomic>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/float16.h"
#include "kernels/cuda/device.h"
#include "tests/gpu/emulate/machine.h"
#include "tests/sanitized.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CATENA_TEST_RACES 1
#endif
#if __has_feature(address_sanitizer)
#define CATENA_TEST_BOUNDS 1
#endif
#endif

namespace {

std::atomic<int> races = 0;  // that the thread sanitizer has reported

}  // namespace

#if defined(CATENA_TEST_RACES)
extern "C" {
// The faults are planted: they fail no run.
const char* __tsan_default_options() { return "exitcode=0"; }
// It runs within a report, which waits for ever for another one to end: nothing here may be one.
__attribute__((no_sanitize("thread"))) void __tsan_on_report(void*) {
  races.fetch_add(1, std::memory_order_relaxed);
}
}
constexpr bool kSeesRaces = true;
#else
constexpr bool kSeesRaces = false;
#endif

namespace catena::cuda {
namespace {

using emulate::Fault;
using emulate::Order;
using ::testing::HasSubstr;

constexpr Order kOrders[] = {Order::kForward, Order::kReverse, Order::kShuffled};

// What the emulation says of a launch; nothing where all is well.
template <class... P, class... A>
std::string FaultOf(unsigned blocks, unsigned threads, void (*kernel)(P...), A... arguments) {
  try {
    emulate::RunKernel({.grid = {blocks}, .block = {threads}, .shared_bytes = 0},
                       [&] { kernel(arguments...); });
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "";
}

// In how many of the orders `run` gives true, and whether a race was reported: either finds a
// fault.
template <class F>
bool Finds(F wrong) {
  const int before = races;
  bool found = false;
  for (const Order order : kOrders) {
    emulate::GlobalOptions().order = order;
    found = wrong() || found;
  }
  emulate::GlobalOptions().order = Order::kForward;
  return kSeesRaces ? races > before : found;
}

constexpr int kThreads = 128;

// Each thread gives the value of the thread across the block.
template <bool kBarrier>
__global__ void Mirror(int* out) {
  CATENA_SHARED(int, values, [kThreads]);
  values[Thread()] = Thread();
  if (kBarrier) __syncthreads();
  out[Thread()] = values[kThreads - 1 - Thread()];
}
template <bool kBarrier>
bool MirrorIsWrong() {
  std::vector<int> out(kThreads, -1);
  EXPECT_EQ(FaultOf(1, kThreads, Mirror<kBarrier>, out.data()), "");
  for (int i = 0; i < kThreads; ++i) {
    if (out[i] != kThreads - 1 - i) return true;
  }
  return false;
}
TEST(Faults, AMissingBarrier) {
  EXPECT_FALSE(Finds(MirrorIsWrong<true>));
  EXPECT_TRUE(Finds(MirrorIsWrong<false>));
}

// A buffer that is written anew while others may still read it.
template <bool kBarrier>
__global__ void Rounds(int* out) {
  CATENA_SHARED(int, value, [1]);
  int sum = 0;
  for (int round = 1; round <= 3; ++round) {
    if (Thread() == 0) value[0] = round;
    __syncthreads();
    sum = 10 * sum + value[0];
    if (kBarrier) __syncthreads();
  }
  out[Thread()] = sum;
}
template <bool kBarrier>
bool RoundsAreWrong() {
  std::vector<int> out(kThreads, -1);
  EXPECT_EQ(FaultOf(1, kThreads, Rounds<kBarrier>, out.data()), "");
  return std::count(out.begin(), out.end(), 123) != kThreads;
}
TEST(Faults, ABufferReusedTooSoon) {
  EXPECT_FALSE(Finds(RoundsAreWrong<true>));
  EXPECT_TRUE(Finds(RoundsAreWrong<false>));
}

// Lanes of one warp are no more ordered than threads of several, but by __syncwarp.
template <bool kSync>
__global__ void MirrorInWarp(int* out) {
  CATENA_SHARED(int, values, [kWarpLanes]);
  values[Lane()] = Lane();
  if (kSync) __syncwarp();
  out[Lane()] = values[kWarpLanes - 1 - Lane()];
}
template <bool kSync>
bool MirrorInWarpIsWrong() {
  std::vector<int> out(kWarpLanes, -1);
  EXPECT_EQ(FaultOf(1, kWarpLanes, MirrorInWarp<kSync>, out.data()), "");
  for (int i = 0; i < kWarpLanes; ++i) {
    if (out[i] != kWarpLanes - 1 - i) return true;
  }
  return false;
}
TEST(Faults, LanesThatDoNotSynchronise) {
  EXPECT_FALSE(Finds(MirrorInWarpIsWrong<true>));
  EXPECT_TRUE(Finds(MirrorInWarpIsWrong<false>));
}

// Blocks are not ordered at all.
template <bool kShared>
__global__ void WritesBlock(int* out) {
  if (Thread() == 0) out[kShared ? 0 : blockIdx.x] = static_cast<int>(blockIdx.x);
}
template <bool kShared>
bool BlocksAreWrong() {
  std::vector<int> out(4, -1);
  EXPECT_EQ(FaultOf(4, 32, WritesBlock<kShared>, out.data()), "");
  return kShared ? out[0] != 3 : out != std::vector<int>{0, 1, 2, 3};
}
TEST(Faults, BlocksThatWriteOnePlace) {
  EXPECT_FALSE(Finds(BlocksAreWrong<false>));
  EXPECT_TRUE(Finds(BlocksAreWrong<true>));
}

__global__ void LeavesEarly(int n) {
  if (Thread() >= n) return;
  __syncthreads();
}
__global__ void TwoBarriers() {
  if (Thread() < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void BarrierOfOneWarp() {
  if (Warp() == 0) __syncthreads();
  __syncthreads();
}
TEST(Faults, DivergentBarriers) {
  EXPECT_EQ(FaultOf(1, 64, LeavesEarly, 64), "");
  for (const Order order : kOrders) {
    emulate::GlobalOptions().order = order;
    EXPECT_THAT(FaultOf(1, 64, LeavesEarly, 40), HasSubstr("barrier divergence"));
    EXPECT_THAT(FaultOf(1, 64, TwoBarriers), HasSubstr("others wait at emulation_test.cc:"));
    EXPECT_THAT(FaultOf(1, 64, BarrierOfOneWarp), HasSubstr("barrier divergence"));
  }
  emulate::GlobalOptions().order = Order::kForward;
}

__global__ void ShuffleOfHalf() {
  if (Lane() < 16) __shfl_xor_sync(kWholeWarp, 1, 1);
}
__global__ void TwoShuffles() {
  if (Lane() < 16) {
    __shfl_xor_sync(kWholeWarp, 1, 1);
  } else {
    __shfl_sync(kWholeWarp, 1, 0);
  }
}
__global__ void BarrierBesideShuffle() {
  if (Lane() < 16) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}
TEST(Faults, LanesThatDoNotMeet) {
  EXPECT_THAT(FaultOf(1, 32, ShuffleOfHalf), HasSubstr("left the kernel"));
  EXPECT_THAT(FaultOf(1, 32, TwoShuffles), HasSubstr("while others of the warp are at"));
  EXPECT_THAT(FaultOf(1, 32, BarrierBesideShuffle), HasSubstr("deadlock"));
}

[[maybe_unused]] __global__ void ReadsPast(int n, float* out) {
  CATENA_SHARED(float, values, [8]);
  CATENA_SHARED(float, others, [8]);
  values[Lane() % 8] = 1.0f;
  others[Lane() % 8] = 2.0f;
  out[Lane()] = values[n];
}
__global__ void CopiesPast(const uint4* from, int n) {
  CATENA_SHARED(uint4, values, [4]);
  ptx::CopyAsync16(&values[0] + n, from, true);
  ptx::CommitCopies();
  ptx::WaitForCopies<0>();
}
TEST(FaultsDeathTest, AccessPastSharedMemory) {
  const uint4 from = {};
  EXPECT_EQ(FaultOf(1, 32, CopiesPast, &from, 3), "");
  EXPECT_THAT(FaultOf(1, 32, CopiesPast, &from, 4), HasSubstr("not to shared memory"));
#if defined(CATENA_TEST_BOUNDS)
  std::vector<float> out(32);
  EXPECT_EQ(FaultOf(1, 32, ReadsPast, 7, out.data()), "");
  EXPECT_DEATH(FaultOf(1, 32, ReadsPast, 8, out.data()), "out of bounds|heap-buffer-overflow");
#endif
}

// The copy of a thread's own 16 bytes, with what is left out.
enum class Omit { kNothing, kWait, kOneGroup, kCommit };
template <Omit kOmit>
__global__ void CopiesTwice(const float* from, float* out) {
  CATENA_SHARED(float4, values, [2][32]);
  const auto* pieces = reinterpret_cast<const float4*>(from);
  for (int i = 0; i < 2; ++i) {
    ptx::CopyAsync16(&values[i][Lane()], pieces + 32 * i + Lane(), true);
    if (kOmit != Omit::kCommit) ptx::CommitCopies();
  }
  if (kOmit == Omit::kNothing || kOmit == Omit::kCommit) ptx::WaitForCopies<0>();
  if (kOmit == Omit::kOneGroup) ptx::WaitForCopies<1>();
  out[Lane()] = values[0][Lane()].x + values[1][Lane()].w;
}
template <Omit kOmit>
bool CopiesAreWrong() {
  std::vector<float> out(32);
  const std::vector<float4> from(64, float4{1, 2, 3, 4});
  EXPECT_EQ(FaultOf(1, 32, CopiesTwice<kOmit>, &from[0].x, out.data()), "");
  for (const float x : out) {
    if (!(x == 5.0f)) return true;
  }
  return false;
}
TEST(Faults, CopiesThatAreNotWaitedFor) {
  EXPECT_FALSE(CopiesAreWrong<Omit::kNothing>());
  EXPECT_TRUE(CopiesAreWrong<Omit::kWait>());
  EXPECT_TRUE(CopiesAreWrong<Omit::kOneGroup>());
  EXPECT_TRUE(CopiesAreWrong<Omit::kCommit>());
}

__global__ void ReadsUnwritten(float* out) {
  CATENA_SHARED(float, value, [1]);
  out[Lane()] = value[0];
}
TEST(Faults, SharedMemoryThatNobodyWroteIsNan) {
  std::vector<float> out(32);
  ASSERT_EQ(FaultOf(1, 32, ReadsUnwritten, out.data()), "");
  EXPECT_TRUE(std::isnan(out[0]));
}

__global__ void MmaNeedsTensorCores() {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  ptx::MmaBf16(d, a, b);
}
TEST(Faults, AnInstructionThatTheGpuLacks) {
  EXPECT_EQ(FaultOf(1, 32, MmaNeedsTensorCores), "");
  emulate::GlobalOptions().capability = 75;
  EXPECT_THAT(FaultOf(1, 32, MmaNeedsTensorCores), HasSubstr("compute capability 80"));
  emulate::GlobalOptions().capability = 90;
}

// --- instructions ---

// b: 8 columns of 16, one after the other. Fragments come as the instruction's table has them.
__global__ void MultiplyOnce(const uint16_t* a, const uint16_t* b, float* d) {
  const int g = Lane() / 4, t = Lane() % 4;
  const auto pair = [](const uint16_t* p) { return p[0] | static_cast<uint32_t>(p[1]) << 16; };
  const uint32_t fa[4] = {pair(a + g * 16 + 2 * t), pair(a + (g + 8) * 16 + 2 * t),
                          pair(a + g * 16 + 2 * t + 8), pair(a + (g + 8) * 16 + 2 * t + 8)};
  const uint32_t fb[2] = {pair(b + g * 16 + 2 * t), pair(b + g * 16 + 2 * t + 8)};
  float fd[4] = {1, 1, 1, 1};
  ptx::MmaBf16(fd, fa, fb);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fd[i];
}
TEST(Instructions, MmaMultipliesMatrices) {
  std::mt19937 rng(1);
  std::vector<uint16_t> a(16 * 16), b(8 * 16);
  for (uint16_t& x : a) x = F32ToBF16(static_cast<float>(static_cast<int>(rng() % 33) - 16));
  for (uint16_t& x : b) x = F32ToBF16(static_cast<float>(static_cast<int>(rng() % 33) - 16));
  std::vector<float> d(16 * 8);
  ASSERT_EQ(FaultOf(1, 32, MultiplyOnce, a.data(), b.data(), d.data()), "");
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float expect = 1.0f;
      for (int k = 0; k < 16; ++k) {
        expect += BF16ToF32(a[row * 16 + k]) * BF16ToF32(b[column * 16 + k]);
      }
      EXPECT_EQ(d[row * 8 + column], expect);
    }
  }
}

__global__ void LoadFour(uint32_t* out) {
  CATENA_SHARED(uint16_t, rows, [32][8]);
  for (int i = 0; i < 8; ++i) rows[Lane()][i] = static_cast<uint16_t>(8 * Lane() + i);
  __syncwarp();
  uint32_t loaded[4];
  ptx::LdMatrix4(loaded, rows[Lane()]);
  for (int i = 0; i < 4; ++i) out[Lane() * 4 + i] = loaded[i];
}
TEST(Instructions, LdMatrixGivesEachLaneAPairOfEachMatrix) {
  std::vector<uint32_t> out(32 * 4);
  ASSERT_EQ(FaultOf(1, 32, LoadFour, out.data()), "");
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t matrix = 0; matrix < 4; ++matrix) {
      const uint32_t first = 8 * (8 * matrix + lane / 4) + lane % 4 * 2;
      EXPECT_EQ(out[lane * 4 + matrix], first | (first + 1) << 16);
    }
  }
}

__global__ void Shuffles(int* out) {
  out[Lane()] = 100 * __shfl_sync(kWholeWarp, Lane(), 3) + __shfl_xor_sync(kWholeWarp, Lane(), 5);
  out[32 + Lane()] = __shfl_down_sync(kWholeWarp, Lane(), 8u);
}
TEST(Instructions, ShufflesTakeTheirLane) {
  std::vector<int> out(64);
  ASSERT_EQ(FaultOf(1, 32, Shuffles, out.data()), "");
  for (int lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(out[lane], 300 + (lane ^ 5));
    EXPECT_EQ(out[32 + lane], lane < 24 ? lane + 8 : lane);
  }
}

TEST(Instructions, HalvesRoundAsTheHostDoes) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto h = static_cast<uint16_t>(bits);
    const float f = ptx::HalfToFloat(h);
    if (std::isnan(f)) continue;
    EXPECT_EQ(ptx::FloatToHalf(f), h);
    EXPECT_EQ(FloatToHalfSaturating(f), F32ToF16Saturating(f));
  }
  for (const float f : {65519.0f, 65520.0f, 1e9f, -1e9f, 1e-9f, 3.14159f}) {
    EXPECT_EQ(FloatToHalfSaturating(f), F32ToF16Saturating(f)) << f;
  }
}

// --- the runtime ---

class RuntimeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaMalloc(&device_, sizeof(int)), cudaSuccess);
    ASSERT_EQ(cudaHostAlloc(&host_, sizeof(int), cudaHostAllocDefault), cudaSuccess);
    ASSERT_EQ(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), cudaSuccess);
  }
  void TearDown() override {
    cudaStreamDestroy(stream_);
    cudaEventDestroy(event_);
    cudaFree(device_);
    cudaFreeHost(host_);
  }
  int& host() { return *static_cast<int*>(host_); }
  void ToDevice() { cudaMemcpyAsync(device_, host_, sizeof(int), cudaMemcpyHostToDevice, stream_); }
  void ToHost() { cudaMemcpyAsync(host_, device_, sizeof(int), cudaMemcpyDeviceToHost, stream_); }

  cudaStream_t stream_ = nullptr;
  cudaEvent_t event_ = nullptr;
  void *device_ = nullptr, *host_ = nullptr;
};

__global__ void AddOne(int* x) {
  if (Thread() == 0) ++*x;
}

TEST_F(RuntimeTest, WorkIsDoneInItsOrderAndNotBeforeItIsWaitedFor) {
  host() = 41;
  ToDevice();
  Launch(stream_, dim3(1), 32, 0, AddOne, static_cast<int*>(device_));
  ToHost();
  cudaEventRecord(event_, stream_);
  EXPECT_EQ(host(), 41);
  EXPECT_EQ(cudaEventSynchronize(event_), cudaSuccess);
  EXPECT_EQ(host(), 42);
}

TEST_F(RuntimeTest, APinnedBufferWrittenBeforeItsCopyIsDoneSpoilsTheCopy) {
  host() = 1;
  ToDevice();
  host() = 2;
  ToHost();
  cudaEventRecord(event_, stream_);
  cudaEventSynchronize(event_);
  EXPECT_EQ(host(), 2);
}

TEST_F(RuntimeTest, AnEventIsReachedPieceByPiece) {
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess) << "never recorded";
  ToDevice();
  ToHost();
  cudaEventRecord(event_, stream_);
  EXPECT_EQ(cudaEventQuery(event_), cudaErrorNotReady);
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);
}

TEST_F(RuntimeTest, AStreamWaitsForAnothersEvent) {
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  host() = 7;
  ToDevice();
  cudaEventRecord(event_, stream_);
  cudaStreamWaitEvent(other, event_, 0);
  Launch(other, dim3(1), 32, 0, AddOne, static_cast<int*>(device_));
  EXPECT_EQ(cudaStreamSynchronize(other), cudaSuccess);
  ToHost();
  cudaStreamSynchronize(stream_);
  EXPECT_EQ(host(), 8);
  cudaStreamDestroy(other);
}

TEST_F(RuntimeTest, AGraphDoesWhatWasCapturedEachTimeItIsLaunched) {
  host() = 10;
  ToDevice();
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  Launch(stream_, dim3(1), 32, 0, AddOne, static_cast<int*>(device_));
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  cudaGraphDestroy(graph);
  for (int i = 0; i < 3; ++i) cudaGraphLaunch(executable, stream_);
  ToHost();
  cudaStreamSynchronize(stream_);
  EXPECT_EQ(host(), 13);
  cudaGraphExecDestroy(executable);
}

TEST_F(RuntimeTest, MoreThanTheDeviceHasIsRefused) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, emulate::GlobalOptions().memory + 1), cudaErrorMemoryAllocation);
}

TEST(RuntimeDeathTest, AFaultEndsTheProcessWithItsReason) {
  const auto run = [] {
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    Launch(stream, dim3(1), 64, 0, LeavesEarly, 40);
    Check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(1),
              "barrier divergence(.|\n)*cudaStreamSynchronize");
}

}  // namespace
}  // namespace catena::cuda
