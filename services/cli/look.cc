// catena look: a text as the model sees it: ids, pieces, and what it expects after each.
#include <memory>

#include <fmt/format.h>

#include "services/cli/output.h"
#include "services/cli/source_options.h"
#include "services/cli/terminal.h"
#include "services/cli/text_input.h"

namespace catena::cli {
namespace {

using nlohmann::ordered_json;

constexpr int kBarCells = 8;
constexpr int kPieceCells = 14;

struct LookOptions {
  SourceOptions source;
  TextInput input;
  int top = 3;
  bool json = false;
};

std::string Shown(int32_t id, const std::optional<std::string>& piece) {
  return Fit(piece ? Visible(*piece) : fmt::format("#{}", id), kPieceCells);
}

std::string Row(const ScoredPosition& p) {
  std::string row = fmt::format("{:>5} {:>7}  {}", p.position, p.id, Shown(p.id, p.piece));
  row += p.probability ? fmt::format(" {:>6.1f} %", *p.probability * 100) : "       -  ";
  for (const ScoredPosition::Guess& g : p.next) {
    row += fmt::format("  {} {:>5.1f} % {}", Bar(g.probability, kBarCells), g.probability * 100,
                       Shown(g.id, g.piece));
  }
  while (row.ends_with(' ')) row.pop_back();
  return row + "\n";
}

ordered_json Json(const ScoredPosition& p) {
  ordered_json line{{"position", p.position}, {"id", p.id}, {"piece", p.piece.value_or("")}};
  line["probability"] = p.probability ? ordered_json(*p.probability) : ordered_json();
  line["next"] = ordered_json::array();
  for (const ScoredPosition::Guess& g : p.next) {
    line["next"].push_back(
        {{"id", g.id}, {"piece", g.piece.value_or("")}, {"probability", g.probability}});
  }
  return line;
}

absl::Status RunLook(const LookOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const auto source, o.source.Open());
  CATENA_ASSIGN_OR_RETURN(const TextPrompt prompt, o.input.Prompt());
  std::string header =
      fmt::format("{:>5} {:>7}  {} {:>8}  {}\n", "pos", "id", Fit("token", kPieceCells), "expected",
                  "what the model expects next");
  return source->Score(prompt, o.top, [&](const ScoredPosition& p) -> absl::Status {
    if (o.json) return WriteJson(Json(p));
    return Write(std::exchange(header, "") + Row(p));
  });
}

}  // namespace

Action DeclareLook(App& app) {
  auto o = std::make_shared<LookOptions>();
  o->source.Declare(app, false);
  o->input.Declare(app, "text", "The text");
  app.AddOption("--top", &o->top, "Guesses a position (default 3)").Range(1, 20);
  app.AddFlag("--json", &o->json, "One JSON object a position");
  return [o] { return RunLook(*o); };
}

}  // namespace catena::cli
