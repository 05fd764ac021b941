#include "runtime/actor/actor.h"

#include <algorithm>

#include "runtime/chain/limits.h"

namespace catena {
namespace {

Instant Now() { return std::chrono::steady_clock::now(); }

size_t RowBytesOf(const ChainMessage& message) {
  const auto* steps = std::get_if<Steps>(&message);
  return steps == nullptr || steps->rows == nullptr ? 0 : steps->rows->size();
}

}  // namespace

Actor::~Actor() { CATENA_CHECK(!thread_.joinable()); }

void Actor::Start(Transport* transport) {
  transport_ = transport;
  thread_ = std::thread([this] { Loop(); });
}

void Actor::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Actor::OnMessage(Incarnation from, Lane lane, ChainMessage message) {
  const bool steps = std::holds_alternative<Steps>(message);
  const bool woke = Push(Incoming{from, lane, std::move(message)});
  if (woke && steps) ExpectWork();
}

void Actor::OnConnect(Incarnation peer) { Push(Up{peer}); }

void Actor::OnDisconnect(Incarnation peer, const absl::Status& why) { Push(Gone{peer, why}); }

void Actor::Post(std::function<void(Instant)> fn) { Push(std::move(fn)); }

bool Actor::Push(Item item) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return false;
    if (const auto* in = std::get_if<Incoming>(&item)) {
      // What overflows is lost, as on a broken link, and the protocol asks for it again.
      const size_t bytes = RowBytesOf(in->message);
      if (items_.size() >= limits::kMaxMailbox) return false;
      if (bytes > 0 && item_bytes_ + bytes > limits::kMaxMailboxBytes) return false;
      item_bytes_ += bytes;
    }
    items_.push_back(std::move(item));
    if (!sleeping_) return false;
    sleeping_ = false;  // one wake is enough
  }
  wake_.notify_one();
  return true;
}

bool Actor::Take(bool wait, std::vector<Item>* items) {
  items->clear();
  std::unique_lock lock(mutex_);
  if (wait && items_.empty() && !stopped_) {
    sleeping_ = true;
    auto ready = [this] { return !items_.empty() || stopped_; };
    if (const std::optional<Instant> until = core_->WakeAt()) {
      wake_.wait_until(lock, *until, ready);
    } else {
      wake_.wait(lock, ready);
    }
    sleeping_ = false;
  }
  if (stopped_) return false;
  items->swap(items_);
  item_bytes_ = 0;
  return true;
}

void Actor::Handle(Item& item, Instant now) {
  if (auto* in = std::get_if<Incoming>(&item)) {
    if (const auto* open = std::get_if<OpenStage>(&in->message)) {
      const absl::Status may = transport_->MayConnect(open->next);
      if (!may.ok()) {
        const Refused refused{open->sequence, open->life, may};
        return transport_->Send({in->from, Lane::kControl, refused});
      }
    }
    core_->Receive(in->from, in->lane, std::move(in->message), now);
  } else if (auto* up = std::get_if<Up>(&item)) {
    core_->Connected(up->peer, now);
  } else if (auto* gone = std::get_if<Gone>(&item)) {
    core_->Disconnected(gone->peer, gone->why, now);
  } else {
    std::get<std::function<void(Instant)>>(item)(now);
  }
}

void Actor::Flush() {
  CoreOutput output = core_->TakeOutput();
  for (const Replica& replica : output.connect) transport_->Connect(replica);
  for (Envelope& envelope : output.send) transport_->Send(std::move(envelope));
}

int64_t Actor::AgeOf(const std::optional<Instant>& since) {
  return since ? std::max<int64_t>((Now() - *since).count(), 1) : 0;
}

void Actor::Loop() {
  std::vector<Item> items;
  bool worked = false;
  while (Take(!worked, &items)) {
    const Instant now = Now();
    for (Item& item : items) Handle(item, now);
    if (const std::optional<Instant> at = core_->WakeAt(); at && *at <= now) core_->Tick(now);
    Flush();
    AfterRound(now);
    worked = Work();
  }
}

}  // namespace catena
