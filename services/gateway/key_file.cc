#include "services/gateway/key_file.h"

#include <utility>

#include <spdlog/spdlog.h>

#include "model/file_limits.h"
#include "model/read_file.h"

namespace catena {
absl::StatusOr<std::unique_ptr<KeyFile>> KeyFile::Open(const std::string& path, KeyKind kind,
                                                       std::chrono::milliseconds look_every) {
  CATENA_ASSIGN_OR_RETURN(std::string text, ReadFile(path, limits::kKeysBytes));
  CATENA_ASSIGN_OR_RETURN(ApiKeys keys, ApiKeys::Parse(text, path, kind));
  return std::unique_ptr<KeyFile>(
      new KeyFile(path, kind, look_every, std::move(keys), std::move(text)));
}

KeyFile::KeyFile(std::string path, KeyKind kind, std::chrono::milliseconds look_every, ApiKeys keys,
                 std::string text)
    : path_(std::move(path)),
      kind_(kind),
      look_every_(look_every),
      ring_(std::move(keys)),
      text_(std::move(text)),
      candidate_(text_),
      thread_([this] { Loop(); }) {}

KeyFile::~KeyFile() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void KeyFile::Loop() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, look_every_, [this] { return stopped_; })) {
    lock.unlock();
    Look();
    lock.lock();
  }
}

void KeyFile::Look() {
  absl::StatusOr<std::string> text = ReadFile(path_, limits::kKeysBytes);
  if (std::exchange(readable_, text.ok()) && !text.ok()) {
    spdlog::warn("{}; those from before still count", Message(text.status()));
  }
  if (!text.ok()) return;
  const bool twice = *text == candidate_;
  candidate_ = *std::move(text);
  if (!twice || candidate_ == text_) return;
  text_ = candidate_;
  absl::StatusOr<ApiKeys> keys = ApiKeys::Parse(text_, path_, kind_);
  if (!keys.ok()) {
    spdlog::warn("{}; the keys from before still count", Message(keys.status()));
    return;
  }
  ring_.Replace(*std::move(keys));
  spdlog::info("{} was read again: its keys count from now on", path_);
}

}  // namespace catena
