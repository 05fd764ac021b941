// The messages of the chain (runtime/chain/messages.h) as the frames of proto/catena/v1/chain.proto
// and back. What comes from outside is checked here, once: behind Decode every count is within
// limits.h, every position, id and enum in its range, and as many bytes of rows are there as the
// steps say. What only a model can tell (vocabulary, context length) its stage checks.
//
// Thread rules: pure functions, any thread.
#pragma once

#include "catena/v1/chain.pb.h"

#include "kernels/base/dtype.h"
#include "runtime/chain/messages.h"

namespace catena {

// The residual rows of the hops that a process takes part in.
struct RowFormat {
  DType dtype = DType::kF32;  // or kBF16
  int64_t row_bytes = 0;      // 0: no rows are sent or taken
  friend bool operator==(const RowFormat&, const RowFormat&) = default;
};

// Of a frame down the chain, to a process with rows of this format: 512 rows and as many ids as a
// message may have, and room for what frames them.
int MaxFrameBytes(const RowFormat& format);
// Of a frame that comes back: tokens with their alternatives, lengths, edges.
inline constexpr int kMaxAnswerBytes = 4 << 20;

// All of the message but the rows of Steps, which the frame only counts (frame_bytes.h appends
// them). REQUIRES: as many bytes of rows as the steps have rows.
void EncodeWithoutRows(const ChainMessage& message, const RowFormat& format, v1::Frame* frame);

// The whole message; copies the rows.
void Encode(const ChainMessage& message, const RowFormat& format, v1::Frame* frame);

// Takes the rows out of the frame. INVALID_ARGUMENT says which field is wrong and what is allowed;
// so does the hello of a handshake.
absl::StatusOr<ChainMessage> Decode(const RowFormat& format, v1::Frame* frame);

}  // namespace catena
