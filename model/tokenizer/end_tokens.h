// Tokens that end a turn, known by their texts: files forget to name them among the ids at which a
// text ends, and to mark them as special. Peers know them by name for every architecture
// (llama.cpp's src/llama-vocab.cpp), and so do we.
//
// Thread rules: a pure function.
#pragma once

#include <string_view>

namespace catena {

// Whether a token of this text ends a turn, however its file marks it. `special`: its file marks it
// as a special (control) token; "</s>" ends a text only where it is, since to Phi-3 it is plain
// text.
bool EndsTurn(std::string_view text, bool special);

}  // namespace catena
