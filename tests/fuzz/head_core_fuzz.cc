// Any messages, in any order, to the core of a head: in the end, when no gateway says anything any
// more, it holds nothing.
#include "runtime/chain/head_core.h"
#include "tests/fuzz/message_maker.h"

namespace catena {
namespace {

void Drive(FuzzedDataProvider* data) {
  MessageMaker make(data);
  HeadCore core({.row_bytes = MessageMaker::kRowBytes,
                 .vocab_size = MessageMaker::kVocab,
                 .max_positions = MessageMaker::kMaxPositions,
                 .max_rows = 8});
  Instant now{};
  size_t running = 0;  // rows
  const auto finish = [&] {
    if (running == 0) return;
    std::vector<float> logits(running * MessageMaker::kVocab);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i % 5);
    running = 0;
    LogitsAtHand source(logits.data(), MessageMaker::kVocab);
    core.Complete(source, now);
  };
  while (data->remaining_bytes() > 0) {
    now += std::chrono::milliseconds(make.Int(0, 100));
    switch (make.Int(0, 6)) {
      case 0:
        core.Tick(now);
        break;
      case 1:
        finish();
        break;
      case 2:
        core.Disconnected(make.Peer(), absl::UnavailableError("broke"), now);
        break;
      case 3: {
        if (running > 0) break;
        const std::vector<RowRun>* batch = core.NextBatch(now);
        if (batch == nullptr) break;
        for (const RowRun& run : *batch) {
          const auto bytes = static_cast<size_t>(run.rows * MessageMaker::kRowBytes);
          CATENA_CHECK(run.offset + bytes <= run.payload->size());
          running += static_cast<size_t>(run.rows);
        }
        CATENA_CHECK(running <= 8);
        break;
      }
      default:
        core.Receive(make.Peer(), Lane{static_cast<uint8_t>(make.Int(0, 2))}, make.Make(), now);
    }
    core.TakeOutput();
  }
  finish();
  for (int i = 0; i < 3; ++i) core.Tick(now += limits::DetectionLimits{}.lease);
  const ReplicaLoad load = core.load(now);
  CATENA_CHECK(load.sequences == 0 && load.queued_rows == 0);
}

}  // namespace
}  // namespace catena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider provider(data, size);
  catena::Drive(&provider);
  return 0;
}
