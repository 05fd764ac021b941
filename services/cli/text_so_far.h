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

  // Whether all of a sequence has come: a request for the rest of others tells its end again.
  bool is_whole(uint32_t sequence) const { return output_[sequence].whole; }
  // REQUIRES: the response's index is below `sequences`.
  void Take(const v1::GenerateResponse& response) {
    if (response.has_start() && !begun_) start_ = response.start();
    begun_ |= response.has_start();
    Output& output = output_[response.index()];
    output.ids.insert(output.ids.end(), response.token_ids().begin(), response.token_ids().end());
    output.whole |= response.has_finish();
    tokens_ += response.token_ids_size();
  }
  bool begun() const { return begun_; }
  int64_t tokens() const { return tokens_; }
  // Makes it a request for the rest. REQUIRES: begun().
  void AskForRest(v1::GenerateRequest* request) const {
    request->mutable_sampling()->set_seed(start_.seed());
    v1::Resume* resume = request->mutable_resume();
    resume->Clear();
    resume->set_numerics_id(start_.numerics_id());
    for (const Output& output : output_) {
      resume->add_sequences()->mutable_token_ids()->Assign(output.ids.begin(), output.ids.end());
    }
  }

 private:
  struct Output {
    std::vector<int32_t> ids;
    bool whole = false;
  };
  v1::Start start_;
  bool begun_ = false;
  std::vector<Output> output_;
  int64_t tokens_ = 0;
};

}  // namespace catena::cli
