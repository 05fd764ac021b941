#include "model/arch/qwen_window.h"

#include "model/model_limits.h"

namespace catena {

absl::Status ReadQwenWindow(const JsonFields& fields, ModelConfig* config) {
  CATENA_ASSIGN_OR_RETURN(const auto uses, fields.FindBool("use_sliding_window"));
  if (!uses.value_or(false)) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(const int64_t first,
                          fields.Int("max_window_layers", 0, limits::kMaxLayers, 28));
  if (first >= config->n_layers) return absl::OkStatus();
  if (first > 0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: a window in the blocks from {} on, and none before, is not supported",
                    fields.source(), first));
  }
  CATENA_ASSIGN_OR_RETURN(const int64_t window,
                          fields.Int("sliding_window", 1, limits::kMaxContext, 4096));
  SetWindow(window, config);
  return absl::OkStatus();
}

}  // namespace catena
