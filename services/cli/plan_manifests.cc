#include "services/cli/plan_manifests.h"

#include <utility>

#include <fmt/format.h>

#include "services/cli/yaml.h"

namespace catena::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kGrpcPort = 7000, kHttpPort = 7080;
// A pod that is to go: it stays in service while others take notice of it, then what runs ends.
constexpr int kPreStopS = 15, kGraceS = 40, kTerminationS = 60;
constexpr int kStartupS = 900, kProbeS = 5;  // a load of some GB from network storage; each probe
constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kProcessBytes = 512 * kMiB;  // code, threads, batches, connections
constexpr int64_t kMemoryStep = 128 * kMiB;
constexpr int kUser = 65532;

// A stage and its neighbours.
struct Stage {
  std::string name;       // of all its objects
  std::string component;  // shard, head: also its role
  std::string next;       // the name of what it sends rows to; "" of the head
  std::string before;     // the name of the shard that sends it rows; "" of the first
  PlannedStage plan;
};

std::vector<Stage> Chain(const std::vector<PlannedStage>& plan) {
  std::vector<Stage> stages;
  for (size_t i = 0; i < plan.size(); ++i) {
    const bool is_head = i + 1 == plan.size();
    stages.push_back({.name = is_head ? "catena-head" : fmt::format("catena-stage-{}", i),
                      .component = is_head ? "head" : "shard",
                      .next = "",
                      .before = i == 0 ? "" : stages[i - 1].name,
                      .plan = plan[i]});
    if (i > 0) stages[i - 1].next = stages[i].name;
  }
  return stages;
}

Json Labels(const Stage& s) {
  return {{"app.kubernetes.io/name", "catena"},
          {"app.kubernetes.io/component", s.component},
          {"catena/stage", s.name}};
}

Json Metadata(const Stage& s) { return {{"name", s.name}, {"labels", Labels(s)}}; }

Json Args(const Stage& s, const WorkloadOptions& o) {
  Json args = {s.component, "--model=" + o.model_path};
  if (s.component == "shard") {
    args.push_back("--layers=" + s.plan.layers);
    args.push_back(fmt::format("--next={}:{}", s.next, kGrpcPort));
    args.push_back("--kv-memory=" + o.kv_memory);
    args.push_back(fmt::format("--journal-memory={}MiB", s.plan.journal_bytes / kMiB));
  }
  args.push_back(fmt::format("--threads={}", o.threads));
  if (o.gpus > 0) args.push_back("--backend=cuda");
  args.push_back(fmt::format("--listen=0.0.0.0:{}", kGrpcPort));
  args.push_back(fmt::format("--http=0.0.0.0:{}", kHttpPort));
  args.push_back(fmt::format("--grace={}", kGraceS));
  args.push_back("--log-format=json");
  return args;
}

Json Probe(const char* path, int failures) {
  return {{"httpGet", {{"path", path}, {"port", "http"}}},
          {"periodSeconds", kProbeS},
          {"timeoutSeconds", 3},
          {"failureThreshold", failures}};
}

Json Resources(const Stage& s, const WorkloadOptions& o) {
  const bool is_shard = s.component == "shard";
  const int64_t bytes =
      s.plan.weight_bytes + kProcessBytes + (is_shard ? o.kv_bytes + s.plan.journal_bytes : 0);
  const int64_t rounded = (bytes + kMemoryStep - 1) / kMemoryStep * kMemoryStep;
  const std::string memory = fmt::format("{}Mi", rounded / kMiB);
  Json limits = {{"memory", memory}};
  if (o.gpus > 0) limits["nvidia.com/gpu"] = o.gpus;
  return {{"requests", {{"cpu", fmt::format("{}", o.threads)}, {"memory", memory}}},
          {"limits", limits}};
}

Json LockedDown() {
  return {{"allowPrivilegeEscalation", false},
          {"readOnlyRootFilesystem", true},
          {"capabilities", {{"drop", Json::array({"ALL"})}}}};
}

Json WeightsMount() {
  return Json::array({{{"name", "weights"}, {"mountPath", "/weights"}, {"readOnly", true}}});
}

// The job that fills the volume renames the model into its place when it is whole.
Json AwaitWeights(const WorkloadOptions& o) {
  return {{"name", "await-weights"},
          {"image", "catena"},
          {"command",
           {"sh", "-c", "until [ -e \"$0\" ]; do echo \"waiting for $0\"; sleep 2; done",
            o.model_path}},
          {"resources",
           {{"requests", {{"cpu", "10m"}, {"memory", "16Mi"}}}, {"limits", {{"memory", "64Mi"}}}}},
          {"securityContext", LockedDown()},
          {"volumeMounts", WeightsMount()}};
}

Json Container(const Stage& s, const WorkloadOptions& o) {
  return {
      {"name", s.component},
      {"image", "catena"},
      {"args", Args(s, o)},
      {"ports",
       {{{"name", "grpc"}, {"containerPort", kGrpcPort}},
        {{"name", "http"}, {"containerPort", kHttpPort}}}},
      {"startupProbe", Probe("/readyz", kStartupS / kProbeS)},
      {"readinessProbe", Probe("/readyz", 2)},
      {"livenessProbe", Probe("/livez", 3)},
      {"lifecycle", {{"preStop", {{"sleep", {{"seconds", kPreStopS}}}}}}},
      {"resources", Resources(s, o)},
      {"securityContext", LockedDown()},
      {"volumeMounts", WeightsMount()},
  };
}

