// What the gateway's front must know of the model before it can take a request, and where it asks:
// the tokenizers' Describe, polled by whoever implements ModelFactsSource.
//
// Thread rules: ModelFacts are plain values; a source may be asked from any thread and never
// blocks.
#pragma once

#include <memory>

#include "catena/v1/tokenizer.pb.h"

#include "model/checkpoint.h"
#include "runtime/chain/replica_info.h"

namespace catena {

struct ModelFacts {
  ModelInfo model;               // context_length: positions that the cluster's routes take
  std::string numerics_id = {};  // of those routes
  GenerationConfig generation;
  bool has_tokenizer = false;
  bool has_chat_template = false;
};

// INVALID_ARGUMENT where the answer makes no sense.
absl::StatusOr<ModelFacts> FactsOf(const v1::TokenizerServiceDescribeResponse& described);

class ModelFactsSource {
 public:
  virtual ~ModelFactsSource() = default;
  // Of a tokenizer that answers now. UNAVAILABLE, with what is missing, where none does.
  virtual absl::StatusOr<std::shared_ptr<const ModelFacts>> Facts() const = 0;
  // The same, and where none answers what the last one said: a request that comes meanwhile waits
  // for a tokenizer as it does for a route.
  virtual absl::StatusOr<std::shared_ptr<const ModelFacts>> LastFacts() const = 0;
};

}  // namespace catena
