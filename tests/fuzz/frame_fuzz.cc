// Any bytes as a frame of a link: what decodes is encoded, decoded and encoded again, and nothing
// may change on the way.
#include <cstdint>

#include <google/protobuf/util/message_differencer.h>

#include "services/link/codec.h"
#include "tests/runtime/chain/sample_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using catena::TextOf;
  constexpr catena::RowFormat kFormat{catena::DType::kBF16, catena::kSampleRowBytes};
  catena::v1::Frame frame;
  if (!frame.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto first = Decode(kFormat, &frame);
  if (!first.ok()) return 0;
  catena::v1::Frame again;
  Encode(*first, kFormat, &again);
  catena::v1::Frame copy = again;
  const auto second = Decode(kFormat, &copy);
  CATENA_CHECK(second.ok());
  CATENA_CHECK(TextOf(*first) == TextOf(*second));
  catena::v1::Frame last;
  Encode(*second, kFormat, &last);
  CATENA_CHECK(google::protobuf::util::MessageDifferencer::Equals(again, last));
  return 0;
}
