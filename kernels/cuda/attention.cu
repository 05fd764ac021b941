// Attention of each row over its sequence's pages, as kernels.h has it, bit by bit: a thread a
// position computes its score, the warps compute the softmax, a thread a value of the head adds up
// the values of the positions.
//
// A block takes queries that share their keys and values: heads of a group, and where there are
// many rows, neighbouring rows of a sequence. Pages come into shared memory, keys while the values
// of the page before are added up, values while scores are computed. Softmax runs of
// kSplitPositions are merged ascending: by the block that has computed them, or, where there are
// too few rows to fill the GPU, by another kernel, after a block a run.
#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarpLanes;
// Blocks of a multiprocessor, so that no register spills; an emulation has none.
[[maybe_unused]] constexpr int kResident = 2;
constexpr int kQueries = 8;  // at once
// Of a copy. Rows lie one apart more, so that lanes meet in no bank.
constexpr int kPieceBytes = 16;
constexpr int kRunFloats = 2;   // of a run's scratch, beside the output: maximum and sum
constexpr int kMaxSplits = 32;  // blocks that share the runs of a row
static_assert(kMaxHeadDim <= kThreads);

// A type of the cache, float or float16.
constexpr int ValueBytes(DType cache) { return cache == DType::kF32 ? 4 : 2; }
constexpr int RowBytesOf(int head_dim, DType cache) {
  return head_dim * ValueBytes(cache) + kPieceBytes;
}

struct Geometry {
  Heads heads;
  DeviceCache cache;
  int layer;
  int group;         // heads of q that share one of k and v
  int rows_at_once;  // of a block, of one sequence
  int head_blocks;   // into which a group is cut
  int64_t max_runs;  // of scratch
};

// What the block works on: rows [row, row + rows) of one span, heads [head, head + n_heads).
struct Work {
  int row, rows, head, n_heads, kv_head;
  BatchSpan span;
  int first_position;  // of the first row
  __device__ int queries() const { return rows * n_heads; }
  __device__ int row_of(int query) const { return row + query / n_heads; }
  __device__ int head_of(int query) const { return head + query % n_heads; }
  __device__ int position_of(int query) const { return first_position + query / n_heads; }
};

__device__ __forceinline__ int LowestSeen(const Heads& heads, int position) {
  const int64_t low = position - heads.window + 1;
  return heads.window == 0 || low < 0 ? 0 : static_cast<int>(low);
}

// The state of the softmax runs of a block's queries.
struct Softmax {
  float maximum[kQueries], sum[kQueries];
  float factor[kQueries];             // of what was added up before the page
  float p[kQueries][kPagePositions];  // scores, then probabilities
};

// The values of 16 bytes.
template <DType kCache>
struct Piece {
  static constexpr int kValues = kPieceBytes / ValueBytes(kCache);
  float value[kValues];
  __device__ __forceinline__ explicit Piece(const uint4& piece) {
    const unsigned words[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      value[i] =
          kCache == DType::kF32
              ? __uint_as_float(words[i * 4 / kValues])
              : ptx::HalfToFloat(static_cast<uint16_t>(words[i * 4 / kValues] >> i % 2 * 16));
    }
  }
};

// Begins to copy the keys (kind 0) or values (1) of a page.
template <DType kCache>
__device__ __forceinline__ void CopyPage(const Geometry& geo, const BatchView& batch,
                                         const Work& work, int kind, int first, uint8_t* to) {
  const int head_bytes = geo.heads.head_dim * ValueBytes(kCache);
  const int pieces = head_bytes / kPieceBytes;
  const int64_t block = (int64_t{work.kv_head} * 2 + kind) * kPagePositions;
  const uint8_t* from = geo.cache.data + batch.page(work.span, first) * geo.cache.page_bytes +
                        geo.layer * geo.cache.layer_bytes + block * head_bytes;
  for (int i = Thread(); i < kPagePositions * pieces; i += kThreads) {
    const int j = i / pieces, piece = i % pieces;
    ptx::CopyAsync16(to + j * (head_bytes + kPieceBytes) + piece * kPieceBytes,
                     from + int64_t{j} * head_bytes + piece * kPieceBytes, true);
  }
  ptx::CommitCopies();
}

