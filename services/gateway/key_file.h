// The keys of a file, read again when it changes. A changed file counts once it has read the same
// twice, so that one that is being written is not taken for a shorter one; one that cannot be read
// or has a line that is no key leaves the keys as they are, and the log says so.
//
// Thread rules: any thread. It has a thread of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "services/gateway/api_keys.h"

namespace catena {

class KeyFile {
 public:
  // Errors as ReadFile's, INVALID_ARGUMENT as ApiKeys::Parse's.
  static absl::StatusOr<std::unique_ptr<KeyFile>> Open(
      const std::string& path, KeyKind kind,
      std::chrono::milliseconds look_every = std::chrono::milliseconds(1000));
  ~KeyFile();

  const KeyRing& ring() const { return ring_; }

 private:
  KeyFile(std::string path, KeyKind kind, std::chrono::milliseconds look_every, ApiKeys keys,
          std::string text);
  void Loop();
  void Look();

  const std::string path_;
  const KeyKind kind_;
  const std::chrono::milliseconds look_every_;
  KeyRing ring_;
  std::string text_;       // that was last taken, or refused
  std::string candidate_;  // that was read last
  bool readable_ = true;   // as of the last look

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace catena
