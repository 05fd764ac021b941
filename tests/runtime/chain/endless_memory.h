// The KV memory of a stage for tests of what is not about memory.
//
// Thread rules: none, it holds nothing.
#pragma once

#include "runtime/chain/stage_memory.h"

namespace catena {

// Has room for all, and one kind of rotary factors.
class EndlessMemory final : public StageMemory {
 public:
  absl::Status Open(uint64_t, int64_t, int64_t) override { return absl::OkStatus(); }
  bool Fits(int64_t, absl::Span<const uint64_t>) const override { return true; }
  absl::Status ChooseRotary(uint64_t, int32_t rotary) override {
    return rotary == 0 ? absl::OkStatus() : absl::InvalidArgumentError("no such factors");
  }
  absl::Status Extend(uint64_t, int64_t) override { return absl::OkStatus(); }
  absl::Status Truncate(uint64_t, int64_t) override { return absl::OkStatus(); }
  void Close(uint64_t) override {}
};

}  // namespace catena
