// What the code under test writes to the log, at the level info and above.
//
// Thread rules: made and destroyed while no other thread logs; else any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

namespace catena {

class LogLines {
 public:
  LogLines() : before_(spdlog::default_logger()), sink_(std::make_shared<Sink>()) {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("lines", sink_));
  }
  ~LogLines() { spdlog::set_default_logger(before_); }

  // Those that have `text`.
  std::vector<std::string> With(const std::string& text) const { return sink_->With(text); }
  // False where none comes.
  [[nodiscard]] bool WaitFor(const std::string& text) const { return sink_->WaitFor(text); }

 private:
  class Sink final : public spdlog::sinks::base_sink<std::mutex> {
   public:
    std::vector<std::string> With(const std::string& text) {
      const std::lock_guard lock(mutex_);
      return WithLocked(text);
    }
    bool WaitFor(const std::string& text) {
      std::unique_lock lock(mutex_);
      return came_.wait_for(lock, std::chrono::seconds(10),
                            [&] { return !WithLocked(text).empty(); });
    }

   private:
    std::vector<std::string> WithLocked(const std::string& text) const {
      std::vector<std::string> found;
      for (const std::string& line : lines_) {
        if (line.find(text) != std::string::npos) found.push_back(line);
      }
      return found;
    }
    void sink_it_(const spdlog::details::log_msg& message) override {
      lines_.emplace_back(message.payload.data(), message.payload.size());
      came_.notify_all();
    }
    void flush_() override {}
    std::vector<std::string> lines_;
    std::condition_variable came_;
  };

  const std::shared_ptr<spdlog::logger> before_;
  const std::shared_ptr<Sink> sink_;
};

}  // namespace catena
