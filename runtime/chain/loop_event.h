// What listeners of the token loop are told, as values that wait until it is time.
//
// Thread rules: plain values; Deliver on the loop's thread.
#pragma once

#include <memory>
#include <variant>

#include "runtime/chain/token_loop.h"

namespace catena {

// What a listener is to be told, in order.
struct LoopEvent {
  struct Start {
    PublicId sequence;
  };
  struct End {
    absl::Status status;
    FinishReason reason = FinishReason::kLength;
    LoopStats stats;
  };
  std::shared_ptr<LoopListener> listener;
  std::variant<Start, Token, Moved, End> what;
};

inline void Deliver(const LoopEvent& event) {
  LoopListener& listener = *event.listener;
  if (const auto* start = std::get_if<LoopEvent::Start>(&event.what))
    listener.OnStart(start->sequence);
  if (const auto* token = std::get_if<Token>(&event.what)) listener.OnToken(*token);
  if (const auto* moved = std::get_if<Moved>(&event.what)) listener.OnMoved(*moved);
  if (const auto* end = std::get_if<LoopEvent::End>(&event.what)) {
    listener.OnEnd(end->status, end->reason, end->stats);
  }
}

}  // namespace catena
