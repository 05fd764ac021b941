// Runs one tokenizer over lines of JSON, for tokenizer_oracle.py and chat_oracle.py. Not installed.
//
//   tokenizer_tool tokenizer.json     {"text": T} or {"bytes_b64": B} -> {"ids"}
//                                     {"ids": I} -> {"text", "text_skip_special", "chunks"}
#include <iostream>
#include <string>

#include "tests/model/tokenizer_test_data.h"

namespace catena {
namespace {

using nlohmann::json;

json Answer(const Tokenizer& tokenizer, const json& request) {
  if (request.contains("ids")) {
    const auto ids = request["ids"].get<std::vector<int32_t>>();
    return {{"text", tokenizer.Decode(ids, false)},
            {"text_skip_special", tokenizer.Decode(ids, true)},
            {"chunks", StreamChunks(tokenizer, ids, false)}};
  }
  const bool raw = request.contains("bytes_b64");
  const std::string text =
      raw ? DecodeBase64(request["bytes_b64"]) : request["text"].get<std::string>();
  return {{"ids", tokenizer.Encode(text)}};
}

int Main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_tool tokenizer.json\n";
    return 1;
  }
  const auto tokenizer = Tokenizer::FromTokenizerJson(ReadFileText(argv[1]), argv[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Answer(**tokenizer, json::parse(line)).dump(-1, ' ', true) << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace catena

int main(int argc, char** argv) { return catena::Main(argc, argv); }
