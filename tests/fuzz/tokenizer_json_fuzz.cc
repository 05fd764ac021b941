// Any bytes as a tokenizer.json, and behind a NUL a text to encode with it. Nothing may crash, hang
// or allocate far beyond the input's size.
#include <cstdint>

#include "tests/fuzz/tokenizer_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), size);
  const auto t = catena::Tokenizer::FromTokenizerJson(input.substr(0, end), "fuzz.json");
  if (t.ok()) catena::CheckTokenizer(**t, input.substr(std::min(end + 1, size)));
  return 0;
}
