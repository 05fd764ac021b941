// Activations packed into tiles (layout.h), and the per-thread scratch of the ops.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/base/huge_buffer.h"
#include "kernels/cpu/layout.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/kernels.h"

namespace catena::cpu {

class CpuPackedRows {
 public:
  static absl::StatusOr<CpuPackedRows> Make(int max_rows, int64_t max_cols);

  int rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  InputFormat format() const { return format_; }
  const uint8_t* data() const { return buffer_.data(); }

  // Makes room for `rows` rows, to be written tile by tile. REQUIRES: within the capacity.
  void Start(int rows, int64_t cols, InputFormat format);

  int tiles() const { return (rows_ + kTileRows - 1) / kTileRows; }
  int tile_rows(int64_t tile) const {
    const int left = rows_ - static_cast<int>(tile) * kTileRows;
    return left < kTileRows ? left : kTileRows;
  }
  uint8_t* tile(int64_t tile) {
    return buffer_.data() + TileBytes(format_, kTileRows, cols_) * tile;
  }

 private:
  int rows_ = 0;
  int64_t cols_ = 0;
  InputFormat format_ = InputFormat::kF32;
  HugeBuffer buffer_;
};

// What every op of the backend runs with: the threads, and memory for each of them.
struct Workers {
  explicit Workers(int threads) : pool(threads), scratch(threads) {}

  // At least so much memory for each from here on. REQUIRES: called outside For.
  absl::Status Reserve(int64_t bytes);
  // That of one worker, 64-byte aligned. REQUIRES: `bytes` were reserved.
  uint8_t* Scratch(int worker, int64_t bytes) {
    CATENA_CHECK(static_cast<int64_t>(scratch[worker].bytes()) >= bytes);
    return scratch[worker].data();
  }

  ThreadPool pool;
  std::vector<HugeBuffer> scratch;
};

}  // namespace catena::cpu
