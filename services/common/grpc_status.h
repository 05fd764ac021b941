// The status of gRPC and that of abseil, which number their codes alike.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <grpcpp/support/status.h>

#include "kernels/base/status.h"

namespace catena {

inline grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(Message(status))};
}

inline absl::Status FromGrpc(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace catena
