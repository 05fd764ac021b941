// Replicas that say of themselves what a test wants, on unix sockets, and a token loop that has no
// links to any.
//
// Thread rules: any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "catena/v1/chain.grpc.pb.h"
#include "catena/v1/tokenizer.grpc.pb.h"
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "runtime/chain/transport.h"
#include "services/common/replica_description.h"
#include "services/common/server.h"

namespace catena {

class NoLinks final : public Transport {
 public:
  void Connect(const Replica&) override {}
  void Disconnect(Incarnation) override {}
  void Send(Envelope) override {}
};

class FakeReplica final : public v1::TokenizerService::Service, public v1::ChainService::Service {
 public:
  FakeReplica(Role role, const std::string& address, const std::string& fingerprint,
              Incarnation incarnation) {
    info_.replica = {.address = address, .incarnation = incarnation};
    info_.role = role;
    info_.model = {.name = "model-" + fingerprint,
                   .fingerprint = fingerprint,
                   .n_layers = 2,
                   .vocab_size = 32,
                   .hidden_size = 8,
                   .context_length = 64,
                   .rotary_switch = 0};
    info_.numerics_id = "n";
    info_.row_bytes = 16;
    if (role == Role::kShard) info_.layers = {0, 2};
    Listen();
  }
  ~FakeReplica() override { Stop(); }

  void Listen() {
    const NamedService services[] = {
        {v1::TokenizerService::service_full_name(),
         static_cast<v1::TokenizerService::Service*>(this)},
        {v1::ChainService::service_full_name(), static_cast<v1::ChainService::Service*>(this)}};
    auto server = Server::Start({.listen = info_.replica.address,
                                 .credentials = grpc::InsecureServerCredentials(),
                                 .services = {std::begin(services), std::end(services)}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    info_.replica.address = server_->address();
  }
  // Another process in its place.
  void Become(const std::string& fingerprint) {
    const std::lock_guard lock(mutex_);
    info_.model.fingerprint = fingerprint;
    ++info_.replica.incarnation;
  }
  // It dies.
  void Stop() {
    Freeze(false);
    server_.reset();
  }

  const std::string& address() const { return info_.replica.address; }

  // While it is frozen it answers nothing.
  void Freeze(bool frozen) {
    const std::lock_guard lock(mutex_);
    frozen_ = frozen;
    changed_.notify_all();
  }
  int asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  // Until it was asked `times` times.
  void AwaitAsked(int times) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return asked_ >= times; }));
  }

 private:
  grpc::Status Say(v1::ReplicaDescription* out) {
    std::unique_lock lock(mutex_);
    ++asked_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !frozen_; });
    EncodeReplicaInfo(info_, out);
    return grpc::Status::OK;
  }
  grpc::Status Describe(grpc::ServerContext*, const v1::TokenizerServiceDescribeRequest*,
                        v1::TokenizerServiceDescribeResponse* response) override {
    return Say(response->mutable_replica());
  }
  grpc::Status Describe(grpc::ServerContext*, const v1::ChainServiceDescribeRequest*,
                        v1::ChainServiceDescribeResponse* response) override {
    return Say(response->mutable_replica());
  }

  ReplicaInfo info_;
  std::unique_ptr<Server> server_;
  mutable std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  bool frozen_ = false;
  int asked_ = 0;
};

}  // namespace catena
