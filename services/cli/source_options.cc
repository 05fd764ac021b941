#include "services/cli/source_options.h"

#include "services/cli/gateway_source.h"
#include "services/cli/local_source.h"

namespace catena::cli {

void SourceOptions::Declare(CLI::App& app, bool chat) {
  CLI::Option* here = model.Declare(app)->required(false);
  if (chat) model.DeclareChatTemplate(app);
  run.Declare(app);
  std::vector<CLI::Option*> of_this_process =
      app.get_options([&](CLI::Option* o) { return o != here && o != app.get_help_ptr(); });
  CLI::Option* there = gateway.Declare(app);
  for (CLI::Option* option : of_this_process) there->excludes(option);
  app.parse_complete_callback([here, there] {
    if (here->count() + there->count() == 0) throw CLI::RequiredError("--model or --gateway");
  });
}

absl::StatusOr<std::unique_ptr<TextSource>> SourceOptions::Open(int64_t chat_context) const {
  if (!gateway.address.empty()) return GatewaySource::Open(gateway, model.model);
  return LocalSource::Open(model, run, chat_context);
}

}  // namespace catena::cli
