// What every Transport must do. A transport's own test makes a TransportRig of it and instantiates
// the suite:
//
//   INSTANTIATE_TEST_SUITE_P(Local, TransportConformance, ::testing::Values(MakeLocalRig));
//
// Thread rules: none of its own.
#pragma once

#include <atomic>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "tests/runtime/chain/sample_messages.h"
#include "tests/runtime/chain/transport_rig.h"

namespace catena {

using MakeTransportRig = std::unique_ptr<TransportRig> (*)();

class TransportConformance : public ::testing::TestWithParam<MakeTransportRig> {
 protected:
  void SetUp() override { rig_ = GetParam()(); }

  std::unique_ptr<TransportNode> Start(Incarnation incarnation, Receiver* receiver,
                                       const std::string& address = "",
                                       int64_t max_queued_bytes = limits::kMaxQueuedBytes) {
    return rig_->Start({incarnation, address, max_queued_bytes, receiver});
  }

  static ChainMessage Numbered(uint64_t number) { return NeedFrom{{7, 7}, {}, number, 0}; }
  static uint64_t NumberOf(const RecordingReceiver::Got& got) {
    return std::get<NeedFrom>(got.message).number;
  }

  // Sends until a message arrives: a link may come up at any time.
  [[nodiscard]] static bool SendUntilReceived(Transport* from, Incarnation to,
                                              RecordingReceiver* at) {
    const size_t before = at->got().size();
    const auto end = std::chrono::steady_clock::now() + kPatience;
    for (uint64_t i = 0; std::chrono::steady_clock::now() < end; ++i) {
      from->Send({to, Lane::kControl, Numbered(i)});
      if (at->WaitForMessages(before + 1, std::chrono::milliseconds(20))) return true;
    }
    return false;
  }

  // The numbers that came on a lane from a peer, of one sender: sender * kPerSender + i.
  static constexpr uint64_t kPerSender = 1'000'000;
  static void ExpectInOrder(const RecordingReceiver& receiver, size_t senders) {
    std::map<std::pair<Lane, uint64_t>, uint64_t> next;
    for (const auto& got : receiver.got()) {
      const uint64_t number = NumberOf(got);
      ASSERT_LT(number / kPerSender, senders);
      ASSERT_EQ(number % kPerSender, (next[{got.lane, number / kPerSender}]++))
          << "lane " << static_cast<int>(got.lane);
    }
  }

  std::unique_ptr<TransportRig> rig_;
  RecordingReceiver at_a_, at_b_;
};

TEST_P(TransportConformance, EveryKindOfMessageArrivesEqualOnEveryLane) {
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  a->transport().Connect(b->replica());
  const std::vector<ChainMessage> messages = SampleMessages();
  size_t n = 0;
  for (const Lane lane : {Lane::kControl, Lane::kDecode, Lane::kBulk}) {
    for (const ChainMessage& message : messages) a->transport().Send({2, lane, message});
    n += messages.size();
    ASSERT_TRUE(at_b_.WaitForMessages(n));
    for (size_t i = 0; i < messages.size(); ++i) {
      const RecordingReceiver::Got got = at_b_.got()[n - messages.size() + i];
      EXPECT_EQ(TextOf(got.message), TextOf(messages[i]));
      EXPECT_EQ(got.lane, lane);
      EXPECT_EQ(got.from, 1u);
    }
  }
  EXPECT_TRUE(at_b_.gone().empty());
}

TEST_P(TransportConformance, WhatIsSentBeforeTheLinkIsUpArrivesInOrder) {
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  a->transport().Connect(b->replica());
  a->transport().Connect(b->replica());  // does nothing
  for (uint64_t i = 0; i < 2000; ++i) {
    for (const Lane lane : {Lane::kControl, Lane::kDecode, Lane::kBulk}) {
      a->transport().Send({2, lane, Numbered(i)});
    }
  }
  ASSERT_TRUE(at_b_.WaitForMessages(3 * 2000));
  ExpectInOrder(at_b_, 1);
}

TEST_P(TransportConformance, AnswersGoBackOnTheLinkTheyCameBy) {
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  a->transport().Connect(b->replica());
  for (const Lane lane : {Lane::kControl, Lane::kDecode, Lane::kBulk}) {
    a->transport().Send({2, lane, Numbered(0)});
  }
  ASSERT_TRUE(at_b_.WaitForMessages(3));
  for (uint64_t i = 0; i < 500; ++i) {
    for (const Lane lane : {Lane::kControl, Lane::kDecode, Lane::kBulk}) {
      b->transport().Send({1, lane, Numbered(i)});
    }
  }
  ASSERT_TRUE(at_a_.WaitForMessages(3 * 500));
  ExpectInOrder(at_a_, 1);
}

TEST_P(TransportConformance, SendingToStrangersDoesNothing) {
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  a->transport().Send({2, Lane::kControl, Numbered(0)});
  a->transport().Disconnect(2);
  a->transport().Connect(b->replica());
  a->transport().Send({2, Lane::kControl, Numbered(1)});
  ASSERT_TRUE(at_b_.WaitForMessages(1));
  EXPECT_EQ(NumberOf(at_b_.got()[0]), 1u);
}

TEST_P(TransportConformance, ABrokenLinkIsReportedOnBothSidesAndMadeAgain) {
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  a->transport().Connect(b->replica());
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(at_a_.WaitForReached(2, round + 1));
    EXPECT_EQ(at_a_.gone().size(), static_cast<size_t>(round));
    ASSERT_TRUE(SendUntilReceived(&a->transport(), 2, &at_b_));
    const size_t reports_at_b = at_b_.gone().size();
    rig_->BreakLinks(b.get());
    ASSERT_TRUE(at_b_.WaitForGone(1, absl::StatusCode::kUnavailable, reports_at_b));
    ASSERT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kUnavailable, static_cast<size_t>(round)));
  }
  ASSERT_TRUE(at_a_.WaitForReached(2, 4));
  ASSERT_TRUE(SendUntilReceived(&a->transport(), 2, &at_b_));
  EXPECT_EQ(at_a_.reached(), std::vector<Incarnation>(4, 2));
  EXPECT_TRUE(at_b_.reached().empty()) << "it made no link";
}

