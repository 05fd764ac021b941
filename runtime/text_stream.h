// A sequence's tokens as text that may be shown: decoded as they come, never half a character, held
// back while a stop string may be forming, ended where one is complete.
//
// Thread rules: one thread, one sequence.
#pragma once

#include <string>

#include "model/sampler/stop_matcher.h"
#include "model/tokenizer/tokenizer.h"

namespace catena {

class TextStream {
 public:
  // `tokenizer` null: every text is "".
  TextStream(const Tokenizer* tokenizer, std::vector<std::string> stop_strings)
      : decoder_(tokenizer == nullptr ? std::nullopt
                                      : std::optional(tokenizer->MakeStreamDecoder(true))),
        stop_(std::move(stop_strings)) {}

  // The text that `id` makes showable.
  std::string Push(int32_t id) { return decoder_ ? stop_.Push(decoder_->Push(id)) : ""; }
  // What was held back, at the sequence's end.
  std::string Flush() {
    if (!decoder_) return "";
    std::string text = stop_.Push(decoder_->Flush());
    return text + stop_.Flush();
  }
  // A stop string was met: the sequence is over and its text ends before it.
  bool stopped() const { return stop_.stopped(); }

 private:
  std::optional<StreamDecoder> decoder_;
  StopMatcher stop_;
};

}  // namespace catena
