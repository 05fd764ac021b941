// Any messages, in any order, to the core of a shard: what it asks of its memory makes sense, and
// in the end, when no gateway says anything any more, it holds nothing.
#include <map>

#include "runtime/chain/stage_core.h"
#include "tests/fuzz/message_maker.h"

namespace catena {
namespace {

// Room for two or three sequences; knows which positions each has.
class SmallMemory final : public StageMemory {
 public:
  absl::Status Open(uint64_t id, int64_t max_length, int64_t reserve) override {
    CATENA_CHECK(max_length > 0 && max_length <= MessageMaker::kMaxPositions);
    CATENA_CHECK(reserve > 0 && reserve <= max_length);
    if (held_ + reserve > kRoom) return absl::ResourceExhaustedError("no pages");
    CATENA_CHECK(open_.emplace(id, Entry{max_length, reserve, 0}).second);
    held_ += reserve;
    return absl::OkStatus();
  }
  bool Fits(int64_t reserve, absl::Span<const uint64_t> without) const override {
    int64_t held = held_;
    for (const uint64_t id : without) held -= open_.at(id).held;
    CATENA_CHECK(held >= 0);
    return held + reserve <= kRoom;
  }
  absl::Status ChooseRotary(uint64_t id, int32_t rotary) override {
    CATENA_CHECK(open_.at(id).length == 0);
    return rotary == 0 ? absl::OkStatus() : absl::InvalidArgumentError("no such factors");
  }
  absl::Status Extend(uint64_t id, int64_t length) override {
    Entry& entry = open_.at(id);
    CATENA_CHECK(length <= entry.max_length);
    const int64_t more = std::max<int64_t>(0, length - entry.held);
    if (held_ + more > kRoom) return absl::ResourceExhaustedError("no pages");
    held_ += more;
    entry.held += more;
    return absl::OkStatus();
  }
  absl::Status Truncate(uint64_t id, int64_t length) override {
    Entry& entry = open_.at(id);
    CATENA_CHECK(0 <= length);
    if (length % 5 == 1) return absl::FailedPreconditionError("slid out of the window");
    entry.length = std::min(entry.length, length);
    return absl::OkStatus();
  }
  void Close(uint64_t id) override {
    held_ -= open_.at(id).held;
    open_.erase(id);
  }
  // The next positions of a sequence are computed.
  void Run(const StageBatch::Span& span) {
    Entry& entry = open_.at(span.id);
    CATENA_CHECK(span.rows > 0 && span.first_position == entry.length);
    entry.length += span.rows;
  }
  bool empty() const { return open_.empty() && held_ == 0; }

 private:
  static constexpr int64_t kRoom = 2 * MessageMaker::kMaxPositions;
  struct Entry {
    int64_t max_length, held, length;
  };
  std::map<uint64_t, Entry> open_;
  int64_t held_ = 0;
};

void Drive(FuzzedDataProvider* data) {
  MessageMaker make(data);
  SmallMemory memory;
  StageCore core({.first = data->ConsumeBool(),
                  .row_bytes = MessageMaker::kRowBytes,
                  .vocab_size = MessageMaker::kVocab,
                  .max_rows = 16,
                  .max_positions = MessageMaker::kMaxPositions,
                  .journal_bytes = 64},
                 &memory);
  Instant now{};
  const StageBatch* running = nullptr;
  const auto finish = [&](bool well) {
    if (running == nullptr) return;
    const std::string rows(static_cast<size_t>(running->rows() * MessageMaker::kRowBytes), 'r');
    running = nullptr;
    well ? core.Complete(rows.data(), now) : core.Fail(absl::InternalError("broken"), now);
  };
  while (data->remaining_bytes() > 0) {
    now += std::chrono::milliseconds(make.Int(0, 100));
    switch (make.Int(0, 7)) {
      case 0:
        core.Tick(now);
        break;
      case 1:
        finish(true);
        break;
      case 2:
        finish(make.Int(0, 9) > 0);
        break;
      case 3:
        make.Int(0, 4) > 0 ? core.Connected(make.Peer(), now)
                           : core.Disconnected(make.Peer(), absl::UnavailableError("broke"), now);
        break;
      case 4:
        if (running != nullptr || (running = core.NextBatch(now)) == nullptr) break;
        for (const StageBatch::Span& span : running->spans) memory.Run(span);
        break;
      default:
        core.Receive(make.Peer(), Lane{static_cast<uint8_t>(make.Int(0, 2))}, make.Make(), now);
    }
    core.TakeOutput();
  }
  finish(true);
  for (int i = 0; i < 3; ++i) core.Tick(now += limits::DetectionLimits{}.lease);
  CATENA_CHECK(memory.empty());
  const ReplicaLoad load = core.load(now);
  CATENA_CHECK(load.sequences == 0 && load.queued_rows == 0 && load.journal_bytes == 0);
  core.Tick(now += limits::DetectionLimits{}.give_up);
  CATENA_CHECK(core.broken_edges().empty() && !core.WakeAt());
}

}  // namespace
}  // namespace catena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider provider(data, size);
  catena::Drive(&provider);
  return 0;
}
