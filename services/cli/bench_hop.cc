#include "services/cli/bench_hop.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <semaphore>

#include "services/cli/bench_hop_peer.h"
#include "services/cli/output.h"
#include "services/common/channel.h"
#include "services/common/log.h"
#include "services/link/frame_bytes.h"

namespace catena::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct HopOptions {
  int64_t bytes = 2304;
  int count = 20000;
  bool json = false;
};

// Something that goes to the peer and comes back.
class Ping {
 public:
  virtual ~Ping() = default;

  // One hop in microseconds: half of there and back. UNAVAILABLE where nothing comes back.
  absl::StatusOr<double> Hop() {
    constexpr std::chrono::seconds kPatience{10};
    const Clock::time_point start = Clock::now();
    Send();
    if (!back_.try_acquire_for(kPatience)) {
      return absl::UnavailableError("the other end does not answer");
    }
    return std::chrono::duration<double, std::micro>(came_ - start).count() / 2;
  }

 protected:
  virtual void Send() = 0;
  void Came() { came_ = Clock::now(); }
  void MayGoAgain() { back_.release(); }

 private:
  Clock::time_point came_;
  std::binary_semaphore back_{0};
};

// A decode step with one row, as it goes from shard to shard.
class TransportPing final : public Ping, private Receiver {
 public:
  TransportPing(const Replica& peer, int64_t bytes)
      : peer_(peer),
        transport_({BenchIdentity(1, bytes), grpc::InsecureChannelCredentials()}, this) {
    const std::string row(static_cast<size_t>(bytes), 'x');
    steps_.steps = {Step{{1, 1}, {1, 0}, 0, 0, 100, {12345}, {0x0123456789ABCDEF}}};
    steps_.rows = std::make_shared<const std::string>(row);
    transport_.Connect(peer_);
  }
  ~TransportPing() override { transport_.Shutdown(); }

  // What is on the wire.
  grpc::ByteBuffer Bytes(int64_t row_bytes) const {
    v1::Frame frame;
    EncodeWithoutRows(steps_, {DType::kF32, row_bytes}, &frame);
    return ToBytes(frame, steps_.rows);
  }

 private:
  void Send() override { transport_.Send({peer_.incarnation, Lane::kDecode, steps_}); }
  void OnMessage(Incarnation, Lane, ChainMessage) override {
    Came();
    MayGoAgain();
  }
  void OnConnect(Incarnation) override {}
  void OnDisconnect(Incarnation, const absl::Status&) override {}

  const Replica peer_;
  Steps steps_;
  GrpcTransport transport_;
};

// The same bytes on a stream with nothing around it.
class BarePing final : public Ping,
                       private grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  BarePing(const std::string& address, grpc::ByteBuffer bytes)
      : stub_(MakeChannel(address, grpc::InsecureChannelCredentials(), {.own_connection = true})),
        out_(std::move(bytes)) {
    stub_.PrepareBidiStreamingCall(&context_, kBareMethod, {}, this);
    AddHold();
    StartRead(&in_);
    StartCall();
  }
  ~BarePing() override {
    context_.TryCancel();
    RemoveHold();
    done_.acquire();
  }

 private:
  void Send() override { StartWrite(&out_); }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    Came();
    StartRead(&in_);
    OneOfTwo();
  }
  void OnWriteDone(bool ok) override {
    if (ok) OneOfTwo();
  }
  // gRPC may hand over the answer before it says that the question is written.
  void OneOfTwo() {
    if (events_.fetch_add(1) % 2 == 1) MayGoAgain();
  }
  void OnDone(const grpc::Status&) override { done_.release(); }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer out_, in_;
  std::atomic<int> events_ = 0;
  std::binary_semaphore done_{0};
};

struct Percentiles {
  double p50 = 0, p95 = 0, p99 = 0;
};

Percentiles Of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
  };
  return {at(0.50), at(0.95), at(0.99)};
}

