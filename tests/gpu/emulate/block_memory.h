// The shared memory of a block, and the copies into it that a thread has under way.
//
// Thread rules: that of machine.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>

#include "tests/gpu/emulate/machine.h"

namespace catena::emulate {

inline constexpr size_t kCopyBytes = 16;

// Each variable is a heap block of its exact size, so that the address sanitizer sees its end, and
// is anew, all NaN, for each block of a grid.
class BlockMemory {
 public:
  void Start(size_t dynamic_bytes);
  void End();

  void* dynamic() const { return dynamic_.data.get(); }
  void* Variable(const void* key, size_t bytes);

  uint32_t AddressOf(const void* p, const Where& where) const;
  void* At(uint32_t address, size_t bytes, const Where& where) const;

 private:
  struct Free {
    void operator()(void* p) const;
  };
  struct Piece {
    std::unique_ptr<void, Free> data;
    size_t bytes = 0;
    uint32_t address = 0;
  };
  static Piece NewPiece(size_t bytes, uint32_t address);
  // Calls f(piece) on each until it gives true.
  template <class F>
  bool AnyOf(F f) const;

  Piece dynamic_;
  std::map<const void*, Piece> variables_;
  uint32_t next_address_ = 0;
};

class CopyQueue {
 public:
  // The target is NaN until the copy is waited for.
  void Add(void* to, const void* from, bool valid, const Where& where);
  void Commit() { ++group_; }
  void Wait(int groups_left);

 private:
  struct Copy {
    void* to;
    const void* from;  // null: zeros
    int group;
  };
  std::deque<Copy> copies_;
  int group_ = 0;
};

}  // namespace catena::emulate
