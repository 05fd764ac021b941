// The public gRPC API: who asks, what for, and the call that answers (generate_call.h,
// score_call.h). Who may not ask is told so before his request is read.
//
// Thread rules: gRPC calls the methods from its own threads, which nothing here holds up.
#pragma once

#include "catena/v1/generation.grpc.pb.h"

#include "services/common/header_first_service.h"
#include "services/gateway/front.h"

namespace catena {

class GenerationServiceImpl final : public HeaderFirstService {
 public:
  // `front` outlives it.
  explicit GenerationServiceImpl(Front* front);

 private:
  // A method that `Call` answers.
  template <typename Call, typename Response>
  void AddCall(const std::string& method);

  Front* const front_;
};

}  // namespace catena
