// Any bytes as text: the replacement of what is not UTF-8, whole and as a stream cut anywhere, and
// the scanners of every pre-tokenizer pattern, which must always go on and never leave the text.
#include <cstdint>
#include <string>

#include "kernels/base/status.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/split_patterns.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

void CheckStreamCut(std::string_view bytes, const std::string& valid) {
  Utf8Stream stream;
  std::string out;
  for (size_t at = 0, n; at < bytes.size(); at += n) {
    n = 1 + static_cast<uint8_t>(bytes[at]) % 5;
    stream.Push(bytes.substr(at, n), &out);
    CATENA_CHECK(IsValidUtf8(out));
  }
  stream.AppendPending(&out);
  CATENA_CHECK(out == valid);
}

void CheckWords(const std::string& valid) {
  for (const SplitPattern pattern :
       {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kQwen2, SplitPattern::kGpt4o}) {
    for (size_t at = 0; at < valid.size();) {
      const size_t n = ScanWord(pattern, valid, at);
      CATENA_CHECK(n > 0 && n <= valid.size() - at);
      CATENA_CHECK(IsValidUtf8(std::string_view(valid).substr(at, n)));
      at += n;
    }
  }
}

}  // namespace
}  // namespace catena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::string valid;
  catena::AppendValidUtf8(bytes, &valid);
  CATENA_CHECK(catena::IsValidUtf8(valid));
  CATENA_CHECK(!catena::IsValidUtf8(bytes) || valid == bytes);
  catena::CheckStreamCut(bytes, valid);
  catena::CheckWords(valid);
  CATENA_CHECK(catena::IsValidUtf8(catena::Normalizer({catena::NfcStep{}}).Apply(valid)));
  return 0;
}
