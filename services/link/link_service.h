// A service with nothing but links, for who measures or tests them; roles have a ChainService.
//
// Thread rules: see GrpcTransport::Accept.
#pragma once

#include "catena/v1/chain.grpc.pb.h"

#include "services/link/grpc_transport.h"

namespace catena {

class LinkService final
    : public v1::ChainService::WithRawCallbackMethod_Link<v1::ChainService::Service> {
 public:
  explicit LinkService(GrpcTransport* transport) : transport_(transport) {}
  GrpcTransport::Reactor* Link(grpc::CallbackServerContext* context) override {
    return transport_->Accept(context);
  }

 private:
  GrpcTransport* const transport_;
};

}  // namespace catena
