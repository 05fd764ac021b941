// Which tokenizers a gateway may ask now: found and probed by whoever implements this.
//
// Thread rules: asked from any thread; never blocks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

namespace catena {

struct TokenizerReplica {
  std::string address;
  // Takes messages of kMaxGrpcMessageBytes (services/common/channel.h).
  std::shared_ptr<grpc::Channel> channel;
};

class TokenizerReplicas {
 public:
  virtual ~TokenizerReplicas() = default;
  // Those that serve this cluster's model, in any order; empty where there is none.
  virtual std::vector<TokenizerReplica> Serving() = 0;
};

// Of `serving` the one whose turn it is, another than the one at `avoid` where there is another.
// REQUIRES: not empty.
inline const TokenizerReplica& PickReplica(const std::vector<TokenizerReplica>& serving,
                                           size_t turn, const std::string& avoid) {
  const TokenizerReplica& first = serving[turn % serving.size()];
  return first.address == avoid ? serving[(turn + 1) % serving.size()] : first;
}

}  // namespace catena
