// A folder's tokenizer.json as a GGUF file spells a tokenizer: tokens, their types, merges or
// scores, and the name of the rule by which text is cut. The rule is found as llama.cpp's converter
// finds it, by what comes of texts: of those that GgufPreTokenizerRules lists, the first is taken
// under which all of them become the same ids.
//
// Thread rules: functions without state.
#pragma once

#include "model/checkpoint.h"
#include "model/tokenizer/tokenizer.h"
#include "model/weights/gguf_header.h"

namespace catena {

// REQUIRES: `tokenizer` is that of the folder's tokenizer.json. INVALID_ARGUMENT that shows a text
// of which no rule that GGUF names makes the same tokens; where only white space around special
// tokens is another matter, a warning.
absl::StatusOr<GgufVocabulary> DescribeTokenizer(const Checkpoint& folder,
                                                 const Tokenizer& tokenizer,
                                                 std::vector<std::string>* warnings);

// With the ids at which a text ends, of which GGUF names three: the rest become a warning.
void SetVocabulary(const GgufVocabulary& vocabulary, absl::Span<const int32_t> end_ids,
                   GgufMetadata* metadata, std::vector<std::string>* warnings);

}  // namespace catena
