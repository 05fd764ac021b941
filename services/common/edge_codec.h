// Broken links as stages report them, in frames and in Describe.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <string>
#include <string_view>

#include "catena/v1/cluster.pb.h"

#include "runtime/chain/messages.h"

namespace catena {

// A protobuf string must be UTF-8: at most `max_bytes` of it, cut between characters.
std::string ValidText(std::string_view text, int64_t max_bytes);

void EncodeEdge(const Edge& edge, v1::BrokenEdge* out);

// INVALID_ARGUMENT says which field is wrong and what is allowed.
absl::StatusOr<Edge> DecodeEdge(const v1::BrokenEdge& in);

}  // namespace catena
