#include "runtime/local/score.h"

#include <algorithm>
#include <numeric>

#include "model/rope_frequencies.h"

namespace catena {

absl::Status ForEachPosition(
    absl::Span<const int32_t> ids, Engine* engine,
    const std::function<absl::Status(int64_t, absl::Span<const float>)>& take) {
  const auto tokens = static_cast<int64_t>(ids.size());
  CATENA_ASSIGN_OR_RETURN(const SequenceId id,
                          engine->Open(ChooseRotaryTable(engine->config(), tokens)));
  struct Closer {
    Engine* engine;
    SequenceId id;
    ~Closer() { engine->Close(id); }
  } closer{engine, id};
  for (int64_t at = 0; at < tokens;) {
    const auto chunk =
        ids.subspan(static_cast<size_t>(at), static_cast<size_t>(engine->options().max_rows));
    CATENA_ASSIGN_OR_RETURN(const StageRows hidden, engine->Forward({{id, at, chunk}}));
    for (int32_t row = 0; row < hidden.rows.rows;) {
      std::vector<int32_t> rows(std::min(engine->options().max_logit_rows, hidden.rows.rows - row));
      std::iota(rows.begin(), rows.end(), row);
      const HostRows logits = engine->Logits(hidden, rows);
      for (int r = 0; r < logits.rows; ++r) {
        CATENA_RETURN_IF_ERROR(
            take(at + row + r, {logits.row(r), static_cast<size_t>(logits.cols)}));
      }
      row += logits.rows;
    }
    at += hidden.rows.rows;
  }
  return absl::OkStatus();
}

}  // namespace catena
