// Text from a cluster, by its gateway.
//
// Thread rules: one thread.
#pragma once

#include <memory>
#include <string>

#include "services/cli/gateway_client.h"
#include "services/cli/text_source.h"

namespace catena::cli {

class GatewaySource final : public TextSource {
 public:
  // `model`: "" is the cluster's; of the path of a model its name counts.
  static absl::StatusOr<std::unique_ptr<TextSource>> Open(const GatewayOptions& gateway,
                                                          const std::string& model);

  absl::Status PrepareChat(const SamplingOverrides& sampling) override;
  absl::StatusOr<TextStats> Generate(const TextPrompt& prompt, const SamplingOverrides& sampling,
                                     const OnDelta& on_delta) override;
  absl::Status Score(const TextPrompt& prompt, int top, const OnPosition& on_position) override;

 private:
  GatewaySource(GatewayClient client, std::string model)
      : client_(std::move(client)), model_(std::move(model)) {}

  // Whether the cluster turns ids into text.
  absl::StatusOr<bool> HasTokenizer();

  GatewayClient client_;
  const std::string model_;
};

}  // namespace catena::cli
