#include "services/common/replica_description.h"

#include <algorithm>

#include "model/model_limits.h"
#include "runtime/chain/limits.h"
#include "services/common/edge_codec.h"

namespace catena {
namespace {

constexpr size_t kMaxTextBytes = 1024;  // of a name, version, fingerprint

struct RoleRow {
  Role role;
  v1::Role wire;
};
constexpr RoleRow kRoles[] = {{Role::kGateway, v1::ROLE_GATEWAY},
                              {Role::kTokenizer, v1::ROLE_TOKENIZER},
                              {Role::kShard, v1::ROLE_SHARD},
                              {Role::kHead, v1::ROLE_HEAD}};

void EncodeLoad(const ReplicaLoad& load, v1::ReplicaLoad* out) {
  out->set_sequences(load.sequences);
  out->set_queued_rows(load.queued_rows);
  out->set_kv_pages(load.kv_pages);
  out->set_kv_pages_used(load.kv_pages_used);
  out->set_kv_page_bytes(load.kv_page_bytes);
  out->set_journal_bytes(load.journal_bytes);
  out->set_batches(load.batches);
  out->set_rows(load.rows);
  out->set_oldest_step_ns(load.oldest_step_ns);
  out->set_divergences(load.divergences);
  out->set_corrupt(load.corrupt);
  out->set_progress(load.progress);
}

ReplicaLoad DecodeLoad(const v1::ReplicaLoad& in) {
  return {.sequences = std::clamp<int64_t>(in.sequences(), 0, limits::kMaxOpenSequences),
          .queued_rows = in.queued_rows(),
          .kv_pages = in.kv_pages(),
          .kv_pages_used = in.kv_pages_used(),
          .kv_page_bytes = in.kv_page_bytes(),
          .journal_bytes = in.journal_bytes(),
          .batches = in.batches(),
          .progress = in.progress(),
          .rows = in.rows(),
          .oldest_step_ns = in.oldest_step_ns(),
          .divergences = in.divergences(),
          .corrupt = in.corrupt()};
}

absl::Status CheckSize(const char* field, size_t bytes) {
  if (bytes <= kMaxTextBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("a replica's {} has {} bytes: at most {} are "
                  "allowed",
                  field, bytes, kMaxTextBytes));
}

absl::Status CheckRange(const char* field, int64_t value, int64_t most) {
  if (value >= 0 && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("a replica's {} is {}: it must be from 0 to {}", field, value, most));
}

absl::Status Check(const v1::ReplicaDescription& in) {
  CATENA_RETURN_IF_ERROR(CheckSize("address", in.address().size()));
  CATENA_RETURN_IF_ERROR(CheckSize("model name", in.model().name().size()));
  CATENA_RETURN_IF_ERROR(CheckSize("fingerprint", in.model().fingerprint().size()));
  CATENA_RETURN_IF_ERROR(CheckSize("numerics id", in.numerics_id().size()));
  CATENA_RETURN_IF_ERROR(CheckSize("version", in.version().size()));
  CATENA_RETURN_IF_ERROR(CheckSize("host", in.host().size()));
  CATENA_RETURN_IF_ERROR(CheckSize("address of metrics", in.metrics().size()));
  CATENA_RETURN_IF_ERROR(
      CheckRange("number of broken edges", in.broken_edges_size(), limits::kMaxPeers));
  const v1::ModelDescription& model = in.model();
  CATENA_RETURN_IF_ERROR(CheckRange("number of layers", model.n_layers(), limits::kMaxLayers));
  CATENA_RETURN_IF_ERROR(CheckRange("vocabulary size", model.vocab_size(), limits::kMaxVocab));
  CATENA_RETURN_IF_ERROR(CheckRange("hidden size", model.hidden_size(), limits::kMaxHidden));
  CATENA_RETURN_IF_ERROR(CheckRange("context length", model.context_length(), limits::kMaxContext));
  CATENA_RETURN_IF_ERROR(CheckRange("rotary switch", model.rotary_switch(), limits::kMaxContext));
  CATENA_RETURN_IF_ERROR(CheckRange("row size", in.row_bytes(), limits::kMaxHidden * 4));
  CATENA_RETURN_IF_ERROR(CheckRange("last layer", in.layer_end(), model.n_layers()));
  return CheckRange("first layer", in.layer_begin(), in.layer_end());
}

}  // namespace

v1::Role EncodeRole(Role role) {
  for (const RoleRow& row : kRoles) {
    if (row.role == role) return row.wire;
  }
  return v1::ROLE_UNSPECIFIED;
}

void EncodeReplicaInfo(const ReplicaInfo& info, v1::ReplicaDescription* out) {
  out->set_address(info.replica.address);
  out->set_incarnation(info.replica.incarnation);
  out->set_role(EncodeRole(info.role));
  out->set_layer_begin(info.layers.begin);
  out->set_layer_end(info.layers.end);
  v1::ModelDescription* model = out->mutable_model();
  model->set_name(info.model.name);
  model->set_fingerprint(info.model.fingerprint);
  model->set_n_layers(info.model.n_layers);
  model->set_vocab_size(info.model.vocab_size);
  model->set_hidden_size(info.model.hidden_size);
  model->set_context_length(info.model.context_length);
  model->set_rotary_switch(info.model.rotary_switch);
  out->set_numerics_id(info.numerics_id);
  out->set_row_bytes(info.row_bytes);
  out->set_version(info.version);
  out->set_host(info.host);
  out->set_pid(info.pid);
  out->set_metrics(info.metrics);
  out->set_draining(info.draining);
  for (const Edge& edge : info.broken_edges) EncodeEdge(edge, out->add_broken_edges());
  EncodeLoad(info.load, out->mutable_load());
}

absl::StatusOr<ReplicaInfo> DecodeReplicaInfo(const v1::ReplicaDescription& in) {
  CATENA_RETURN_IF_ERROR(Check(in));
  const RoleRow* role = nullptr;
  for (const RoleRow& row : kRoles) {
    if (row.wire == in.role()) role = &row;
  }
  if (role == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("a replica's role is {}: it must be from 1 to 4", static_cast<int>(in.role())));
  }
  const v1::ModelDescription& model = in.model();
  std::vector<Edge> broken_edges;
  for (const v1::BrokenEdge& edge : in.broken_edges()) {
    CATENA_ASSIGN_OR_RETURN(broken_edges.emplace_back(), DecodeEdge(edge));
  }
  return ReplicaInfo{.replica = {.address = in.address(), .incarnation = in.incarnation()},
                     .role = role->role,
                     .layers = {in.layer_begin(), in.layer_end()},
                     .model = {.name = model.name(),
                               .fingerprint = model.fingerprint(),
                               .n_layers = model.n_layers(),
                               .vocab_size = model.vocab_size(),
                               .hidden_size = model.hidden_size(),
                               .context_length = model.context_length(),
                               .rotary_switch = model.rotary_switch()},
                     .numerics_id = in.numerics_id(),
                     .row_bytes = in.row_bytes(),
                     .version = in.version(),
                     .host = in.host(),
                     .pid = in.pid(),
                     .metrics = in.metrics(),
                     .draining = in.draining(),
                     .broken_edges = std::move(broken_edges),
                     .load = DecodeLoad(in.load())};
}