Json PodSpec(const Stage& s, const WorkloadOptions& o) {
  const Json spread = {{"maxSkew", 1},
                       {"topologyKey", "kubernetes.io/hostname"},
                       {"whenUnsatisfiable", "ScheduleAnyway"},
                       {"labelSelector", {{"matchLabels", Labels(s)}}}};
  const Json together = {
      {"weight", 50},
      {"podAffinityTerm",
       {{"topologyKey", "topology.kubernetes.io/zone"},
        {"labelSelector", {{"matchLabels", {{"app.kubernetes.io/name", "catena"}}}}}}}};
  return {
      {"serviceAccountName", "catena-" + s.component},
      {"automountServiceAccountToken", false},
      {"enableServiceLinks", false},
      {"terminationGracePeriodSeconds", kTerminationS},
      {"securityContext",
       {{"runAsNonRoot", true},
        {"runAsUser", kUser},
        {"runAsGroup", kUser},
        {"fsGroup", kUser},
        {"fsGroupChangePolicy", "OnRootMismatch"},
        {"seccompProfile", {{"type", "RuntimeDefault"}}}}},
      {"topologySpreadConstraints", Json::array({spread})},
      {"affinity",
       {{"podAffinity",
         {{"preferredDuringSchedulingIgnoredDuringExecution", Json::array({together})}}}}},
      {"initContainers", Json::array({AwaitWeights(o)})},
      {"containers", Json::array({Container(s, o)})},
      {"volumes", Json::array({{{"name", "weights"},
                                {"persistentVolumeClaim", {{"claimName", "catena-weights"}}}}})}};
}

Json Deployment(const Stage& s, const WorkloadOptions& o) {
  return {
      {"apiVersion", "apps/v1"},
      {"kind", "Deployment"},
      {"metadata", Metadata(s)},
      {"spec",
       {{"replicas", o.replicas},
        // A new replica is found by its name before an old one goes.
        {"minReadySeconds", kPreStopS},
        {"revisionHistoryLimit", 3},
        {"strategy",
         {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", 1}, {"maxUnavailable", 0}}}}},
        {"selector", {{"matchLabels", Labels(s)}}},
        {"template", {{"metadata", {{"labels", Labels(s)}}}, {"spec", PodSpec(s, o)}}}}}};
}

// Headless, with replicas that are not ready: gateways ask each how it is, know it sooner than DNS
// does, and what runs on a replica that drains may have to call it again.
Json Service(const Stage& s) {
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", Metadata(s)},
          {"spec",
           {{"clusterIP", "None"},
            {"publishNotReadyAddresses", true},
            {"selector", Labels(s)},
            {"ports", Json::array({{{"name", "grpc"},
                                    {"port", kGrpcPort},
                                    {"targetPort", "grpc"},
                                    {"appProtocol", "kubernetes.io/h2c"}}})}}}};
}

Json Budget(const Stage& s) {
  return {{"apiVersion", "policy/v1"},
          {"kind", "PodDisruptionBudget"},
          {"metadata", Metadata(s)},
          {"spec",
           {{"maxUnavailable", 1},
            {"unhealthyPodEvictionPolicy", "AlwaysAllow"},
            {"selector", {{"matchLabels", Labels(s)}}}}}};
}

Json Port(const char* protocol, int port) { return {{"protocol", protocol}, {"port", port}}; }

Json PodsLabelled(const char* label, const std::string& value) {
  return {
      {"podSelector", {{"matchLabels", {{"app.kubernetes.io/name", "catena"}, {label, value}}}}}};
}

Json EgressToDns() {
  return {
      {"to", Json::array({{{"namespaceSelector",
                            {{"matchLabels", {{"kubernetes.io/metadata.name", "kube-system"}}}}},
                           {"podSelector", {{"matchLabels", {{"k8s-app", "kube-dns"}}}}}}})},
      {"ports", {Port("UDP", 53), Port("TCP", 53)}}};
}

// Rows come from the stage before, questions and heartbeats from gateways; rows go to the next.
Json Policy(const Stage& s) {
  const Json grpc = Json::array({Port("TCP", kGrpcPort)});
  Json from = Json::array({PodsLabelled("app.kubernetes.io/component", "gateway")});
  if (!s.before.empty()) from.push_back(PodsLabelled("catena/stage", s.before));
  Json egress = Json::array();
  if (!s.next.empty()) {
    egress.push_back(
        {{"to", Json::array({PodsLabelled("catena/stage", s.next)})}, {"ports", grpc}});
    egress.push_back(EgressToDns());
  }
  return {{"apiVersion", "networking.k8s.io/v1"},
          {"kind", "NetworkPolicy"},
          {"metadata", Metadata(s)},
          {"spec",
           {{"podSelector", {{"matchLabels", Labels(s)}}},
            {"policyTypes", {"Ingress", "Egress"}},
            {"ingress", Json::array({{{"from", from}, {"ports", grpc}}})},
            {"egress", egress}}}};
}

}  // namespace

std::string StageManifests(const std::vector<PlannedStage>& stages, const WorkloadOptions& options,
                           const std::string& command) {
  std::string text = fmt::format("# Written by `{}`: change that, not this.\n", command);
  for (const Stage& s : Chain(stages)) {
    for (const Json& object : {Deployment(s, options), Service(s), Budget(s), Policy(s)}) {
      text += "---\n" + ToYaml(object);
    }
  }
  return text;
}

}  // namespace catena::cli
