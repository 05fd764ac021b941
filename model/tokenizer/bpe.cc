#include "model/tokenizer/bpe.h"

#include <algorithm>
#include <functional>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

constexpr size_t kShortRun = 24;            // up to here scanning beats a heap
constexpr size_t kKeptWorkspace = 1 << 16;  // symbols; a larger workspace is given back

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

Bpe::Bpe(const Vocabulary* vocabulary, const std::vector<BpeMerge>& merges,
         const BpeOptions& options)
    : vocabulary_(vocabulary), options_(options) {
  merges_.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const BpeMerge& m = merges[i];  // of two equal pairs the later counts, as in the reference
    merges_[PairKey(m.left, m.right)] = {static_cast<uint32_t>(i), m.result};
  }
  IndexSymbols();
  IndexCrossings(merges);
}

void Bpe::IndexSymbols() {
  for (int b = 0; b < 256; ++b) byte_ids_[b] = vocabulary_->Find(fmt::format("<0x{:02X}>", b));
  for (int32_t id = 0; id < vocabulary_->size(); ++id) {
    const std::string_view text = vocabulary_->Text(id);
    longest_token_bytes_ = std::max(longest_token_bytes_, text.size());
    if (text.empty() || text.size() > 4) continue;
    const CodePoint c = ReadCodePoint(text, 0);
    if (c.size != text.size() || vocabulary_->Find(text) != id) continue;
    if (options_.byte_level) {
      if (const int byte = ByteLevelByte(c.value); byte >= 0) direct_[byte].id = id;
    } else if (c.value < 256) {
      direct_[c.value].id = id;
    } else {
      chars_[c.value].id = id;
    }
  }
  for (int i = 0; i < 256; ++i) {
    // SentencePiece's space U+2581 is too common for the slow way: it takes the class of NUL.
    if (direct_[i].id >= 0 && (options_.byte_level || i > 0)) direct_[i].cls = i;
  }
  if (auto it = chars_.find(U'\u2581'); it != chars_.end()) it->second.cls = 0;
}

// A merge joins its neighbours across the boundary of the last symbol of `left` and the first of
// `right`. A token can only come from the symbols that spell it, unless it is itself a symbol that
// is not spelled: a byte's or unk. Those never merge in real vocabularies; where they do, nothing
// is cut.
void Bpe::IndexCrossings(const std::vector<BpeMerge>& merges) {
  absl::flat_hash_set<int32_t> unspelled;
  if (options_.unk_id >= 0) unspelled.insert(options_.unk_id);
  if (options_.byte_fallback && !options_.byte_level) {
    unspelled.insert(byte_ids_.begin(), byte_ids_.end());
  }
  crossable_.assign(256 * 256, false);
  for (const BpeMerge& m : merges) {
    if (unspelled.contains(m.left) || unspelled.contains(m.right)) return;
    const std::string_view left = vocabulary_->Text(m.left), right = vocabulary_->Text(m.right);
    if (left.empty() || right.empty()) return;
    const Symbol a = SymbolOf(ReadCodePointBefore(left, left.size()).value);
    const Symbol b = SymbolOf(ReadCodePoint(right, 0).value);
    if (a.id < 0 || b.id < 0) continue;  // cannot arise
    if (a.cls != kSlowClass && b.cls != kSlowClass) {
      crossable_[a.cls * 256 + b.cls] = true;
    } else {
      crossable_slow_.insert(PairKey(a.id, b.id));
    }
  }
  cut_ = true;
}

Bpe::Symbol Bpe::SymbolOf(char32_t c) const {
  if (options_.byte_level) {
    const int byte = ByteLevelByte(c);
    return byte < 0 ? Symbol{} : direct_[byte];
  }
  if (c < 256) return direct_[c];
  const auto it = chars_.find(c);
  return it == chars_.end() ? Symbol{} : it->second;
}

bool Bpe::MayJoin(const Symbol& a, const Symbol& b) const {
  if (!cut_) return true;
  if (a.cls != kSlowClass && b.cls != kSlowClass) return crossable_[a.cls * 256 + b.cls];
  return crossable_slow_.contains(PairKey(a.id, b.id));
}

Bpe::Joined Bpe::Lookup(int32_t left, int32_t right, Workspace* w) const {
  ++w->merges_looked_up;
  const auto it = merges_.find(PairKey(left, right));
  return it == merges_.end() ? Joined{kNoRank, -1} : it->second;
}

void Bpe::Encode(std::string_view piece, Workspace* w, std::vector<int32_t>* out) const {
  if (options_.ignore_merges && piece.size() <= longest_token_bytes_) {
    w->spelling.clear();
    if (options_.byte_level) AppendByteLevelEncoded(piece, &w->spelling);
    const int32_t id = vocabulary_->Find(options_.byte_level ? w->spelling : piece);
    if (id >= 0) {
      out->push_back(id);
      return;
    }
  }
  options_.byte_level ? EncodeBytes(piece, w, out) : EncodeChars(piece, w, out);
  if (w->run.capacity() > kKeptWorkspace) {
    const uint64_t looked_up = w->merges_looked_up;
    *w = Workspace();
    w->merges_looked_up = looked_up;
  }
}

