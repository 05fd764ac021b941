// The options of a command that takes its text from a model in this process or from a cluster.
#pragma once

#include <memory>

#include "services/cli/gateway_options.h"
#include "services/cli/model_options.h"
#include "services/cli/text_source.h"

namespace catena::cli {

struct SourceOptions {
  ModelOptions model;
  RunOptions run;
  GatewayOptions gateway;

  // One of --model and --gateway must be given; how to run a model is of this process only.
  // `chat`: it writes texts, so with --chat-template and --wait-for-gateway. Returns --gateway.
  Option Declare(App& app, bool chat);
  // `chat_context`: see LocalSource.
  absl::StatusOr<std::unique_ptr<TextSource>> Open(int64_t chat_context = 0) const;
};

}  // namespace catena::cli
