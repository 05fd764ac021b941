// The in-process transport is a Transport.
#include "runtime/chain/local_transport.h"

#include "tests/runtime/chain/transport_conformance.h"

namespace catena {
namespace {

class LocalNode : public TransportNode {
 public:
  LocalNode(LocalHub* hub, const Replica& self, const NodeOptions& options)
      : self_(self), transport_(hub, self, options.receiver, options.max_queued_bytes) {}
  Transport& transport() override { return transport_; }
  Replica replica() const override { return self_; }

 private:
  const Replica self_;
  LocalTransport transport_;
};

class LocalRig : public TransportRig {
 public:
  std::unique_ptr<TransportNode> Start(const NodeOptions& options) override {
    std::string address = options.address;
    if (address.empty()) address = fmt::format("local:{}", ++nodes_);
    return std::make_unique<LocalNode>(&hub_, Replica{address, options.incarnation}, options);
  }
  void BreakLinks(TransportNode* node) override { hub_.BreakLinks(node->replica().address); }

 private:
  LocalHub hub_;
  int nodes_ = 0;
};

std::unique_ptr<TransportRig> MakeLocalRig() { return std::make_unique<LocalRig>(); }

INSTANTIATE_TEST_SUITE_P(Local, TransportConformance, ::testing::Values(MakeLocalRig));

}  // namespace
}  // namespace catena