struct Compared {
  Percentiles bare, hop;
  double ratio() const { return hop.p50 / bare.p50; }
};

absl::Status Measure(Ping* ping, int count, std::vector<double>* times) {
  for (int i = 0; i < count; ++i) {
    CATENA_ASSIGN_OR_RETURN(const double time, ping->Hop());
    times->push_back(time);
  }
  return absl::OkStatus();
}

// In turns of a few, so that whatever else the machine does meets both alike.
absl::StatusOr<Compared> Compare(const Replica& peer, const HopOptions& o) {
  constexpr int kTurn = 50, kWarmUp = 200;
  TransportPing hop(peer, o.bytes);
  BarePing bare(peer.address, hop.Bytes(o.bytes));
  std::vector<double> hop_times, bare_times;
  CATENA_RETURN_IF_ERROR(Measure(&hop, kWarmUp, &hop_times));
  CATENA_RETURN_IF_ERROR(Measure(&bare, kWarmUp, &bare_times));
  hop_times.clear();
  bare_times.clear();
  for (int done = 0; done < o.count; done += kTurn) {
    const int turn = std::min(kTurn, o.count - done);
    CATENA_RETURN_IF_ERROR(Measure(&hop, turn, &hop_times));
    CATENA_RETURN_IF_ERROR(Measure(&bare, turn, &bare_times));
  }
  return Compared{Of(std::move(bare_times)), Of(std::move(hop_times))};
}

nlohmann::ordered_json Json(const Compared& c) {
  const auto json = [](const Percentiles& p) {
    return nlohmann::ordered_json{{"p50", p.p50}, {"p95", p.p95}, {"p99", p.p99}};
  };
  return {{"bare_us", json(c.bare)}, {"hop_us", json(c.hop)}, {"ratio", c.ratio()}};
}

std::string Lines(std::string_view name, const Compared& c) {
  const auto line = [&](std::string_view what, const Percentiles& p) {
    return fmt::format("{:<14}{:<20}{:>9.1f}{:>9.1f}{:>9.1f}", name, what, p.p50, p.p95, p.p99);
  };
  return fmt::format("{}\n{}   {:.2f} times\n", line("bare gRPC stream", c.bare),
                     line("Catena hop", c.hop), c.ratio());
}

absl::Status RunHop(const HopOptions& o) {
  CATENA_RETURN_IF_ERROR(InitLog({.role = "bench", .level = "error"}));
  CATENA_ASSIGN_OR_RETURN(const auto peer, HopPeer::Start(o.bytes));
  CATENA_ASSIGN_OR_RETURN(const Compared over_unix,
                          Compare({peer->unix_address(), HopPeer::kUnixIncarnation}, o));
  CATENA_ASSIGN_OR_RETURN(const Compared over_tcp,
                          Compare({peer->tcp_address(), HopPeer::kTcpIncarnation}, o));
  if (o.json) {
    return WriteJson({{"bytes", o.bytes},
                      {"count", o.count},
                      {"unix", Json(over_unix)},
                      {"tcp", Json(over_tcp)}});
  }
  return Write(
      fmt::format("{} hops of one row of {} bytes, each way\n"
                  "{:<34}{:>9}{:>9}{:>9}\n{}{}",
                  o.count, o.bytes, "microseconds", "p50", "p95", "p99",
                  Lines("unix socket", over_unix), Lines("loopback TCP", over_tcp)));
}

}  // namespace

Action DeclareBenchHop(App& app) {
  auto o = std::make_shared<HopOptions>();
  app.AddOption("--bytes", &o->bytes, "Bytes of the row (default 2304)").Range(1, 32 << 20);
  app.AddOption("--count", &o->count, "Round trips of each kind (default 20000)")
      .Range(1, 100'000'000);
  app.AddFlag("--json", &o->json, "One JSON object");
  return [o] { return RunHop(*o); };
}

}  // namespace catena::cli
