// catena look: a text as the model sees it: ids, pieces, and what it expects after each.
#include <cmath>

#include <fmt/format.h>

#include "runtime/score.h"
#include "services/cli/output.h"
#include "services/cli/terminal.h"
#include "services/cli/text_input.h"

namespace catena::cli {
namespace {

using nlohmann::ordered_json;

constexpr int kBarCells = 8;
constexpr int kPieceCells = 14;

struct LookOptions {
  ModelOptions model;
  RunOptions run;
  TextInput input;
  int top = 3;
  bool json = false;
};

struct Guess {
  int32_t id;
  double probability;
};

std::string PieceOf(const Model& model, int32_t id) {
  return model.tokenizer == nullptr ? fmt::format("#{}", id) : Visible(model.tokenizer->Piece(id));
}

std::string Row(const Model& model, int64_t position, int32_t id, double probability,
                const std::vector<Guess>& guesses) {
  std::string row =
      fmt::format("{:>5} {:>7}  {}", position, id, Fit(PieceOf(model, id), kPieceCells));
  row += probability < 0 ? "       -  " : fmt::format(" {:>6.1f} %", probability * 100);
  for (const Guess& g : guesses) {
    row += fmt::format("  {} {:>5.1f} % {}", Bar(g.probability, kBarCells), g.probability * 100,
                       Fit(PieceOf(model, g.id), kPieceCells));
  }
  while (row.ends_with(' ')) row.pop_back();
  return row + "\n";
}

absl::Status RunLook(const LookOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModel(o.model));
  CATENA_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, o.input.Read(model));
  CATENA_ASSIGN_OR_RETURN(const auto engine,
                          LoadEngine(model, o.run, static_cast<int64_t>(ids.size()), 1));
  if (!o.json) {
    CATENA_RETURN_IF_ERROR(
        Write(fmt::format("{:>5} {:>7}  {} {:>8}  {}\n", "pos", "id", Fit("token", kPieceCells),
                          "expected", "what the model expects next")));
  }
  double seen = -1;  // the probability that the position before gave this one
  return ForEachPosition(
      ids, engine.get(), [&](int64_t p, absl::Span<const float> logits) -> absl::Status {
        CATENA_ASSIGN_OR_RETURN(const double sum, LogSumExp(logits));
        std::vector<Guess> guesses;
        for (int32_t id : LargestIds(logits, static_cast<size_t>(o.top))) {
          guesses.push_back({id, std::exp(logits[id] - sum)});
        }
        const double probability = seen;
        if (p + 1 < static_cast<int64_t>(ids.size())) seen = std::exp(logits[ids[p + 1]] - sum);
        if (!o.json) return Write(Row(model, p, ids[p], probability, guesses));
        auto piece = [&](int32_t id) {
          return model.tokenizer == nullptr ? "" : model.tokenizer->Piece(id);
        };
        ordered_json line{{"position", p}, {"id", ids[p]}, {"piece", piece(ids[p])}};
        line["probability"] = probability < 0 ? ordered_json() : ordered_json(probability);
        line["next"] = ordered_json::array();
        for (const Guess& g : guesses) {
          line["next"].push_back(
              {{"id", g.id}, {"piece", piece(g.id)}, {"probability", g.probability}});
        }
        return WriteJson(line);
      });
}

}  // namespace

Action DeclareLook(CLI::App& app) {
  auto o = std::make_shared<LookOptions>();
  o->model.Declare(app);
  o->input.Declare(app, "text", "The text");
  app.add_option("--top", o->top, "Guesses a position (default 3)")->check(CLI::Range(1, 20));
  app.add_flag("--json", o->json, "One JSON object a position");
  o->run.Declare(app);
  return [o] { return RunLook(*o); };
}

}  // namespace catena::cli
