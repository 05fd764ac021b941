#include "model/tokenizer/vocabulary.h"

#include <algorithm>

namespace catena {
namespace {

// Ids may exceed the number of tokens, but not so far that a small file costs much memory.
constexpr int64_t kMaxHoles = 100'000;

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::Make(std::vector<VocabularyEntry> entries,
                                            std::string_view source) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.id < b.id; });
  size_t bytes = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const VocabularyEntry& e = entries[i];
    if (e.id < 0 || e.id > static_cast<int64_t>(2 * entries.size()) + kMaxHoles) {
      return absl::DataLossError(fmt::format("{}: token id {} does not suit a vocabulary of {}",
                                             source, e.id, entries.size()));
    }
    if (i > 0 && entries[i - 1].id == e.id && entries[i - 1].text != e.text) {
      return absl::DataLossError(fmt::format("{}: token id {} has two texts", source, e.id));
    }
    bytes += e.text.size();
  }
  if (bytes > UINT32_MAX / 2) {
    return absl::DataLossError(fmt::format("{}: {} bytes of token texts", source, bytes));
  }
  Vocabulary v;
  const int32_t size = entries.empty() ? 0 : entries.back().id + 1;
  v.arena_.reserve(std::max<size_t>(bytes, 64));
  v.offsets_.assign(size + 1, 0);
  v.present_.assign(size, false);
  size_t next = 0;
  for (int32_t id = 0; id < size; ++id) {
    v.offsets_[id] = static_cast<uint32_t>(v.arena_.size());
    if (entries[next].id == id) {
      v.arena_.append(entries[next].text);
      v.present_[id] = true;
      while (next < entries.size() && entries[next].id == id) ++next;
    }
  }
  v.offsets_[size] = static_cast<uint32_t>(v.arena_.size());
  v.ids_.reserve(entries.size());
  for (const VocabularyEntry& e : entries) {
    const std::string_view text = v.Text(e.id);
    (e.added ? v.added_ids_ : v.ids_)[absl::string_view(text.data(), text.size())] = e.id;
  }
  return v;
}

int32_t Vocabulary::Find(const Index& index, std::string_view text) {
  const auto it = index.find(absl::string_view(text.data(), text.size()));
  return it == index.end() ? -1 : it->second;
}

int32_t Vocabulary::FindAny(std::string_view text) const {
  const int32_t added = Find(added_ids_, text);
  return added >= 0 ? added : Find(ids_, text);
}

}  // namespace catena
