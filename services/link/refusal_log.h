// Callers that were refused, as the log has them: one line a caller and reason, whatever the number
// of its lanes and attempts, and no more than a few lines a minute, whoever calls.
//
// Thread rules: one at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/chain/instant.h"
#include "runtime/chain/messages.h"

namespace catena {

class RefusalLog {
 public:
  static constexpr int kMaxLinesAMinute = 60;

  // The line to log; nullopt: it has been said, or enough has.
  std::optional<std::string> Refused(Incarnation caller, std::string_view why, Instant now);
  // What it was refused for before is news again.
  void Accepted(Incarnation caller) { said_.erase(caller); }

 private:
  std::map<Incarnation, size_t> said_;  // hashes of reasons
  Instant minute_{};                    // when it began
  int lines_ = 0;                       // in it
  int64_t unsaid_ = 0;
};

}  // namespace catena
