// What the tests of checkpoints ask of them. Tests only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/checkpoint.h"

namespace catena {

inline std::shared_ptr<const Checkpoint> MustOpen(const std::string& path,
                                                  const CheckpointOptions& options = {}) {
  auto opened = Checkpoint::Open(path, options);
  EXPECT_TRUE(opened.ok()) << opened.status();
  return opened.ok() ? *opened : nullptr;
}

// Asks for every tensor and touches its first and last byte.
inline void ReadAll(const Checkpoint& model) {
  std::vector<TensorView> views;
  for (int layer = 0; layer < model.config().n_layers; ++layer) {
    const auto block = model.Block(layer);
    ASSERT_TRUE(block.ok()) << block.status();
    views = {block->attention_norm, block->output, block->mlp_norm, block->down};
    views.insert(views.end(), block->qkv.begin(), block->qkv.end());
    views.insert(views.end(), block->gate_up.begin(), block->gate_up.end());
    int64_t qkv_rows = 0, gate_up_rows = 0;
    for (const TensorView& v : block->qkv) qkv_rows += v.rows;
    for (const TensorView& v : block->gate_up) gate_up_rows += v.rows;
    EXPECT_EQ(qkv_rows, model.config().qkv_cols());
    EXPECT_EQ(gate_up_rows, 2 * model.config().intermediate_size);
  }
  for (const auto& view : {model.Embedding(), model.FinalNorm(), model.LmHead()}) {
    ASSERT_TRUE(view.ok()) << view.status();
    views.push_back(*view);
  }
  int sum = 0;
  for (const TensorView& v : views) {
    ASSERT_EQ(v.bytes.size(), static_cast<size_t>(v.rows * RowBytes(v.dtype, v.cols))) << v.name;
    sum += v.bytes.front() + v.bytes.back();
    model.tensors().Release(v);
  }
  EXPECT_GT(sum, 0);
}

inline void ExpectRefused(const absl::Status& status, absl::StatusCode code,
                          const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& part : parts) {
    EXPECT_THAT(std::string(Message(status)), ::testing::HasSubstr(part));
  }
  EXPECT_THAT(std::string(Message(status)), ::testing::Not(::testing::HasSubstr("\n")));
}

inline constexpr char kTinyConfig[] =
    R"({"model_type": "llama", "vocab_size": 64, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "eos_token_id": 2})";

}  // namespace catena