// Scores of the page's positions: two threads a position, each of every other query.
template <DType kCache>
__device__ __forceinline__ void Scores(const Geometry& geo, const Work& work,
                                       const float (*q)[kMaxHeadDim], const uint8_t* keys,
                                       Softmax* softmax) {
  constexpr int kValues = Piece<kCache>::kValues;
  const int j = Thread() % kPagePositions, first_query = Thread() / kPagePositions;
  const uint8_t* key = keys + j * RowBytesOf(geo.heads.head_dim, kCache);
  const int queries = work.queries();
  float score[kQueries / 2] = {};
  for (int d = 0; d < geo.heads.head_dim; d += kValues) {
    const Piece<kCache> k(*reinterpret_cast<const uint4*>(key + d * ValueBytes(kCache)));
#pragma unroll
    for (int s = 0; s < kQueries / 2; ++s) {
      const int query = 2 * s + first_query;
      if (query >= queries) continue;
#pragma unroll
      for (int i = 0; i < kValues; ++i) score[s] = fmaf(q[query][d + i], k.value[i], score[s]);
    }
  }
#pragma unroll
  for (int s = 0; s < kQueries / 2; ++s) {
    const float cap = geo.heads.softcap;
    softmax->p[2 * s + first_query][j] = cap == 0.0f ? score[s] : SoftCapped(score[s], cap);
  }
}

// The warp: takes the page of positions from `first` on into the run of a query.
__device__ __forceinline__ void TakePage(const Geometry& geo, const Work& work, int query,
                                         int first, Softmax* softmax) {
  float* p = softmax->p[query];
  const int position = work.position_of(query), low = LowestSeen(geo.heads, position);
  const auto sees = [&](int j) { return first + j >= low && first + j <= position; };
  const int j0 = Lane(), j1 = Lane() + kWarpLanes;
  float maximum = softmax->maximum[query];
  if (sees(j0)) maximum = fmaxf(maximum, p[j0]);
  if (sees(j1)) maximum = fmaxf(maximum, p[j1]);
  for (int bits = 16; bits > 0; bits /= 2) {
    maximum = fmaxf(maximum, __shfl_xor_sync(kWholeWarp, maximum, bits));
  }
  const float p0 = sees(j0) ? SoftmaxExp(p[j0] - maximum) : 0.0f;
  const float p1 = sees(j1) ? SoftmaxExp(p[j1] - maximum) : 0.0f;
  p[j0] = p0;
  p[j1] = p1;
  // lanes16: lane i adds positions i, i + 16, i + 32, i + 48.
  const int other = (Lane() + 16) % kWarpLanes;
  const float p0_of_other = __shfl_sync(kWholeWarp, p0, other);
  const float p1_of_other = __shfl_sync(kWholeWarp, p1, other);
  const float added = SumOfLanes16(((p0 + p0_of_other) + p1) + p1_of_other);
  const float factor = SoftmaxExp(softmax->maximum[query] - maximum);
  __syncwarp();
  if (Lane() != 0) return;
  softmax->sum[query] = fmaf(softmax->sum[query], factor, added);
  softmax->maximum[query] = maximum;
  softmax->factor[query] = factor;
}

// Value d of each query's output over a run, or over all runs so far.
using Outputs = float[kQueries];

template <DType kCache>
__device__ __forceinline__ void AddValues(const Geometry& geo, const Work& work, int d,
                                          const uint8_t* values, const Softmax& softmax,
                                          Outputs* output) {
  const int queries = work.queries();
  const int row_bytes = RowBytesOf(geo.heads.head_dim, kCache);
#pragma unroll
  for (int i = 0; i < kQueries; ++i) (*output)[i] *= softmax.factor[i];
  for (int j = 0; j < kPagePositions; ++j) {
    const uint8_t* row = values + j * row_bytes;
    const float v = kCache == DType::kF32
                        ? reinterpret_cast<const float*>(row)[d]
                        : ptx::HalfToFloat(reinterpret_cast<const uint16_t*>(row)[d]);
#pragma unroll
    for (int i = 0; i < kQueries; ++i) {
      if (i < queries) (*output)[i] = fmaf(softmax.p[i][j], v, (*output)[i]);
    }
  }
}

