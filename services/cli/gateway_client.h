// A blocking client of the public API. Ctrl-C ends a call: CANCELLED.
//
// Thread rules: one thread.
#pragma once

#include <functional>
#include <memory>

#include "catena/v1/generation.grpc.pb.h"

#include "services/cli/gateway_options.h"

namespace catena::cli {

class GatewayClient {
 public:
  static absl::StatusOr<GatewayClient> Connect(const GatewayOptions& options);

  // An error of `take` ends the call and is what it returns.
  absl::Status Generate(const v1::GenerateRequest& request,
                        const std::function<absl::Status(const v1::GenerateResponse&)>& take);
  absl::Status Score(const v1::ScoreRequest& request,
                     const std::function<absl::Status(const v1::ScoreResponse&)>& take);
  absl::StatusOr<v1::ListModelsResponse> ListModels();
  // After a break: waits until a gateway answers again, for a while.
  absl::Status AwaitGateway();

 private:
  GatewayClient(GatewayOptions options, std::unique_ptr<v1::GenerationService::Stub> stub)
      : options_(std::move(options)), stub_(std::move(stub)) {}

  GatewayOptions options_;
  std::unique_ptr<v1::GenerationService::Stub> stub_;
};

}  // namespace catena::cli
