// Any bytes as a GGUF vocabulary: the first line is model and pre-tokenizer, a line each token (its
// first byte gives type and score), a line each merge behind an empty one; then a NUL and a text.
#include <cstdint>

#include "tests/fuzz/tokenizer_check.h"

namespace catena {
namespace {

constexpr const char* kPre[] = {"", "smollm", "llama-bpe", "qwen2", "gpt-4o", "tekken"};

GgufVocabulary MakeVocabulary(std::string_view input) {
  GgufVocabulary v;
  bool merges = false, first = true;
  while (!input.empty()) {
    const size_t end = std::min(input.find('\n'), input.size());
    const std::string line(input.substr(0, end));
    input.remove_prefix(std::min(end + 1, input.size()));
    const int head = line.empty() ? 0 : static_cast<uint8_t>(line[0]);
    if (first) {
      v.model = head % 2 == 0 ? "llama" : "gpt2";
      v.pre = kPre[head % std::size(kPre)];
      v.add_space_prefix = head % 3 == 0;
      v.unk_id = v.bos_id = line.size() > 1 ? line[1] : -1;
      first = false;
    } else if (merges) {
      v.merges.push_back(line);
    } else if (line.empty()) {
      merges = true;
    } else {
      v.tokens.push_back(line.substr(1));
      v.types.push_back(head % 8);
      v.scores.push_back(static_cast<float>(-head));
    }
  }
  return v;
}

}  // namespace
}  // namespace catena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), size);
  const auto v = catena::MakeVocabulary(input.substr(0, end));
  const auto t = catena::Tokenizer::FromGguf(v, "fuzz.gguf");
  if (t.ok()) catena::CheckTokenizer(**t, input.substr(std::min(end + 1, size)));
  return 0;
}
