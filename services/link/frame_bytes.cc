#include "services/link/frame_bytes.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <xxhash.h>

namespace catena {
namespace {

using google::protobuf::io::CodedOutputStream;

using LinkMessage = v1::ChainServiceLinkRequest;
static_assert(LinkMessage::kFrameFieldNumber == 1 && LinkMessage::kChecksumFieldNumber == 2);
using LinkAnswer = v1::ChainServiceLinkResponse;
static_assert(LinkAnswer::kFrameFieldNumber == 1 && LinkAnswer::kChecksumFieldNumber == 2);

// Below this a copy is cheaper than one more part of a message.
constexpr size_t kCopiedRowsBytes = 16 << 10;

// A field with a length is: its number and wire type 2, the length, the bytes.
constexpr uint32_t Tag(int field) { return static_cast<uint32_t>(field) << 3 | 2; }

size_t HeaderSize(int field, size_t size) {
  return CodedOutputStream::VarintSize32(Tag(field)) + CodedOutputStream::VarintSize64(size);
}

uint8_t* PutHeader(int field, size_t size, uint8_t* out) {
  out = CodedOutputStream::WriteVarint32ToArray(Tag(field), out);
  return CodedOutputStream::WriteVarint64ToArray(size, out);
}

// A fixed64 field is: its number and wire type 1, the bytes.
constexpr uint8_t kChecksumTag = LinkMessage::kChecksumFieldNumber << 3 | 1;
constexpr size_t kChecksumSize = 1 + sizeof(uint64_t);

// Of what is checked, which is before `out`, where it is written.
uint8_t* PutChecksum(uint64_t checksum, uint8_t* out) {
  *out++ = kChecksumTag;
  return CodedOutputStream::WriteLittleEndian64ToArray(checksum, out);
}

grpc::Slice Shared(const RowPayload& rows) {
  auto* owner = new RowPayload(rows);
  return grpc::Slice(
      const_cast<char*>(rows->data()), rows->size(),
      [](void* user) { delete static_cast<RowPayload*>(user); }, owner);
}

// The frame's Steps with `rows` behind them, which is where their field belongs.
grpc::ByteBuffer StepsToBytes(const v1::Steps& steps, const RowPayload& rows) {
  const size_t head_size = steps.ByteSizeLong();
  const size_t rows_size = HeaderSize(v1::Steps::kRowsFieldNumber, rows->size()) + rows->size();
  const size_t steps_size = head_size + rows_size;
  const size_t frame_size = HeaderSize(v1::Frame::kStepsFieldNumber, steps_size) + steps_size;
  const size_t total = HeaderSize(1, frame_size) + frame_size + kChecksumSize;
  const bool copy = rows->size() < kCopiedRowsBytes;
  grpc::Slice slices[3] = {
      grpc::Slice(copy ? total : total - rows->size() - kChecksumSize), {}, {}};
  uint8_t* const begin = const_cast<uint8_t*>(slices[0].begin());
  uint8_t* out = begin;
  out = PutHeader(1, frame_size, out);
  out = PutHeader(v1::Frame::kStepsFieldNumber, steps_size, out);
  out = steps.SerializeWithCachedSizesToArray(out);
  out = PutHeader(v1::Steps::kRowsFieldNumber, rows->size(), out);
  const uint64_t checksum = XXH3_64bits(begin, static_cast<size_t>(out - begin));
  if (copy) {
    out = PutChecksum(checksum, std::copy(rows->begin(), rows->end(), out));
    CATENA_CHECK(out == slices[0].end());
    return grpc::ByteBuffer(slices, 1);
  }
  CATENA_CHECK(out == slices[0].end());
  slices[1] = Shared(rows);
  slices[2] = grpc::Slice(kChecksumSize);
  PutChecksum(checksum, const_cast<uint8_t*>(slices[2].begin()));
  return grpc::ByteBuffer(slices, 3);
}

// The bytes [begin, end) of a buffer.
std::string Part(const grpc::ByteBuffer& buffer, size_t begin, size_t end) {
  std::vector<grpc::Slice> slices;
  buffer.Dump(&slices);
  std::string part;
  part.reserve(end - begin);
  size_t at = 0;
  for (const grpc::Slice& slice : slices) {
    const size_t from = std::clamp(begin, at, at + slice.size());
    const size_t to = std::clamp(end, at, at + slice.size());
    part.append(slice.begin() + (from - at), slice.begin() + (to - at));
    at += slice.size();
  }
  return part;
}

// Whether the last field is the checksum, and that of all before it but `rows`, which are last
// there.
bool IsWhole(const grpc::ByteBuffer& buffer, uint64_t checksum, size_t rows) {
  const size_t size = buffer.Length();
  if (size < kChecksumSize + rows) return false;
  uint8_t field[kChecksumSize];
  PutChecksum(checksum, field);
  const std::string_view wanted(reinterpret_cast<const char*>(field), kChecksumSize);
  if (Part(buffer, size - kChecksumSize, size) != wanted) return false;
  const std::string checked = Part(buffer, 0, size - kChecksumSize - rows);
  return XXH3_64bits(checked.data(), checked.size()) == checksum;
}

absl::Status Altered() {
  return absl::DataLossError("a frame came with other bits than were sent");
}

}  // namespace

grpc::ByteBuffer ToBytes(const v1::Frame& frame, const RowPayload& rows) {
  if (rows != nullptr) return StepsToBytes(frame.steps(), rows);
  const size_t frame_size = frame.ByteSizeLong();
  grpc::Slice slice(HeaderSize(1, frame_size) + frame_size + kChecksumSize);
  uint8_t* const begin = const_cast<uint8_t*>(slice.begin());
  uint8_t* out = PutHeader(1, frame_size, begin);
  out = frame.SerializeWithCachedSizesToArray(out);
  out = PutChecksum(XXH3_64bits(begin, static_cast<size_t>(out - begin)), out);
  CATENA_CHECK(out == slice.end());
  return grpc::ByteBuffer(&slice, 1);
}

absl::Status FromBytes(grpc::ByteBuffer* buffer, bool must_be_checked, v1::Frame* frame) {
  grpc::ByteBuffer bytes(*buffer);  // shares them: parsing takes them out
  LinkMessage message;
  const grpc::Status status = grpc::SerializationTraits<LinkMessage>::Deserialize(buffer, &message);
  buffer->Clear();
  if (message.has_checksum() || must_be_checked) {
    const size_t rows = message.frame().steps().rows().size();
    if (!IsWhole(bytes, message.checksum(), rows)) return Altered();
  }
  if (!status.ok()) return absl::InvalidArgumentError("the bytes that came are no frame");
  frame->Swap(message.mutable_frame());
  return absl::OkStatus();
}

}  // namespace catena