// The block: the run of positions [first, end), which begins a page.
template <DType kCache>
__device__ __forceinline__ void ComputeRun(const Geometry& geo, const BatchView& batch,
                                           const Work& work, int first, int end,
                                           const float (*q)[kMaxHeadDim], uint8_t* keys,
                                           Softmax* softmax, Outputs* output) {
  uint8_t* values = keys + kPagePositions * RowBytesOf(geo.heads.head_dim, kCache);
  const int d = Thread();
  for (int i = Thread(); i < kQueries; i += kThreads) {
    softmax->maximum[i] = kSoftmaxStart;
    softmax->sum[i] = 0.0f;
    softmax->factor[i] = 1.0f;
  }
#pragma unroll
  for (int i = 0; i < kQueries; ++i) (*output)[i] = 0.0f;
  CopyPage<kCache>(geo, batch, work, 0, first, keys);
  CopyPage<kCache>(geo, batch, work, 1, first, values);
  for (int page = first; page < end; page += kPagePositions) {
    ptx::WaitForCopies<1>();
    __syncthreads();  // the keys are there
    Scores<kCache>(geo, work, q, keys, softmax);
    __syncthreads();
    if (page + kPagePositions < end) {
      CopyPage<kCache>(geo, batch, work, 0, page + kPagePositions, keys);
    } else {
      ptx::CommitCopies();
    }
    for (int i = Warp(); i < work.queries(); i += kWarps) TakePage(geo, work, i, page, softmax);
    ptx::WaitForCopies<1>();
    __syncthreads();  // the values are there, and the probabilities
    if (d < geo.heads.head_dim) AddValues<kCache>(geo, work, d, values, *softmax, output);
    __syncthreads();
    if (page + kPagePositions < end) {
      CopyPage<kCache>(geo, batch, work, 1, page + kPagePositions, values);
    } else {
      ptx::CommitCopies();
    }
  }
}

// What a query's runs come to, one after the other.
struct Merged {
  float maximum = kSoftmaxStart, sum = 0.0f, output = 0.0f;
  __device__ __forceinline__ void Take(float run_maximum, float run_sum, float run_output) {
    const float m = fmaxf(maximum, run_maximum);
    const float a = SoftmaxExp(maximum - m), b = SoftmaxExp(run_maximum - m);
    maximum = m;
    sum = fmaf(sum, a, run_sum * b);
    output = fmaf(output, a, run_output * b);
  }
  __device__ float Result() const { return __fdiv_rn(output, sum) + 0.0f; }
};

// Where the state of a run of a row's head begins.
__device__ __forceinline__ float* RunOf(const Geometry& geo, float* scratch, int row, int head,
                                        int64_t run) {
  const int64_t at = (int64_t{row} * geo.heads.heads + head) * geo.max_runs + run;
  return scratch + at * (geo.heads.head_dim + kRunFloats);
}

// All runs of the block's queries, or with `scratch` every gridDim.z-th, from blockIdx.z on.
template <DType kCache>
__device__ __forceinline__ void Compute(const Geometry& geo, const BatchView& batch,
                                        const Work& work, const DeviceFloats& qkv, float* scratch,
                                        uint8_t* pages, const DeviceFloats& y) {
  CATENA_SHARED(float, q, [kQueries][kMaxHeadDim]);
  CATENA_SHARED(Softmax, softmax, [1]);
  const int head_dim = geo.heads.head_dim, d = Thread(), queries = work.queries();
  for (int i = 0; i < queries && d < head_dim; ++i) {
    q[i][d] = qkv.data[work.row_of(i) * qkv.stride + work.head_of(i) * head_dim + d];
  }
  const int low = LowestSeen(geo.heads, work.first_position);
  const int last = work.first_position + work.rows - 1;
  const int splits = scratch == nullptr ? 1 : static_cast<int>(gridDim.z);
  Merged merged[kQueries];
  for (int run = low / kSplitPositions + static_cast<int>(blockIdx.z);
       run <= last / kSplitPositions; run += splits) {
    const int begin = run * kSplitPositions, page = low / kPagePositions * kPagePositions;
    const int end = begin + kSplitPositions;
    Outputs output;
    ComputeRun<kCache>(geo, batch, work, begin > page ? begin : page,
                       end < last + 1 ? end : last + 1, q, pages, &softmax[0], &output);
#pragma unroll
    for (int i = 0; i < kQueries; ++i) {
      if (i >= queries) continue;
      const float maximum = softmax[0].maximum[i], sum = softmax[0].sum[i];
      if (scratch == nullptr) {
        merged[i].Take(maximum, sum, output[i]);
        continue;
      }
      float* to = RunOf(geo, scratch, work.row_of(i), work.head_of(i), run - low / kSplitPositions);
      if (d < head_dim) to[kRunFloats + d] = output[i];
      if (d == 0) to[0] = maximum;
      if (d == 0) to[1] = sum;
    }
    __syncthreads();
  }
  if (scratch != nullptr || d >= head_dim) return;
#pragma unroll
  for (int i = 0; i < kQueries; ++i) {
    if (i >= queries) continue;
    y.data[work.row_of(i) * y.stride + work.head_of(i) * head_dim + d] = merged[i].Result();
  }
}

