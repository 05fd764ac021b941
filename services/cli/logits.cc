// catena logits: per position the largest logits and their log-sum-exp, as JSON lines.
#include "model/sampler/log_softmax.h"
#include "runtime/local/score.h"
#include "services/cli/output.h"
#include "services/cli/text_input.h"

namespace catena::cli {
namespace {

constexpr size_t kTop = 20;

struct LogitsOptions {
  ModelOptions model;
  RunOptions run;
  TextInput input;
  bool all = false;
};

absl::Status RunLogits(const LogitsOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModel(o.model));
  CATENA_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, o.input.Read(model));
  CATENA_ASSIGN_OR_RETURN(const auto engine,
                          LoadEngine(model, o.run, static_cast<int64_t>(ids.size()), 1));
  LogSoftmax softmax;
  return ForEachPosition(
      ids, engine.get(), [&](int64_t position, absl::Span<const float> logits) -> absl::Status {
        CATENA_RETURN_IF_ERROR(softmax.Take(logits, position + 1));
        nlohmann::ordered_json line{{"position", position}, {"top", nlohmann::json::array()}};
        for (const auto& [id, _] : softmax.Top(kTop)) line["top"].push_back({id, logits[id]});
        line["logsumexp"] = softmax.log_sum_exp();
        if (o.all) line["logits"] = std::vector<float>(logits.begin(), logits.end());
        return WriteJson(line);
      });
}

}  // namespace

Action DeclareLogits(App& app) {
  auto o = std::make_shared<LogitsOptions>();
  o->model.Declare(app);
  o->input.Declare(app, "-p,--prompt", "The text");
  app.AddFlag("--all", &o->all, "Every logit, not only the 20 largest");
  o->run.Declare(app);
  return [o] { return RunLogits(*o); };
}

}  // namespace catena::cli
