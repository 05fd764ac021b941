// Frames as the bytes of a gRPC message. The request and the response of ChainService.Link both
// have the frame as their field 1, so that one code writes and reads them.
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

// Empties `bytes`. INVALID_ARGUMENT where they are no frame.
absl::Status FromBytes(grpc::ByteBuffer* bytes, v1::Frame* frame);

}  // namespace catena
