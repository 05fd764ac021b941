// What is told of steps that come twice with other bits, by an actor to its process.
#include <future>

#include <gtest/gtest.h>

#include "runtime/actor/head_actor.h"
#include "runtime/chain/inbox.h"
#include "tests/runtime/tiny_checkpoint.h"

namespace catena {
namespace {

class Nowhere final : public Transport {
 public:
  void Connect(const Replica&) override {}
  void Disconnect(Incarnation) override {}
  void Send(Envelope) override {}
};

TEST(DivergenceTest, IsToldWithTheSequencesPublicId) {
  constexpr Incarnation kGateway = 1, kUpstream = 2;
  constexpr SequenceKey kKey{kGateway, 5};
  const auto checkpoint = TinyCheckpoint(kTinyPhi3, DType::kF32);
  Nowhere transport;
  const auto head = *HeadActor::Load(
      *checkpoint, {.compute = {.threads = 1}, .max_rows = 4, .max_positions = 128});
  std::promise<RowFaults> told;
  head->OnRowFaults([&](const RowFaults& seen) { told.set_value(seen); });
  head->Start(&transport);
  OpenHead open;
  open.sequence = kKey;
  open.upstream = kUpstream;
  open.prompt_length = 2;
  open.max_length = 8;
  open.window_rows = 8;
  open.public_id = PublicId{77};
  head->OnMessage(kGateway, Lane::kControl, open);
  const std::string zeros(static_cast<size_t>(head->row_bytes()), '\0');
  for (const char bits : {5, 5, 6}) {
    const std::string row(zeros.size(), bits);
    Steps steps;
    Step& step = steps.steps.emplace_back();
    step.sequence = kKey;
    step.ids = {1, 2};
    step.row_hashes = {HashRow(zeros.data(), head->row_bytes()),
                       HashRow(row.data(), head->row_bytes())};
    steps.rows = std::make_shared<const std::string>(zeros + row);
    head->OnMessage(kUpstream, Lane::kDecode, std::move(steps));
  }
  const RowFaults seen = told.get_future().get();
  EXPECT_EQ(seen.last.sequence, PublicId{77});
  EXPECT_EQ(seen.came_twice, 1);
  EXPECT_EQ(seen.last.from, kUpstream);
  head->Stop();
  EXPECT_EQ(head->counters().row_faults.came_twice, 1);
}

}  // namespace
}  // namespace catena