// blockIdx.x: rows_at_once rows; blockIdx.y: a head of k and v, and a part of its group.
template <DType kCache>
__global__ __launch_bounds__(kThreads, kResident) void AttendRows(Geometry geo, DeviceFloats qkv,
                                                                  BatchView batch, float* scratch,
                                                                  DeviceFloats y) {
  CATENA_DYNAMIC_SHARED(uint8_t, pages);
  const int kv_head = static_cast<int>(blockIdx.y) / geo.head_blocks;
  const int head_in_group = static_cast<int>(blockIdx.y) % geo.head_blocks * kQueries;
  Work work{};
  work.kv_head = kv_head;
  work.head = kv_head * geo.group + head_in_group;
  work.n_heads = geo.group - head_in_group < kQueries ? geo.group - head_in_group : kQueries;
  work.row = static_cast<int>(blockIdx.x) * geo.rows_at_once;
  const int end =
      work.row + geo.rows_at_once < batch.rows() ? work.row + geo.rows_at_once : batch.rows();
  for (; work.row < end; work.row += work.rows) {
    work.span = batch.span_of(work.row);
    const int end_of_span = work.span.first_row + work.span.rows;
    work.rows = (end < end_of_span ? end : end_of_span) - work.row;
    work.first_position = batch.positions[work.row];
    Compute<kCache>(geo, batch, work, qkv, scratch, pages, y);
    __syncthreads();
  }
}

// A block a head of a row.
__global__ void MergeRuns(Geometry geo, BatchView batch, float* scratch, DeviceFloats y) {
  const int row = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  const int d = Thread();
  if (row >= batch.rows() || d >= geo.heads.head_dim) return;
  const int position = batch.positions[row];
  const int first = LowestSeen(geo.heads, position) / kSplitPositions;
  Merged merged;
  for (int run = first; run <= position / kSplitPositions; ++run) {
    const float* from = RunOf(geo, scratch, row, head, run - first);
    merged.Take(from[0], from[1], from[kRunFloats + d]);
  }
  y.data[row * y.stride + head * geo.heads.head_dim + d] = merged.Result();
}

}  // namespace

size_t AttentionSharedBytes(int head_dim, DType cache) {
  return size_t{2} * kPagePositions * static_cast<size_t>(RowBytesOf(head_dim, cache));
}

void Attention(cudaStream_t stream, const DeviceFloats& qkv, const Heads& heads,
               const BatchView& batch, int64_t max_positions, int layer, const DeviceCache& cache,
               const AttentionScratch& scratch, const DeviceFloats& y) {
  Geometry geo{heads, cache, layer, heads.heads / heads.kv_heads, 1, 1, 0};
  geo.head_blocks = CeilDiv(geo.group, kQueries);
  geo.max_runs = CeilDiv(max_positions, kSplitPositions);
  const int64_t floats =
      int64_t{qkv.rows} * heads.heads * geo.max_runs * (heads.head_dim + kRunFloats);
  const bool few = qkv.rows <= kFewRows;
  const bool split = few && geo.max_runs > 1 && floats <= scratch.floats;
  // Few rows are mostly of different sequences.
  if (!few && geo.group < kQueries) geo.rows_at_once = kQueries / geo.group;
  const dim3 grid(static_cast<unsigned>(CeilDiv(qkv.rows, geo.rows_at_once)),
                  static_cast<unsigned>(heads.kv_heads * geo.head_blocks),
                  static_cast<unsigned>(!split                      ? 1
                                        : geo.max_runs < kMaxSplits ? geo.max_runs
                                                                    : kMaxSplits));
  Launch(stream, grid, kThreads, AttentionSharedBytes(heads.head_dim, cache.dtype),
         cache.dtype == DType::kF32 ? AttendRows<DType::kF32> : AttendRows<DType::kF16>, geo, qkv,
         batch, split ? scratch.data : nullptr, y);
  if (!split) return;
  const dim3 merge(static_cast<unsigned>(qkv.rows), static_cast<unsigned>(heads.heads));
  Launch(stream, merge, kMaxHeadDim, 0, MergeRuns, geo, batch, scratch.data, y);
}

}  // namespace catena::cuda
