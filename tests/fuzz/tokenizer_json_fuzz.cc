// Any bytes as a tokenizer.json, and behind a NUL a text to encode with it. Nothing may crash, hang
// or allocate far beyond the input's size.
#include <cstdint>

#include "tests/fuzz/tokenizer_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), size);
  // What other files of a folder may say, some of it nonsense.
  catena::TokenizerConfig config;
  config.bos_token = "<x>";
  config.eos_token = "ab";
  if (size % 2 == 0) config.add_bos = size % 4 == 0;
  config.added = {{.content = "<y>", .id = 7, .rstrip = true, .special = true},
                  {.content = "b", .id = -1, .special = true},
                  {.content = "<z>", .id = 1 << 30}};
  config.end_ids = {0, -5, 1 << 30};
  const auto t = catena::Tokenizer::FromTokenizerJson(input.substr(0, end), "fuzz.json", config);
  if (t.ok()) catena::CheckTokenizer(**t, input.substr(std::min(end + 1, size)));
  return 0;
}
