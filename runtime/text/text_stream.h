// A sequence's tokens as text that may be shown: decoded as they come, never half a character, held
// back while a stop string may be forming, ended where one is complete.
//
// Thread rules: one thread, one sequence.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/sampler/params.h"
#include "model/sampler/stop_matcher.h"
#include "model/tokenizer/tokenizer.h"

namespace catena {

class TextStream {
 public:
  // `tokenizer` null: every text is "". Stop strings wait until the output has params.min_tokens.
  TextStream(const Tokenizer* tokenizer, const SamplingParams& params)
      : has_stop_(!params.stop.empty()), min_tokens_(params.min_tokens), stop_(params.stop) {
    if (tokenizer != nullptr) decoder_ = tokenizer->MakeStreamDecoder(true);
  }

  // The text that `id` makes showable.
  std::string Push(int32_t id) {
    if (!decoder_) return "";
    const std::string text = decoder_->Push(id);
    if (++tokens_ <= min_tokens_) return text;
    std::string shown = stop_.Push(text);
    if (!has_stop_ || stop_.stopped()) return shown;
    // What the decoder withholds (a run of byte tokens) may complete a stop string already.
    StopMatcher ahead = stop_;
    const std::string before = ahead.Push(decoder_->Pending());
    if (!ahead.stopped()) return shown;
    stop_ = std::move(ahead);
    return shown + before;
  }
  // What was held back, at the sequence's end.
  std::string Flush() {
    if (!decoder_) return "";
    const std::string rest = decoder_->Flush();
    if (tokens_ <= min_tokens_) return rest;
    std::string text = stop_.Push(rest);
    return text + stop_.Flush();
  }
  // A stop string was met: the sequence is over and its text ends before it.
  bool stopped() const { return stop_.stopped(); }

 private:
  std::optional<StreamDecoder> decoder_;
  bool has_stop_;
  int64_t min_tokens_;
  int64_t tokens_ = 0;
  StopMatcher stop_;
};

}  // namespace catena
