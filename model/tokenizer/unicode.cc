#include "model/tokenizer/unicode.h"

#include <cstring>
#include <map>
#include <string>

#include <unicode/uchar.h>

namespace catena {
namespace {

uint8_t Classify(UChar32 c) {
  const uint32_t category = U_GET_GC_MASK(c);
  uint8_t bits = 0;
  if (category & U_GC_L_MASK) bits |= kLetter;
  if (category & U_GC_N_MASK) bits |= kNumber;
  if (u_isUWhiteSpace(c)) bits |= kSpace;
  if (c == '\r' || c == '\n') bits |= kNewline;
  const uint32_t word = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  if ((category & word) || u_isUAlphabetic(c) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL)) {
    bits |= kWord;
  }
  const uint32_t either = U_GC_LM_MASK | U_GC_LO_MASK | U_GC_M_MASK;
  if (category & (U_GC_LU_MASK | U_GC_LT_MASK | either)) bits |= kUpper;
  if (category & (U_GC_LL_MASK | either)) bits |= kLower;
  const bool ascii_sign = c < 0x80 && (category & U_GC_S_MASK);
  if ((category & U_GC_P_MASK) || ascii_sign) bits |= kPunctuation;
  return bits;
}

}  // namespace

const CharClasses& CharClasses::Get() {
  static const CharClasses* const table = new CharClasses;
  return *table;
}

CharClasses::CharClasses() {
  std::map<std::string, uint16_t> known;
  std::string page(256, '\0');
  for (uint32_t p = 0; p < 0x1100; ++p) {
    const bool assigned = p < 0x400 || p >= 0xE00;  // nothing is in planes 4 to 13
    for (uint32_t i = 0; i < 256; ++i) {
      page[i] = assigned ? static_cast<char>(Classify(static_cast<UChar32>(p * 256 + i))) : 0;
    }
    auto [it, added] = known.emplace(page, known.size());
    if (added) pages_.insert(pages_.end(), page.begin(), page.end());
    page_of_[p] = it->second;
  }
  std::memcpy(ascii_, pages_.data(), sizeof ascii_);
}

}  // namespace catena
