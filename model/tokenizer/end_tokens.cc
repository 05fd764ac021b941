#include "model/tokenizer/end_tokens.h"

#include <algorithm>

namespace catena {
namespace {

constexpr std::string_view kKnownEndTokens[] = {
    "<|eot_id|>",          // Llama 3
    "<|eom_id|>",          // Llama 3, before a tool's answer
    "<|end_of_text|>",     // Llama 3, Granite
    "<|im_end|>",          // ChatML: SmolLM, Qwen
    "<|end|>",             // Phi-3, Phi-4-mini
    "<|endoftext|>",       // GPT-2, Phi, Qwen
    "<end_of_turn>",       // Gemma
    "<eos>",               // Gemma
    "<EOT>",               // CodeLlama
    "_<EOT>",              // the same, spelled by early converters
    "\xE2\x96\x81<EOT>",   // and by SentencePiece
    "[EOT]",               // Kimi K2
    "[EOS]",               // Kimi K2
    "<end_of_utterance>",  // SmolVLM, SmolDocling
    "<|return|>",          // Harmony
    "<|call|>",            // Harmony
    "<|calls|>",           // Solar Open
    "<|flush|>",           // Solar Open
    "<turn|>",             // Gemma 4
    "[e~[",                // MiniMax M2
    // DeepSeek, with U+FF5C and U+2581
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
};

}  // namespace

bool EndsTurn(std::string_view text, bool special) {
  if (text == "</s>") return special;
  return std::find(std::begin(kKnownEndTokens), std::end(kKnownEndTokens), text) !=
         std::end(kKnownEndTokens);
}

}  // namespace catena
