#include "model/tokenizer/token_decoder.h"

#include <utility>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/normalizer.h"

namespace catena {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The byte of a token "<0xHH>", or -1.
int ByteOfToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>') return -1;
  const int high = HexDigit(text[3]), low = HexDigit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

}  // namespace

TokenDecoder::TokenDecoder(const Vocabulary& vocabulary, const std::vector<int32_t>& special,
                           DecoderOptions options)
    : options_(std::move(options)), kinds_(vocabulary.size(), 0) {
  const std::string& dropped = options_.dropped_first;
  others_.offsets.reserve(vocabulary.size() + 1);
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary.Has(id)) {
      const std::string text(vocabulary.Text(id));
      kinds_[id] = Append(text, &others_.arena) ? kPresent | kByte : kPresent;
      if (!dropped.empty()) Append(ReplaceAll(text, dropped, ""), &first_.arena);
    }
    others_.offsets.push_back(static_cast<uint32_t>(others_.arena.size()));
    if (!dropped.empty()) first_.offsets.push_back(static_cast<uint32_t>(first_.arena.size()));
  }
  for (const int32_t id : special) {
    if (Has(id)) kinds_[id] |= kSpecial;
  }
}

bool TokenDecoder::Append(std::string text, std::string* arena) const {
  for (const auto& r : options_.replacements) text = ReplaceAll(text, r.pattern, r.content);
  const int byte = options_.byte_fallback ? ByteOfToken(text) : -1;
  if (byte >= 0) {
    arena->push_back(static_cast<char>(byte));
  } else if (options_.byte_level) {
    AppendByteLevelDecoded(text, arena);
  } else {
    arena->append(text);
  }
  return byte >= 0;
}

std::string StreamDecoder::Push(int32_t id) {
  if (!decoder_->Has(id) || (skip_special_ && decoder_->IsSpecial(id))) return "";
  const std::string_view bytes = first_ ? decoder_->FirstBytes(id) : decoder_->Bytes(id);
  first_ = false;
  std::string out;
  if (decoder_->options().byte_level) {
    stream_.Push(bytes, &out);
  } else if (decoder_->IsByte(id)) {
    run_.append(bytes);
  } else {
    out = RunText();
    run_.clear();
    out.append(bytes);
  }
  Strip(&out, &strip_left_);
  return out;
}

std::string StreamDecoder::Pending() const {
  std::string out = RunText();
  stream_.AppendPending(&out);
  int left = strip_left_;
  Strip(&out, &left);
  return out;
}

std::string StreamDecoder::Flush() {
  std::string out = Pending();
  run_.clear();
  stream_.Clear();
  first_ = true;
  strip_left_ = decoder_->options().strip_count;
  return out;
}

std::string StreamDecoder::RunText() const {
  if (IsValidUtf8(run_)) return run_;
  std::string out;
  for (size_t i = 0; i < run_.size(); ++i) out.append(kReplacementCharacter);
  return out;
}

void StreamDecoder::Strip(std::string* text, int* left) const {
  const std::string& strip = decoder_->options().strip;
  size_t cut = 0;
  while (*left > 0 && cut < text->size()) {
    if (!std::string_view(*text).substr(cut).starts_with(strip)) {
      *left = 0;
      break;
    }
    cut += strip.size();
    --*left;
  }
  text->erase(0, cut);
}

}  // namespace catena
