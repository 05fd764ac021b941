// The tokenizers that the tests load, and the case files of the shared data. Tests only.
#pragma once

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model/checkpoint.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/shared_data.h"

namespace catena {

inline std::string ReadFileText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The tokenizer of a tokenizer.json of the shared data; null where it is absent.
inline std::shared_ptr<const Tokenizer> LoadSharedTokenizer(const std::string& relative) {
  const std::string path = SharedPath(relative);
  if (path.empty()) return nullptr;
  auto tokenizer = Tokenizer::FromTokenizerJson(ReadFileText(path), path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

// The objects of a case file, one a line; empty where it is absent.
inline std::vector<nlohmann::json> ReadCases(const std::string& relative) {
  std::vector<nlohmann::json> cases;
  const std::string path = SharedPath(relative);
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) cases.push_back(nlohmann::json::parse(line));
  return cases;
}

// REQUIRES: standard base64 with padding.
inline std::string DecodeBase64(const std::string& text) {
  static const std::string kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int n = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kAlphabet.find(c));
    n += 6;
    if (n >= 8) out.push_back(static_cast<char>(bits >> (n -= 8) & 0xFF));
  }
  return out;
}

// The chunks of a stream of ids; the last is what Flush gives.
inline std::vector<std::string> StreamChunks(const Tokenizer& tokenizer,
                                             const std::vector<int32_t>& ids, bool skip_special) {
  StreamDecoder stream = tokenizer.MakeStreamDecoder(skip_special);
  std::vector<std::string> chunks;
  for (const int32_t id : ids) chunks.push_back(stream.Push(id));
  chunks.push_back(stream.Flush());
  return chunks;
}

inline std::string Join(const std::vector<std::string>& chunks) {
  std::string out;
  for (const std::string& c : chunks) out += c;
  return out;
}

}  // namespace catena
