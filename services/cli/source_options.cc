#include "services/cli/source_options.h"

#include "services/cli/gateway_source.h"
#include "services/cli/local_source.h"

namespace catena::cli {

Option SourceOptions::Declare(App& app, bool chat) {
  const Option here = model.Declare(app).Required(false);
  if (chat) model.DeclareChatTemplate(app);
  run.Declare(app);
  const std::vector<Option> of_this_process = app.OptionsBut(here);
  const Option there = gateway.Declare(app);
  if (chat) gateway.DeclareWait(app);
  for (const Option& option : of_this_process) there.Excludes(option);
  app.RequireOneOf(here, there, "--model or --gateway");
  return there;
}

absl::StatusOr<std::unique_ptr<TextSource>> SourceOptions::Open(int64_t chat_context) const {
  if (!gateway.address.empty()) return GatewaySource::Open(gateway, model.model);
  return LocalSource::Open(model, run, chat_context);
}

}  // namespace catena::cli
