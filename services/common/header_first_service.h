// A gRPC service whose methods begin when a call's headers have come. What the generated services
// have begins when gRPC has read the whole message, so that whoever may not ask is told only after
// all that he sent lies in memory; and gRPC 1.51 reads a message of any length that it announces.
//
// A method here is a stream of both sides to the server, and what its proto says to the client: one
// message up, one or many down. On the wire there is no difference. Its reactor looks at the
// headers, reads the message as bytes (StartRead) and parses it, and so can say what is wrong.
//
// Thread rules: methods are added before the service is registered; reactors are started by gRPC's
// threads.
#pragma once

#include <deque>
#include <functional>
#include <string>

#include <grpcpp/impl/codegen/server_callback_handlers.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

namespace catena {

template <typename Response>
using HeaderFirstReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, Response>;

class HeaderFirstService : public grpc::Service {
 protected:
  // `service` as of v1::XService::service_full_name(), `method` as in its proto.
  template <typename Response>
  void Add(const std::string& service, const std::string& method,
           std::function<HeaderFirstReactor<Response>*(grpc::CallbackServerContext*)> start) {
    using Handler = grpc::internal::CallbackBidiHandler<grpc::ByteBuffer, Response>;
    const int index = static_cast<int>(paths_.size());
    paths_.push_back("/" + service + "/" + method);
    AddMethod(new grpc::internal::RpcServiceMethod(
        paths_.back().c_str(), grpc::internal::RpcMethod::BIDI_STREAMING, nullptr));
    MarkMethodRawCallback(index, new Handler(std::move(start)));
  }

 private:
  std::deque<std::string> paths_;  // which gRPC points into
};

}  // namespace catena
