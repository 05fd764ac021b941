// What a replica says of itself (runtime/chain/replica_info.h) and of a sequence as the messages of
// cluster.proto and back, and the model's generation config as tokenizer.proto has it.
//
// Thread rules: pure functions, any thread.
#pragma once

#include "catena/v1/cluster.pb.h"
#include "catena/v1/tokenizer.pb.h"

#include "model/checkpoint.h"
#include "runtime/chain/core.h"
#include "runtime/chain/replica_info.h"

namespace catena {

v1::Role EncodeRole(Role role);
void EncodeReplicaInfo(const ReplicaInfo& info, v1::ReplicaDescription* out);
// INVALID_ARGUMENT that names the field: what came from outside is checked here.
absl::StatusOr<ReplicaInfo> DecodeReplicaInfo(const v1::ReplicaDescription& in);

void EncodeView(const SequenceView& view, v1::SequenceAtStage* out);  // it is open there

void EncodeGeneration(const GenerationConfig& generation, v1::GenerationDefaults* out);
GenerationConfig DecodeGeneration(const v1::GenerationDefaults& in);

}  // namespace catena
