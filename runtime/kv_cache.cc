#include "runtime/kv_cache.h"

#include <algorithm>

namespace catena {

KvCache::KvCache(KvPool* pool, Stream* stream, int64_t window)
    : pool_(pool), stream_(stream), window_(window) {
  for (int32_t id = pool->pages() - 1; id >= 0; --id) free_.push_back(id);
}

absl::Status KvCache::Open(SequenceId id, int rotary) {
  if (!sequences_.try_emplace(id, Sequence{.length = 0, .rotary = rotary, .pages = {}}).second) {
    return absl::AlreadyExistsError(fmt::format("sequence {} is open already", id));
  }
  return absl::OkStatus();
}

void KvCache::Close(SequenceId id) {
  auto it = sequences_.find(id);
  if (it == sequences_.end()) return;
  for (int32_t page : it->second.pages) {
    if (page >= 0) free_.push_back(page);
  }
  sequences_.erase(it);
}

absl::Status KvCache::Reserve(SequenceId id, int64_t length) {
  auto it = sequences_.find(id);
  if (it == sequences_.end()) return absl::NotFoundError(fmt::format("no sequence {}", id));
  std::vector<int32_t>& pages = it->second.pages;
  const int64_t more = PagesFor(length) - static_cast<int64_t>(pages.size());
  if (more <= 0) return absl::OkStatus();
  if (more > free_pages()) {
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
  for (int64_t page = FirstVisible(length) / kPagePositions - 1; page >= 0; --page) {
    if (s.pages[page] < 0) break;  // those before it are given back too
    free_.push_back(s.pages[page]);
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
    if (s.pages.back() >= 0) free_.push_back(s.pages.back());
    s.pages.pop_back();
  }
  s.length = length;
  return absl::OkStatus();
}

}  // namespace catena
