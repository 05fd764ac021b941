#include "services/gateway/model_facts.h"

#include "services/common/replica_description.h"

namespace catena {

absl::StatusOr<ModelFacts> FactsOf(const v1::TokenizerServiceDescribeResponse& described) {
  CATENA_ASSIGN_OR_RETURN(const ReplicaInfo info, DecodeReplicaInfo(described.replica()));
  return ModelFacts{.model = info.model,
                    .generation = DecodeGeneration(described.generation()),
                    .has_tokenizer = described.has_tokenizer(),
                    .has_chat_template = described.has_chat_template()};
}

}  // namespace catena
