// Frames as the bytes of a gRPC message, with a checksum. The request and the response of
// ChainService.Link have the same fields, so that one code writes and reads them.
//
// Thread rules: pure functions, any thread.
#pragma once

#include "catena/v1/chain.pb.h"
#include <grpcpp/support/byte_buffer.h>

#include "runtime/chain/messages.h"

namespace catena {

// `rows`, where not null, become the rows of the frame's Steps; large ones are not copied but kept
// until they are sent.
grpc::ByteBuffer ToBytes(const v1::Frame& frame, const RowPayload& rows = nullptr);

// The first version of the protocol whose frames all have a checksum.
inline constexpr uint32_t kChecksumsFrom = 2;

// Empties `bytes`. INVALID_ARGUMENT where they are no frame, DATA_LOSS where they are not those
// that were sent; a checksum may be absent unless it `must_be_checked`.
absl::Status FromBytes(grpc::ByteBuffer* bytes, bool must_be_checked, v1::Frame* frame);

}  // namespace catena
