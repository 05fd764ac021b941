// Where chance is weak: one sequence of four tokens over three shards and a head, one Move of it,
// and one failure, at each message and with each order of messages that one late message makes.
//
// A Move is of a drain or of a death, in the middle of the text. The failure is a death of any
// stage, the new one included, or the break of any connection, right after any message that was
// sent since. And any message is late: by little, so that those of other links overtake it, or by
// so much that all else has settled.
//
// SIM_ORDERS  all: every failure with every late message. Otherwise those with the late message
//             within a few of the failure.
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "tests/sim/world.h"

namespace catena::sim {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMoved = 1, kSpare = 3, kHead = 4, kGateway = 5;  // of World's processes
constexpr milliseconds kAway{40};
constexpr milliseconds kLittle{7}, kMuch{150};
constexpr int64_t kNear = 6;
constexpr int64_t kNever = -1;

// One run: what fails after which message, and which message is late.
struct Order {
  Fault::Kind move = Fault::Kind::kDrain;
  Fault failure;
  int64_t failure_after = kNever, late = kNever;  // messages by number
  milliseconds late_by{};
};

std::string ToString(const Order& o) {
  return fmt::format("the Move by {}; after message {}: {}; message {} late by {} ms",
                     o.move == Fault::Kind::kDrain ? "a drain" : "a death", o.failure_after,
                     sim::ToString(o.failure), o.late, o.late_by.count());
}

WorldOptions Cluster() {
  WorldOptions world;
  world.shards = {{0, 4}, {4, 8}, {8, 12}, {4, 8}};
  world.network.delay = milliseconds(2);
  world.network.give_up = milliseconds(400);
  world.network.keepalive = milliseconds(100);
  world.network.connect_timeout = milliseconds(50);
  limits::DetectionLimits& detection = world.process.detection;
  detection.heartbeat = milliseconds(20);
  detection.lease = detection.no_progress = milliseconds(300);
  detection.give_up = milliseconds(400);
  detection.probe_every = milliseconds(5);
  return world;
}

LoopRequest FourTokens() {
  LoopRequest request;
  request.prompt = {3, 1, 4, 1, 5, 9};
  request.params.max_tokens = 4;
  request.params.ignore_eos = true;
  return request;
}

// What a run was like.
struct Ran {
  std::string problems;
  int64_t moved_at = kNever, messages = 0;  // by then; until the text was whole
};

Ran RunOf(const Order& order) {
  Ran ran;
  WorldOptions options = Cluster();
  World* world = nullptr;
  std::shared_ptr<Outcome> outcome;
  options.network.late = [&](int64_t message) -> Nanoseconds {
    if (outcome == nullptr || outcome->ended) return {};
    ran.messages = message;
    if (ran.moved_at == kNever && outcome->tokens.size() == 2) {
      ran.moved_at = message;
      world->Inject({.kind = order.move, .process = kMoved, .lasts = kAway});
    }
    if (message == order.failure_after) world->Inject(order.failure);
    return message == order.late ? Nanoseconds(order.late_by) : Nanoseconds(0);
  };
  World made(options);
  world = &made;
  outcome = made.Submit(FourTokens());
  ran.problems = made.Run();
  if (ran.problems.empty() && !outcome->status.ok()) ran.problems = outcome->status.ToString();
  return ran;
}

std::vector<Fault> Failures() {
  std::vector<Fault> failures;
  for (size_t process = 0; process <= kHead; ++process) {
    failures.push_back({.kind = Fault::Kind::kKill, .process = process, .lasts = kAway});
  }
  const std::pair<size_t, size_t> edges[] = {
      {kGateway, 0}, {kGateway, kMoved}, {kGateway, kSpare}, {kGateway, 2}, {kGateway, kHead},
      {0, kMoved},   {0, kSpare},        {kMoved, 2},        {kSpare, 2},   {2, kHead}};
  for (const auto& [from, to] : edges) {
    failures.push_back({.kind = Fault::Kind::kBreak, .process = from, .other = to});
  }
  return failures;
}

std::vector<Order> Orders(bool all) {
  std::vector<Order> orders;
  for (const Fault::Kind move : {Fault::Kind::kDrain, Fault::Kind::kKill}) {
    const Ran calm = RunOf({.move = move, .failure = {}});
    EXPECT_EQ(calm.problems, "");
    EXPECT_NE(calm.moved_at, kNever);
    for (const Fault& failure : Failures()) {
      for (int64_t after = calm.moved_at; after <= calm.messages; ++after) {
        const int64_t first = all ? calm.moved_at : std::max(calm.moved_at, after - kNear);
        const int64_t last = all ? calm.messages : std::min(calm.messages, after + kNear);
        orders.push_back({move, failure, after});
        for (int64_t late = first; late <= last; ++late) {
          for (const milliseconds by : {kLittle, kMuch}) {
            orders.push_back({move, failure, after, late, by});
          }
        }
      }
    }
  }
  return orders;
}

TEST(Orders, OfOneMoveAndOneFailureAllGiveTheText) {
  const char* which = std::getenv("SIM_ORDERS");
  const std::vector<Order> orders = Orders(which != nullptr && std::string(which) == "all");
  std::printf("%zu orders\n", orders.size());
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::vector<std::string> bad;
  const auto work = [&] {
    for (size_t i; (i = next++) < orders.size();) {
      const std::string problems = RunOf(orders[i]).problems;
      if (problems.empty()) continue;
      const std::lock_guard lock(mutex);
      bad.push_back(ToString(orders[i]) + "\n" + problems);
      if (bad.size() >= 3) next = orders.size();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    threads.emplace_back(work);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(bad.empty()) << fmt::format("{}", fmt::join(bad, "\n"));
}

}  // namespace
}  // namespace catena::sim
