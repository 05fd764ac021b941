// catena perplexity: exp of the mean negative log-likelihood of a file's tokens, one window.
#include "model/file_limits.h"
#include "runtime/text/prompt.h"
#include "services/cli/output.h"
#include "services/cli/text_input.h"
#include "services/cli/token_perplexity.h"

namespace catena::cli {
namespace {

struct PerplexityOptions {
  ModelOptions model;
  RunOptions run;
  std::string file;
};

absl::StatusOr<std::vector<int32_t>> ReadTokens(const std::string& path) {
  CATENA_ASSIGN_OR_RETURN(const nlohmann::json file, ReadJsonFile(path, limits::kTokensJson));
  const auto wrong = absl::InvalidArgumentError(
      fmt::format("{}: it must be {{\"tokens\": [ids]}} with at least two ids", path));
  if (!file.is_object() || !file.contains("tokens") || !file["tokens"].is_array()) return wrong;
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : file["tokens"]) {
    const std::optional<int64_t> value = AsInt(id);
    if (!value || *value < INT32_MIN || *value > INT32_MAX) return wrong;
    ids.push_back(static_cast<int32_t>(*value));
  }
  if (ids.size() < 2) return wrong;
  return ids;
}

absl::Status RunPerplexity(const PerplexityOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModel(o.model));
  CATENA_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadTokens(o.file));
  CATENA_RETURN_IF_ERROR(
      CheckPrompt(ids, model.config().vocab_size, model.config().context_length));
  const auto tokens = static_cast<int64_t>(ids.size());
  CATENA_ASSIGN_OR_RETURN(const auto engine, LoadEngine(model, o.run, tokens, 1));
  CATENA_ASSIGN_OR_RETURN(const double perplexity, TokenPerplexity(ids, ids.size(), engine.get()));
  return WriteJson({{"tokens", tokens}, {"perplexity", perplexity}});
}

}  // namespace

Action DeclarePerplexity(App& app) {
  auto o = std::make_shared<PerplexityOptions>();
  o->model.Declare(app);
  app.AddOption("--tokens", &o->file, "JSON file {\"tokens\": [ids]}").Required();
  o->run.Declare(app);
  return [o] { return RunPerplexity(*o); };
}

}  // namespace catena::cli
