// Bytes that many calls hold together, and how many they may.
//
// Thread rules: a ByteBudget from any thread; a HeldBytes belongs to one call's strand.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

namespace catena {

class ByteBudget {
 public:
  explicit ByteBudget(size_t most) : most_(most) {}
  size_t most() const { return most_; }
  size_t held() const { return held_.load(std::memory_order_relaxed); }
  bool exceeded() const { return held() > most_; }

 private:
  friend class HeldBytes;
  const size_t most_;
  std::atomic<size_t> held_{0};
};

// What one call holds; it is given back at the end.
class HeldBytes {
 public:
  explicit HeldBytes(ByteBudget* budget) : budget_(budget) {}
  HeldBytes(const HeldBytes&) = delete;
  HeldBytes& operator=(const HeldBytes&) = delete;
  ~HeldBytes() { Clear(); }

  void Add(size_t bytes) {
    bytes_ += bytes;
    budget_->held_ += bytes;
  }
  // REQUIRES: bytes <= size()
  void Remove(size_t bytes) {
    bytes_ -= bytes;
    budget_->held_ -= bytes;
  }
  void Clear() { Remove(bytes_); }
  size_t size() const { return bytes_; }

 private:
  ByteBudget* const budget_;
  size_t bytes_ = 0;
};

}  // namespace catena
