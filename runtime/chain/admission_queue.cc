#include "runtime/chain/admission_queue.h"

#include <algorithm>
#include <chrono>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/reached.h"

namespace catena {
namespace {

constexpr std::chrono::milliseconds kRefusalPause{100};  // at most, and at least half of it
constexpr int kRefusalsBeforeOneByOne = 3;
// Sequences that stages are asked for at a time.
constexpr size_t kMaxOpening = 32;

}  // namespace

absl::Status AdmissionQueue::MayWait(std::optional<Instant> deadline, Instant now) const {
  const Nanoseconds wait = ExpectedWait();
  if (waiting() >= options_.max_waiting) {
    CATENA_REACHED(kQueueIsFull);
    absl::Status full = WithReason(absl::ResourceExhaustedError(fmt::format(
                                       "{} requests wait already; try again later", waiting())),
                                   ErrorReason::kQueueFull);
    return wait > Nanoseconds(0) ? WithRetryAfter(std::move(full), wait) : full;
  }
  if (deadline && wait > Nanoseconds(0) && now + wait > *deadline) {
    CATENA_REACHED(kWaitIsOverTheDeadline);
    return WithRetryAfter(
        WithReason(absl::ResourceExhaustedError(fmt::format(
                       "the wait for a place, about {:.1f} s, is longer than the request's "
                       "deadline; try again later",
                       ToSeconds(wait))),
                   ErrorReason::kQueueTooLong),
        wait);
  }
  return absl::OkStatus();
}

void AdmissionQueue::Add(uint64_t ticket, Instant now) {
  waiting_.emplace(ticket, Entry{.refusals = 0, .not_before = now});
}

bool AdmissionQueue::MayOpen(const Entry& next) const {
  if (next.refusals > 0) return opening_.empty();
  return opening_.size() < kMaxOpening && !opening_alone_;
}

std::optional<Instant> AdmissionQueue::NextAt() const {
  if (waiting_.empty()) return std::nullopt;
  const Entry& next = waiting_.begin()->second;
  if (!MayOpen(next)) return std::nullopt;
  return next.not_before;
}

std::optional<uint64_t> AdmissionQueue::Next(Instant now) const {
  const std::optional<Instant> at = NextAt();
  if (!at || *at > now) return std::nullopt;
  return waiting_.begin()->first;
}

void AdmissionQueue::Take(uint64_t ticket) {
  auto entry = waiting_.extract(ticket);
  CATENA_CHECK(!entry.empty());
  opening_alone_ = entry.mapped().refusals > 0;
  opening_.insert(std::move(entry));
}

void AdmissionQueue::Opened(uint64_t ticket, Instant now) {
  CATENA_CHECK(opening_.erase(ticket) == 1);
  opening_alone_ = false;
  Measure(now);
}

void AdmissionQueue::PutBack(uint64_t ticket, Why why, Instant now) {
  auto entry = opening_.extract(ticket);
  if (entry.empty()) {  // it was open
    opening_.emplace(ticket, Entry{.refusals = 0, .not_before = now, .returned = true});
    entry = opening_.extract(ticket);
  } else {
    opening_alone_ = false;
  }
  if (why == Why::kNoMemory) {
    CATENA_REACHED(kOpenFindsNoMemory);
    ++entry.mapped().refusals;
  }
  entry.mapped().not_before = now + Pause();
  waiting_.insert(std::move(entry));
}

Nanoseconds AdmissionQueue::Pause() {
  const double share = 0.5 + 0.5 * static_cast<double>(jitter_() % 1024) / 1024;
  return std::chrono::duration_cast<Nanoseconds>(kRefusalPause * share);
}

int64_t AdmissionQueue::returned() const {
  const auto was_open = [](const auto& entry) { return entry.second.returned; };
  return std::count_if(waiting_.begin(), waiting_.end(), was_open) +
         std::count_if(opening_.begin(), opening_.end(), was_open);
}

void AdmissionQueue::Remove(uint64_t ticket) {
  waiting_.erase(ticket);
  if (opening_.erase(ticket) > 0) opening_alone_ = false;
}

void AdmissionQueue::MemoryWasFreed(Instant now) {
  if (!waiting_.empty()) waiting_.begin()->second.not_before = now;
}

bool AdmissionQueue::OneByOne(uint64_t ticket) const {
  const auto it = opening_.find(ticket);
  return it != opening_.end() && it->second.refusals >= kRefusalsBeforeOneByOne;
}

// How long one waits for the next: only while there is a queue does that say anything.
void AdmissionQueue::Measure(Instant now) {
  if (waiting() == 0) {
    opened_at_.reset();
    interval_ = Nanoseconds(0);
    return;
  }
  if (opened_at_) {
    const Nanoseconds between = now - *opened_at_;
    interval_ = interval_ == Nanoseconds(0) ? between : interval_ + (between - interval_) / 8;
  }
  opened_at_ = now;
}

}  // namespace catena
