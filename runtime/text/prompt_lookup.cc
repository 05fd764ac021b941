#include "runtime/text/prompt_lookup.h"

namespace catena {
namespace {

// Tokens that must have stood together, and more than which say nothing new.
constexpr int64_t kMinMatch = 2, kMaxMatch = 8;
// Older tokens are not looked at: a search is made for every token.
constexpr int64_t kMaxLookBack = 1 << 15;

// How many ids before `a` and before `b` are the same, up to kMaxMatch. REQUIRES: a < b.
int64_t CommonSuffix(absl::Span<const int32_t> ids, int64_t a, int64_t b) {
  const int64_t most = std::min(a, kMaxMatch);
  int64_t n = 0;
  while (n < most && ids[a - 1 - n] == ids[b - 1 - n]) ++n;
  return n;
}

}  // namespace

void PromptLookup::Propose(absl::Span<const int32_t> ids, int64_t room,
                           std::vector<int32_t>* drafts) const {
  drafts->clear();
  const int64_t n = std::min(room, drafts_);
  if (n <= 0) return;
  const auto end = static_cast<int64_t>(ids.size());
  int64_t best = kMinMatch - 1, from = -1;  // the longest match, of these the latest
  for (int64_t at = end - 1; at >= std::max<int64_t>(1, end - kMaxLookBack); --at) {
    const int64_t match = CommonSuffix(ids, at, end);
    if (match <= best) continue;
    best = match;
    from = at;
    if (best == kMaxMatch) break;
  }
  if (from < 0) return;
  for (int64_t i = from; i < from + n; ++i) {
    // Past the end the text goes on with the guesses: it repeats a period.
    drafts->push_back(i < end ? ids[i] : (*drafts)[i - end]);
  }
}

}  // namespace catena
