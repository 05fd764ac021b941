// Reads the pre_tokenizer of a tokenizer.json. Pure functions: any thread.
#pragma once

#include "model/json.h"
#include "model/tokenizer/json_component.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace catena {

struct PreTokenizerParts {
  PreTokenizer pre_tokenizer;
  bool byte_level = false;  // the vocabulary spells bytes as byte_level.h does
};

// DATA_LOSS where it is damaged, INVALID_ARGUMENT where it asks for what is not supported.
absl::StatusOr<PreTokenizerParts> ReadPreTokenizer(const nlohmann::json& v, const JsonPlace& p);

}  // namespace catena
