// What must hold for any tokenizer and any text, whatever file it came from. Fuzz targets only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace catena {

inline void CheckStream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip) {
  StreamDecoder stream = tokenizer.MakeStreamDecoder(skip);
  std::string joined;
  for (const int32_t id : ids) {
    const std::string chunk = stream.Push(id);
    CATENA_CHECK(IsValidUtf8(chunk));
    joined += chunk;
  }
  joined += stream.Flush();
  CATENA_CHECK(joined == tokenizer.Decode(ids, skip));
}

inline void CheckTokenizer(const Tokenizer& tokenizer, std::string_view text) {
  const auto mark = UnusedNoncharacter({text});
  const std::string broken = mark.ok() ? tokenizer.BreakSpecial(text, *mark) : "";
  for (const bool special : {true, false}) {
    if (!special && !mark.ok()) continue;
    const absl::StatusOr<std::vector<int32_t>> ids =
        special ? tokenizer.Encode(text) : tokenizer.Encode(broken, {.mark = *mark});
    if (!ids.ok()) continue;  // a regular expression takes too long
    for (const int32_t id : *ids) {
      CATENA_CHECK(id >= 0 && id < tokenizer.vocab_size());
      CATENA_CHECK(IsValidUtf8(tokenizer.Piece(id)));
    }
    CheckStream(tokenizer, *ids, special);
  }
  std::vector<int32_t> any;  // ids that no text gives, and no tokens
  for (const char c : text) any.push_back(static_cast<int32_t>(c));
  CheckStream(tokenizer, any, true);
  (void)tokenizer.IdOf(text);
}

}  // namespace catena
