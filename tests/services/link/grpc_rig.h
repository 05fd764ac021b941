// Processes with a GrpcTransport and a server, for tests: each node is what a shard or a head would
// be, less the model.
//
// Thread rules: one thread.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "services/common/credentials.h"
#include "services/common/log.h"
#include "services/common/server.h"
#include "services/link/grpc_transport.h"
#include "services/link/link_service.h"
#include "tests/runtime/chain/sample_messages.h"
#include "tests/runtime/chain/transport_rig.h"
#include "tests/temp_dir.h"

namespace catena {

inline LinkIdentity TestIdentity(Incarnation incarnation) {
  return {incarnation, Role::kShard, "model", "numerics", {DType::kBF16, kSampleRowBytes}};
}

class GrpcNode : public TransportNode {
 public:
  struct Options {
    LinkIdentity self;
    std::string listen;
    TlsOptions tls;
    int64_t max_queued_bytes = limits::kMaxQueuedBytes;
    Receiver* receiver = nullptr;
    limits::DetectionLimits detection = {};
    std::function<absl::Status(const std::string&)> may_call = nullptr;
    size_t max_links = limits::kMaxLinks;
    size_t max_strangers = limits::kMaxStrangers;
    size_t max_known_callers = limits::kMaxKnownCallers;
  };
  explicit GrpcNode(Options options)
      : options_(std::move(options)),
        transport_(
            {.self = options_.self,
             .credentials = MakeChannelCredentials(options_.tls, PeerNames::kAnyMember).value(),
             .max_queued_bytes = options_.max_queued_bytes,
             .detection = options_.detection,
             .may_call = options_.may_call,
             .max_links = options_.max_links,
             .max_strangers = options_.max_strangers,
             .max_known_callers = options_.max_known_callers},
            options_.receiver),
        service_(&transport_) {
    Listen();
  }
  ~GrpcNode() override {
    transport_.Shutdown();
    server_->Shutdown(std::chrono::seconds(5));
  }

  Transport& transport() override { return transport_; }
  GrpcTransport& grpc_transport() { return transport_; }
  Server& server() { return *server_; }
  Replica replica() const override { return {server_->address(), options_.self.incarnation}; }

  // All connections to it break, while the process lives on.
  void BreakLinks() {
    options_.listen = server_->address();
    server_->Shutdown(std::chrono::milliseconds(0));
    server_.reset();
    Listen();
  }

 private:
  void Listen() {
    auto server = Server::Start({.listen = options_.listen,
                                 .credentials = MakeServerCredentials(options_.tls).value(),
                                 .services = {{v1::ChainService::service_full_name(), &service_}}});
    if (!server.ok()) ADD_FAILURE() << server.status();
    server_ = std::move(server).value();
  }

  Options options_;
  GrpcTransport transport_;
  LinkService service_;
  std::unique_ptr<Server> server_;
};

class GrpcRig : public TransportRig {
 public:
  explicit GrpcRig(bool unix_sockets) : unix_sockets_(unix_sockets) {
    EXPECT_TRUE(InitLog({.role = "test", .level = "error"}).ok());
  }

  std::unique_ptr<TransportNode> Start(const NodeOptions& options) override {
    return std::make_unique<GrpcNode>(GrpcNode::Options{
        TestIdentity(options.incarnation), options.address.empty() ? NewAddress() : options.address,
        tls, options.max_queued_bytes, options.receiver});
  }
  void BreakLinks(TransportNode* node) override { static_cast<GrpcNode*>(node)->BreakLinks(); }

  std::string NewAddress() {
    if (!unix_sockets_) return "127.0.0.1:0";
    return fmt::format("unix:{}/{}", dir.path(), ++nodes_);
  }

  TempDir dir;
  TlsOptions tls;

 private:
  const bool unix_sockets_;
  int nodes_ = 0;
};

}  // namespace catena
