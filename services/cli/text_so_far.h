// What has come of a request's sequences, by which one that breaks off goes on where it was.
//
// Thread rules: one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "catena/v1/generation.pb.h"

namespace catena::cli {

class TextSoFar {
 public:
  explicit TextSoFar(uint32_t sequences) : output_(sequences) {}

  // REQUIRES: the response's index is below `sequences`.
  void Take(const v1::GenerateResponse& response) {
    if (response.has_start()) start_ = response.start();
    auto& ids = output_[response.index()];
    ids.insert(ids.end(), response.token_ids().begin(), response.token_ids().end());
    tokens_ += response.token_ids_size();
  }
  int64_t tokens() const { return tokens_; }
  // Makes it a request for the rest. REQUIRES: tokens() > 0.
  void AskForRest(v1::GenerateRequest* request) const {
    request->mutable_sampling()->set_seed(start_.seed());
    v1::Resume* resume = request->mutable_resume();
    resume->Clear();
    resume->set_numerics_id(start_.numerics_id());
    for (const std::vector<int32_t>& ids : output_) {
      resume->add_sequences()->mutable_token_ids()->Assign(ids.begin(), ids.end());
    }
  }

 private:
  v1::Start start_;
  std::vector<std::vector<int32_t>> output_;
  int64_t tokens_ = 0;
};

}  // namespace catena::cli