// What is remembered of a broken link is forgotten by this: without a message on it, or two.
TEST_P(TransportConformance, ALinkThatIsUpIsReportedOnceToTheSideThatMadeIt) {
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  a->transport().Connect(b->replica());
  ASSERT_TRUE(at_a_.WaitForReached(2));
  a->transport().Connect(b->replica());  // does nothing
  ASSERT_TRUE(SendUntilReceived(&a->transport(), 2, &at_b_));
  a->transport().Disconnect(2);
  a->transport().Connect(b->replica());  // another link
  ASSERT_TRUE(at_a_.WaitForReached(2, 2));
  EXPECT_EQ(at_a_.reached(), std::vector<Incarnation>(2, 2));
  EXPECT_TRUE(at_b_.reached().empty());
  EXPECT_TRUE(at_a_.gone().empty());
}

TEST_P(TransportConformance, AnotherProcessAtTheAddressIsFinal) {
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  a->transport().Connect({b->replica().address, 3});
  a->transport().Send({3, Lane::kControl, Numbered(0)});
  ASSERT_TRUE(at_a_.WaitForGone(3, absl::StatusCode::kFailedPrecondition));
  // It can be tried again, and the right one can be reached.
  a->transport().Connect(b->replica());
  a->transport().Send({2, Lane::kControl, Numbered(1)});
  ASSERT_TRUE(at_b_.WaitForMessages(1));
  EXPECT_EQ(NumberOf(at_b_.got()[0]), 1u) << "a message for another process was delivered";
}

TEST_P(TransportConformance, APeerThatIsNotThereIsReportedAndFoundWhenItComes) {
  const auto a = Start(1, &at_a_);
  const std::string address = Start(2, &at_b_)->replica().address;  // and gone
  a->transport().Connect({address, 4});
  ASSERT_TRUE(at_a_.WaitForGone(4, absl::StatusCode::kUnavailable));
  EXPECT_TRUE(at_a_.reached().empty());
  const auto b = Start(4, &at_b_, address);
  ASSERT_TRUE(at_a_.WaitForReached(4));
  ASSERT_TRUE(SendUntilReceived(&a->transport(), 4, &at_b_));
  EXPECT_EQ(at_a_.gone().size(), 1u) << "every attempt was reported";
}

TEST_P(TransportConformance, ARestartedPeerIsFirstGoneAndThenAnother) {
  const auto a = Start(1, &at_a_);
  auto b = Start(2, &at_b_);
  a->transport().Connect(b->replica());
  ASSERT_TRUE(SendUntilReceived(&a->transport(), 2, &at_b_));
  const std::string address = b->replica().address;
  b.reset();
  ASSERT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kUnavailable));
  RecordingReceiver at_new;
  const auto restarted = Start(3, &at_new, address);
  ASSERT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kFailedPrecondition));
  a->transport().Connect(restarted->replica());
  ASSERT_TRUE(SendUntilReceived(&a->transport(), 3, &at_new));
}

