// catena debug: one sequence as each stage of its route holds it.
#include "catena/v1/cluster.grpc.pb.h"

#include "services/cli/gateway_options.h"
#include "services/cli/output.h"
#include "services/cli/status_view.h"

namespace catena::cli {
namespace {

constexpr std::chrono::milliseconds kDebugBound{1500};

struct DebugOptions {
  GatewayOptions gateway;
  std::string sequence;
  bool json = false;
};

absl::Status RunDebug(const DebugOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const auto channel, o.gateway.Connect());
  const auto stub = v1::ClusterService::NewStub(channel);
  grpc::ClientContext context;
  o.gateway.Prepare(kDebugBound, &context);
  v1::DebugSequenceRequest request;
  request.set_sequence_id(o.sequence);
  v1::DebugSequenceResponse response;
  CATENA_RETURN_IF_ERROR(o.gateway.ToStatus(stub->DebugSequence(&context, request, &response)));
  return o.json ? WriteJson(SequenceJson(response)) : Write(SequenceTable(response));
}

}  // namespace

Action DeclareDebug(App& app) {
  auto o = std::make_shared<DebugOptions>();
  app.AddOption("sequence", &o->sequence,
                "A running sequence's id, as `catena generate --gateway --stats` says it first")
      .Required();
  o->gateway.DeclareForOperators(app).Required();
  app.AddFlag("--json", &o->json, "One JSON object");
  return [o] { return RunDebug(*o); };
}

}  // namespace catena::cli
