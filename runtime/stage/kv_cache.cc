#include "runtime/stage/kv_cache.h"

#include <algorithm>

namespace catena {

KvCache::KvCache(KvPool* pool, Stream* stream, int64_t window)
    : pool_(pool), stream_(stream), window_(window) {
  for (int32_t id = pool->pages() - 1; id >= 0; --id) free_.push_back(id);
}

int64_t KvCache::PagesHeldFor(int64_t positions, int64_t max_rows) const {
  const int64_t pages = PagesFor(positions);
  // A page at either end of the window may be held for one position.
  return window_ == 0 ? pages : std::min(pages, PagesFor(window_ + kRollBack + max_rows) + 2);
}

absl::Status KvCache::Open(SequenceId id, int rotary, const KvNeed& need) {
  if (sequences_.contains(id)) {
    return absl::AlreadyExistsError(fmt::format("sequence {} is open already", id));
  }
  if (const int64_t all = PagesHeldFor(need.max_length, need.max_rows); all > total_pages()) {
    return absl::InvalidArgumentError(
        fmt::format("{} positions need {} pages of KV cache and there are {} in all; ask for fewer "
                    "tokens, or give the shard more memory",
                    need.max_length, all, total_pages()));
  }
  const int64_t pages = PagesHeldFor(need.reserve, need.max_rows);
  if (pages > free_pages()) {
    return absl::ResourceExhaustedError(
        fmt::format("the KV cache has {} of {} pages free and {} are needed", free_pages(),
                    total_pages(), pages));
  }
  set_aside_ += pages;
  sequences_[id] = {.length = 0, .rotary = rotary, .pages = {}, .held = 0, .promised = pages};
  return absl::OkStatus();
}

bool KvCache::Fits(const KvNeed& need, absl::Span<const SequenceId> without) const {
  int64_t pages = free_pages();
  for (const SequenceId id : without) {
    const Sequence* s = Find(id);
    if (s != nullptr) pages += std::max(s->held, s->promised);
  }
  return PagesHeldFor(need.reserve, need.max_rows) <= pages;
}

void KvCache::SetRotary(SequenceId id, int rotary) {
  auto it = sequences_.find(id);
  CATENA_CHECK(it != sequences_.end() && it->second.length == 0);
  it->second.rotary = rotary;
}

void KvCache::Hold(Sequence* s, int64_t pages) {
  set_aside_ -= std::clamp<int64_t>(s->promised - s->held, 0, pages);
  s->held += pages;
}

void KvCache::GiveBack(Sequence* s, int32_t page) {
  if (s->held-- <= s->promised) ++set_aside_;
  free_.push_back(page);
}

void KvCache::Close(SequenceId id) {
  auto it = sequences_.find(id);
  if (it == sequences_.end()) return;
  Sequence& s = it->second;
  for (int32_t page : s.pages) {
    if (page >= 0) GiveBack(&s, page);
  }
  set_aside_ -= s.promised;
  sequences_.erase(it);
}

absl::Status KvCache::Reserve(SequenceId id, int64_t length) {
  auto it = sequences_.find(id);
  if (it == sequences_.end()) return absl::NotFoundError(fmt::format("no sequence {}", id));
  Sequence& s = it->second;
  std::vector<int32_t>& pages = s.pages;
  const int64_t more = PagesFor(length) - static_cast<int64_t>(pages.size());
  if (more <= 0) return absl::OkStatus();
  const int64_t own = std::max<int64_t>(0, s.promised - s.held);
  if (more > free_pages() + own) {
    return absl::ResourceExhaustedError(
        fmt::format("the KV cache has {} of {} pages free and {} are needed; run fewer or shorter "
                    "sequences",
                    free_pages(), total_pages(), more));
  }
  const absl::Span<const int32_t> taken(free_.data() + free_.size() - more,
                                        static_cast<size_t>(more));
  pool_->Zero(*stream_, taken);
  pages.insert(pages.end(), taken.rbegin(), taken.rend());
  free_.resize(free_.size() - more);
  Hold(&s, more);
  return absl::OkStatus();
}

const KvCache::Sequence* KvCache::Find(SequenceId id) const {
  auto it = sequences_.find(id);
  return it == sequences_.end() ? nullptr : &it->second;
}

int64_t KvCache::FirstVisible(int64_t position) const {
  return window_ == 0 ? 0 : std::max<int64_t>(0, position - window_ + 1);
}

void KvCache::SetLength(SequenceId id, int64_t length) {
  auto it = sequences_.find(id);
  CATENA_CHECK(it != sequences_.end());
  Sequence& s = it->second;
  CATENA_CHECK(PagesFor(length) <= static_cast<int64_t>(s.pages.size()));
  s.length = length;
  const int64_t first_page = FirstVisible(length - kRollBack) / kPagePositions;
  for (int64_t page = first_page - 1; page >= 0; --page) {
    if (s.pages[page] < 0) break;  // those before it are given back too
    GiveBack(&s, s.pages[page]);
    s.pages[page] = -1;
  }
}

absl::Status KvCache::Truncate(SequenceId id, int64_t length) {
  auto it = sequences_.find(id);
  if (it == sequences_.end()) return absl::NotFoundError(fmt::format("no sequence {}", id));
  Sequence& s = it->second;
  if (length < 0 || length > s.length) {
    return absl::InvalidArgumentError(
        fmt::format("sequence {} has {} positions and cannot be cut to {}", id, s.length, length));
  }
  const int64_t first_page = FirstVisible(length) / kPagePositions;
  if (length > 0 && s.pages[std::min<int64_t>(first_page, s.pages.size() - 1)] < 0) {
    return absl::FailedPreconditionError(
        fmt::format("sequence {} has given back what position {} sees", id, length));
  }
  while (static_cast<int64_t>(s.pages.size()) > PagesFor(length)) {
    if (s.pages.back() >= 0) GiveBack(&s, s.pages.back());
    s.pages.pop_back();
  }
  s.length = length;
  return absl::OkStatus();
}

}  // namespace catena