TEST_P(TransportConformance, AFullQueueDropsAndNeverBlocks) {
  constexpr size_t kSent = 150;
  const auto a = Start(1, &at_a_, "", 4 << 20), b = Start(2, &at_b_);
  at_b_.SetGate(false);
  a->transport().Connect(b->replica());
  a->transport().Send({2, Lane::kBulk, Numbered(0)});
  ASSERT_TRUE(at_b_.WaitForEntry());
  // About 1 MB each, here and on a wire.
  OpenHead large;
  large.sequence = {7, 7};
  large.ids.assign(250'000, 1 << 27);
  large.prompt_length = large.max_length = limits::kMaxPositions;
  large.window_rows = 1;
  for (size_t i = 0; i < kSent; ++i) {
    large.first_wanted = static_cast<int64_t>(i);
    a->transport().Send({2, Lane::kBulk, large});
  }
  at_b_.SetGate(true);
  // On the same lane, so that all that had queued comes before it.
  const auto is_last = [](const RecordingReceiver::Got& got) {
    const auto* last = std::get_if<NeedFrom>(&got.message);
    return last != nullptr && last->number == 1;
  };
  const auto end = std::chrono::steady_clock::now() + kPatience;
  do {
    a->transport().Send({2, Lane::kBulk, Numbered(1)});
  } while (!at_b_.WaitFor(is_last, std::chrono::milliseconds(20)) &&
           std::chrono::steady_clock::now() < end);
  ASSERT_TRUE(at_b_.WaitFor(is_last));
  int64_t last = -1;
  size_t received = 0;
  for (const auto& got : at_b_.got()) {
    const auto* open = std::get_if<OpenHead>(&got.message);
    if (open == nullptr) continue;
    EXPECT_GT(open->first_wanted, last);
    last = open->first_wanted;
    ++received;
  }
  EXPECT_GT(received, 0u);
  EXPECT_LT(received, kSent) << "nothing was dropped: the queue has no bound";
}

TEST_P(TransportConformance, NothingComesAfterDisconnect) {
  const auto a = Start(1, &at_a_);
  auto b = Start(2, &at_b_);
  a->transport().Connect(b->replica());
  ASSERT_TRUE(SendUntilReceived(&a->transport(), 2, &at_b_));
  std::atomic<bool> stop = false;
  std::thread flood([&] {
    for (uint64_t i = 0; !stop; ++i) b->transport().Send({1, Lane::kControl, Numbered(i)});
    for (uint64_t i = 0; i < 1000; ++i) b->transport().Send({1, Lane::kControl, Numbered(i)});
  });
  EXPECT_TRUE(at_a_.WaitForMessages(100));
  a->transport().Disconnect(2);
  const size_t messages = at_a_.got().size(), reports = at_a_.gone().size();
  const size_t times_reached = at_a_.reached().size();
  stop = true;
  flood.join();
  ASSERT_TRUE(at_b_.WaitForGone(1, absl::StatusCode::kUnavailable));
  b.reset();
  EXPECT_EQ(at_a_.got().size(), messages);
  EXPECT_EQ(at_a_.gone().size(), reports);
  EXPECT_EQ(at_a_.reached().size(), times_reached);
}

TEST_P(TransportConformance, AReceiverMayDisconnectAndConnectWithinACall) {
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  at_a_.on_message = [&](Incarnation from, Lane, const ChainMessage&) {
    a->transport().Disconnect(from);
    a->transport().Connect(b->replica());
    a->transport().Send({2, Lane::kDecode, Numbered(5)});
  };
  at_b_.on_message = [&](Incarnation from, Lane lane, const ChainMessage&) {
    if (lane == Lane::kControl) b->transport().Send({from, Lane::kControl, Numbered(1)});
  };
  a->transport().Connect(b->replica());
  a->transport().Send({2, Lane::kControl, Numbered(0)});
  ASSERT_TRUE(at_a_.WaitForMessages(1));
  ASSERT_TRUE(at_b_.WaitForMessages(2));
  EXPECT_EQ(NumberOf(at_b_.got()[1]), 5u);
}

TEST_P(TransportConformance, ManyThreadsMaySendBothWaysOnAllLanes) {
  constexpr uint64_t kThreads = 4, kEach = 500;
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  a->transport().Connect(b->replica());
  for (const Lane lane : {Lane::kControl, Lane::kDecode, Lane::kBulk}) {
    a->transport().Send({2, lane, Numbered(kThreads * kPerSender)});
  }
  ASSERT_TRUE(at_b_.WaitForMessages(3));
  std::vector<std::thread> threads;
  const auto send = [&](Transport* from, Incarnation to, uint64_t sender) {
    for (uint64_t i = 0; i < kEach; ++i) {
      for (const Lane lane : {Lane::kControl, Lane::kDecode, Lane::kBulk}) {
        from->Send({to, lane, Numbered(sender * kPerSender + i)});
      }
    }
  };
  for (uint64_t sender = 0; sender < kThreads; ++sender) {
    threads.emplace_back(send, &a->transport(), 2, sender);
    threads.emplace_back(send, &b->transport(), 1, sender);
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(at_b_.WaitForMessages(3 + 3 * kThreads * kEach));
  ASSERT_TRUE(at_a_.WaitForMessages(3 * kThreads * kEach));
  ExpectInOrder(at_a_, kThreads);
  ExpectInOrder(at_b_, kThreads + 1);
}

TEST_P(TransportConformance, ConnectAndDisconnectMayRaceWithSending) {
  const auto a = Start(1, &at_a_), b = Start(2, &at_b_);
  std::atomic<bool> stop = false;
  std::thread sender([&] {
    while (!stop) a->transport().Send({2, Lane::kDecode, Numbered(0)});
  });
  for (int i = 0; i < 30; ++i) {
    a->transport().Connect(b->replica());
    if (i % 3 == 0) {
      EXPECT_TRUE(at_b_.WaitForMessages(at_b_.got().size() + 1));
    }
    a->transport().Disconnect(2);
  }
  stop = true;
  sender.join();
}

}  // namespace catena