void EncodeView(const SequenceView& view, v1::SequenceAtStage* out) {
  out->set_open(true);
  out->set_epoch(view.life.epoch);
  out->set_round(view.life.round);
  out->set_length(view.length);
  out->set_queued_end(view.queued_end);
  out->set_cursor(view.cursor);
  out->set_journal_begin(view.journal_begin);
  out->set_window_end(view.window_end);
}

void EncodeGeneration(const GenerationConfig& generation, v1::GenerationDefaults* out) {
  out->set_do_sample(generation.do_sample);
  if (generation.temperature) out->set_temperature(*generation.temperature);
  if (generation.top_k) out->set_top_k(*generation.top_k);
  if (generation.top_p) out->set_top_p(*generation.top_p);
  if (generation.min_p) out->set_min_p(*generation.min_p);
  if (generation.typical_p) out->set_typical_p(*generation.typical_p);
  if (generation.repetition_penalty) {
    out->set_repetition_penalty(*generation.repetition_penalty);
  }
  out->mutable_eos_ids()->Assign(generation.eos_ids.begin(), generation.eos_ids.end());
}

GenerationConfig DecodeGeneration(const v1::GenerationDefaults& in) {
  GenerationConfig out;
  out.do_sample = in.do_sample();
  if (in.has_temperature()) out.temperature = in.temperature();
  if (in.has_top_k()) out.top_k = in.top_k();
  if (in.has_top_p()) out.top_p = in.top_p();
  if (in.has_min_p()) out.min_p = in.min_p();
  if (in.has_typical_p()) out.typical_p = in.typical_p();
  if (in.has_repetition_penalty()) out.repetition_penalty = in.repetition_penalty();
  const auto most = static_cast<size_t>(limits::kMaxEosIds);
  for (const int32_t id : in.eos_ids()) {
    if (out.eos_ids.size() < most) out.eos_ids.push_back(id);
  }
  return out;
}

}  // namespace catena
