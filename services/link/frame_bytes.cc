#include "services/link/frame_bytes.h"

#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/impl/codegen/proto_utils.h>

namespace catena {
namespace {

using google::protobuf::io::CodedOutputStream;

static_assert(v1::ChainServiceLinkRequest::kFrameFieldNumber == 1 &&
              v1::ChainServiceLinkResponse::kFrameFieldNumber == 1);

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
  const size_t total = HeaderSize(1, frame_size) + frame_size;
  const bool copy = rows->size() < kCopiedRowsBytes;
  grpc::Slice slices[2] = {grpc::Slice(copy ? total : total - rows->size()), {}};
  auto* out = const_cast<uint8_t*>(slices[0].begin());
  out = PutHeader(1, frame_size, out);
  out = PutHeader(v1::Frame::kStepsFieldNumber, steps_size, out);
  out = steps.SerializeWithCachedSizesToArray(out);
  out = PutHeader(v1::Steps::kRowsFieldNumber, rows->size(), out);
  if (copy) {
    out = std::copy(rows->begin(), rows->end(), out);
  } else {
    slices[1] = Shared(rows);
  }
  CATENA_CHECK(out == slices[0].end());
  return grpc::ByteBuffer(slices, copy ? 1 : 2);
}

}  // namespace

grpc::ByteBuffer ToBytes(const v1::Frame& frame, const RowPayload& rows) {
  if (rows != nullptr) return StepsToBytes(frame.steps(), rows);
  const size_t frame_size = frame.ByteSizeLong();
  grpc::Slice slice(HeaderSize(1, frame_size) + frame_size);
  uint8_t* out = PutHeader(1, frame_size, const_cast<uint8_t*>(slice.begin()));
  CATENA_CHECK(frame.SerializeWithCachedSizesToArray(out) == slice.end());
  return grpc::ByteBuffer(&slice, 1);
}

absl::Status FromBytes(grpc::ByteBuffer* bytes, v1::Frame* frame) {
  using Link = v1::ChainServiceLinkRequest;
  Link link;
  const grpc::Status status = grpc::SerializationTraits<Link>::Deserialize(bytes, &link);
  bytes->Clear();
  if (!status.ok()) return absl::InvalidArgumentError("the bytes that came are no frame");
  frame->Swap(link.mutable_frame());
  return absl::OkStatus();
}

}  // namespace catena