void Bpe::EncodeBytes(std::string_view piece, Workspace* w, std::vector<int32_t>* out) const {
  Symbol last;
  bool unk = false;  // an unknown byte is held back, as the reference does
  const auto flush_unk = [&] {
    if (unk) Add({.id = options_.unk_id}, &last, w, out);
    unk = false;
  };
  for (const char b : piece) {
    const Symbol& s = direct_[static_cast<uint8_t>(b)];
    if (s.id >= 0) {
      flush_unk();
      Add(s, &last, w, out);
    } else if (options_.unk_id >= 0) {
      if (!options_.fuse_unk) flush_unk();
      unk = true;
    }
  }
  flush_unk();
  Finish(w, out);
}

void Bpe::EncodeChars(std::string_view piece, Workspace* w, std::vector<int32_t>* out) const {
  Symbol last;
  bool unk = false;  // held back until a known character comes; bytes pass it by (model.rs does so)
  const auto flush_unk = [&] {
    if (unk) Add({.id = options_.unk_id}, &last, w, out);
    unk = false;
  };
  for (size_t i = 0; i < piece.size();) {
    const CodePoint c = ReadCodePoint(piece, i);
    const std::string_view bytes = piece.substr(i, c.size);
    i += c.size;
    const Symbol s = SymbolOf(c.value);
    if (s.id >= 0) {
      flush_unk();
      Add(s, &last, w, out);
      continue;
    }
    const auto byte_id = [&](char b) { return byte_ids_[static_cast<uint8_t>(b)]; };
    if (options_.byte_fallback &&
        std::all_of(bytes.begin(), bytes.end(), [&](char b) { return byte_id(b) >= 0; })) {
      for (const char b : bytes) Add({.id = byte_id(b)}, &last, w, out);
    } else if (options_.unk_id >= 0) {
      if (!options_.fuse_unk) flush_unk();
      unk = true;
    }
  }
  flush_unk();
  Finish(w, out);
}

void Bpe::Add(const Symbol& s, Symbol* last, Workspace* w, std::vector<int32_t>* out) const {
  if (!w->run.empty() && !MayJoin(*last, s)) Finish(w, out);
  w->run.push_back(s.id);
  *last = s;
}

void Bpe::Finish(Workspace* w, std::vector<int32_t>* out) const {
  if (w->run.size() > kShortRun) {
    MergeLong(w);
  } else if (w->run.size() > 1) {
    MergeShort(w);
  }
  out->insert(out->end(), w->run.begin(), w->run.end());
  w->run.clear();
}

void Bpe::MergeShort(Workspace* w) const {
  std::array<Joined, kShortRun> joined;  // of symbols i and i + 1
  int32_t* run = w->run.data();
  size_t n = w->run.size();
  for (size_t i = 0; i + 1 < n; ++i) joined[i] = Lookup(run[i], run[i + 1], w);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (joined[i].rank < joined[best].rank) best = i;
    }
    if (joined[best].rank == kNoRank) break;
    run[best] = joined[best].id;
    --n;
    std::copy(run + best + 2, run + n + 1, run + best + 1);
    std::copy(joined.data() + best + 1, joined.data() + n, joined.data() + best);
    if (best > 0) joined[best - 1] = Lookup(run[best - 1], run[best], w);
    if (best + 1 < n) joined[best] = Lookup(run[best], run[best + 1], w);
  }
  w->run.resize(n);
}

// The run as a linked list, and a heap of rank << 32 | position of a pair's left symbol. An entry
// is stale where the pair now at its position has another rank.
void Bpe::MergeLong(Workspace* w) const {
  std::vector<int32_t>& run = w->run;
  const auto n = static_cast<uint32_t>(run.size());
  w->ranks.assign(n, kNoRank);
  w->previous.resize(n);
  w->next.resize(n);
  w->heap.clear();
  for (uint32_t i = 0; i < n; ++i) {
    w->previous[i] = i - 1;  // of the first: beyond n
    w->next[i] = i + 1;
    if (i + 1 == n) break;
    const uint32_t rank = w->ranks[i] = Lookup(run[i], run[i + 1], w).rank;
    if (rank != kNoRank) w->heap.push_back(uint64_t{rank} << 32 | i);
  }
  const auto refresh = [&](uint32_t i) {
    const uint32_t right = w->next[i];
    const uint32_t rank = w->ranks[i] = right < n ? Lookup(run[i], run[right], w).rank : kNoRank;
    if (rank == kNoRank) return;
    w->heap.push_back(uint64_t{rank} << 32 | i);
    std::push_heap(w->heap.begin(), w->heap.end(), std::greater<>());
  };
  std::make_heap(w->heap.begin(), w->heap.end(), std::greater<>());
  while (!w->heap.empty()) {
    std::pop_heap(w->heap.begin(), w->heap.end(), std::greater<>());
    const uint64_t top = w->heap.back();
    w->heap.pop_back();
    const auto at = static_cast<uint32_t>(top);
    if (w->ranks[at] != top >> 32) continue;
    const uint32_t right = w->next[at];
    run[at] = Lookup(run[at], run[right], w).id;
    w->ranks[right] = kNoRank;
    const uint32_t after = w->next[at] = w->next[right];
    if (after < n) w->previous[after] = at;
    refresh(at);
    if (w->previous[at] < n) refresh(w->previous[at]);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i < n; i = w->next[i]) run[kept++] = run[i];
  run.resize(kept);
}

}  // namespace catena
