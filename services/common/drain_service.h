// DrainService of a tokenizer, a shard, a head: whoever reaches their port may ask, which with TLS
// are the cluster's members.
//
// Thread rules: gRPC calls the methods from its own threads; nothing here blocks them.
#pragma once

#include <functional>

#include "catena/v1/cluster.grpc.pb.h"

#include "runtime/chain/replica_info.h"
#include "services/common/drain.h"
#include "services/common/guarded_service.h"

namespace catena {

// So many watch a drain at a time; one more takes the place of the oldest.
inline constexpr size_t kMaxDrainCalls = 64;

v1::DrainResponse EncodeDrain(const ReplicaInfo& replica, const DrainProgress& progress);

class DrainServiceImpl final : public GuardedService {
 public:
  // `drain` and `guard` outlive it; `describe` may be called from any thread.
  DrainServiceImpl(Drain* drain, std::function<ReplicaInfo()> describe, MessageGuard* guard);

 private:
  class Call;
};

}  // namespace catena
