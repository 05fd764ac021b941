#include "services/cli/status_view.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include <fmt/ranges.h>

#include "services/cli/output.h"
#include "services/cli/terminal.h"

namespace catena::cli {
namespace {

using nlohmann::ordered_json;
using v1::ReplicaDescription;
using v1::ReplicaStatus;

constexpr int kUseCells = 8;
constexpr double kNsPerMs = 1e6;

const char* RoleName(v1::Role role) {
  switch (role) {
    case v1::ROLE_GATEWAY:
      return "gateway";
    case v1::ROLE_TOKENIZER:
      return "tokenizer";
    case v1::ROLE_SHARD:
      return "shard";
    case v1::ROLE_HEAD:
      return "head";
    default:
      return "unknown";
  }
}

const char* StateName(v1::SequenceState state) {
  switch (state) {
    case v1::SEQUENCE_STATE_WAITING:
      return "waiting";
    case v1::SEQUENCE_STATE_OPENING:
      return "opening";
    case v1::SEQUENCE_STATE_RUNNING:
      return "running";
    case v1::SEQUENCE_STATE_MOVING:
      return "moving";
    case v1::SEQUENCE_STATE_STRANDED:
      return "stranded";
    default:
      return "unknown";
  }
}

std::vector<std::string> Route(const v1::RunningSequence& s) {
  return {s.route().begin(), s.route().end()};
}

std::string Seconds(int64_t ns) { return fmt::format("{:.1f} s", static_cast<double>(ns) / 1e9); }

const char* HealthName(const ReplicaStatus& s) {
  switch (s.health()) {
    case v1::REPLICA_HEALTH_SERVING:
      return s.replica().draining() ? "draining" : "serving";
    case v1::REPLICA_HEALTH_UNREACHABLE:
      return "unreachable";
    case v1::REPLICA_HEALTH_REFUSED:
      return "refused";
    default:
      return "unknown";
  }
}

// A shard's blocks with the last one, as users count: "0-7".
std::string Layers(int begin, int end) {
  return end > begin ? fmt::format("{}-{}", begin, end - 1) : "";
}

std::string StageName(v1::Role role, int begin, int end) {
  const std::string layers = Layers(begin, end);
  return layers.empty() ? RoleName(role) : fmt::format("{} {}", RoleName(role), layers);
}

// The gateway and all it knows, in the order of data.
std::vector<ReplicaStatus> InOrder(const v1::GetStatusResponse& status,
                                   const std::string& address) {
  ReplicaStatus gateway;
  *gateway.mutable_replica() = status.gateway();
  gateway.mutable_replica()->set_role(v1::ROLE_GATEWAY);
  gateway.mutable_replica()->set_address(address);
  gateway.set_health(v1::REPLICA_HEALTH_SERVING);
  std::vector<ReplicaStatus> all = {gateway};
  all.insert(all.end(), status.replicas().begin(), status.replicas().end());
  auto key = [](const ReplicaStatus& s) {
    const ReplicaDescription& r = s.replica();
    const int role = r.role() == v1::ROLE_UNSPECIFIED ? v1::Role_MAX + 1 : r.role();
    return std::make_tuple(role, r.layer_begin(), r.layer_end(), r.address());
  };
  std::stable_sort(all.begin(), all.end(),
                   [&](const ReplicaStatus& a, const ReplicaStatus& b) { return key(a) < key(b); });
  return all;
}

// Rows of cells as columns: each as wide as its widest, two spaces between.
using TableRow = std::vector<std::string>;

int Width(std::string_view text) {  // of what we print: no wide or combining characters
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string Columns(const std::vector<TableRow>& rows, const std::vector<bool>& to_the_right) {
  std::vector<int> widths(to_the_right.size(), 0);
  for (const TableRow& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], Width(row[c]));
  }
  std::string text;
  for (const TableRow& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - Width(row[c]), ' ');
      line += (c == 0 ? "" : "  ") + (to_the_right[c] ? space + row[c] : row[c] + space);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string KvUse(const v1::ReplicaLoad& load) {
  if (load.kv_pages() == 0) return "";
  const double share =
      static_cast<double>(load.kv_pages_used()) / static_cast<double>(load.kv_pages());
  return fmt::format("{} {:3.0f} % of {}", Bar(share, kUseCells), share * 100,
                     HumanBytes(load.kv_pages() * load.kv_page_bytes()));
}

TableRow ReplicaRow(const ReplicaStatus& s) {
  const ReplicaDescription& r = s.replica();
  const bool serving = s.health() == v1::REPLICA_HEALTH_SERVING;
  const bool holds_sequences = serving && (r.role() == v1::ROLE_SHARD || r.role() == v1::ROLE_HEAD);
  auto when = [&](bool condition, const std::string& text) { return condition ? text : ""; };
  return {StageName(r.role(), r.layer_begin(), r.layer_end()),
          r.address(),
          HealthName(s),
          when(serving, KvUse(r.load())),
          when(holds_sequences, fmt::format("{}", r.load().sequences())),
          when(holds_sequences, fmt::format("{}", r.load().queued_rows())),
          when(holds_sequences,
               fmt::format("{:.0f} ms", static_cast<double>(r.load().oldest_step_ns()) / kNsPerMs)),
          r.version()};
}

// What failures and drains have cost texts.
std::string MovesLine(const v1::GetStatusResponse& status) {
  if (status.moves() == 0) return "";
  return fmt::format(
      "\n{} moves to other replicas: {} positions computed again, longest pause "
      "{:.2f} s\n",
      status.moves(), status.replayed_tokens(),
      static_cast<double>(status.longest_pause_ns()) / 1e9);
}

ordered_json OrNull(const std::string& text) {
  return text.empty() ? ordered_json() : ordered_json(text);
}

ordered_json LoadJson(const v1::ReplicaLoad& l) {
  return {{"sequences", l.sequences()},
          {"queued_rows", l.queued_rows()},
          {"kv_pages", l.kv_pages()},
          {"kv_pages_used", l.kv_pages_used()},
          {"kv_page_bytes", l.kv_page_bytes()},
          {"journal_bytes", l.journal_bytes()},
          {"batches", l.batches()},
          {"rows", l.rows()},
          {"oldest_step_ns", l.oldest_step_ns()},
          {"divergences", l.divergences()},
          {"corrupt", l.corrupt()}};
}

ordered_json ReplicaJson(const ReplicaStatus& s) {
  const ReplicaDescription& r = s.replica();
  return {{"role", RoleName(r.role())},
          {"layers", OrNull(Layers(r.layer_begin(), r.layer_end()))},
          {"address", r.address()},
          {"pid", r.pid()},
          {"metrics", OrNull(r.metrics())},
          {"host", r.host()},
          {"health", HealthName(s)},
          {"problem", OrNull(s.problem())},
          {"version", r.version()},
          // As text: JSON readers keep 53 bits of a number.
          {"incarnation", fmt::format("{:016x}", r.incarnation())},
          {"model", OrNull(r.model().name())},
          {"fingerprint", OrNull(r.model().fingerprint())},
          {"numerics_id", OrNull(r.numerics_id())},
          {"load", LoadJson(r.load())}};
}

}  // namespace

std::string StageName(const ReplicaDescription& replica) {
  return StageName(replica.role(), replica.layer_begin(), replica.layer_end());
}

std::string LeftText(const v1::DrainResponse& drain) {
  const char* of = drain.replica().role() == v1::ROLE_GATEWAY     ? "call"
                   : drain.replica().role() == v1::ROLE_TOKENIZER ? "text"
                                                                  : "sequence";
  return fmt::format("{} {}{}", drain.left(), of, drain.left() == 1 ? "" : "s");
}

std::string DrainLine(const v1::DrainResponse& drain) {
  return fmt::format("{} at {} {} with {} left\n", StageName(drain.replica()),
                     drain.replica().address(), drain.ended() ? "ends" : "drains", LeftText(drain));
}

ordered_json DrainJson(const v1::DrainResponse& drain) {
  const ReplicaDescription& r = drain.replica();
  return {{"role", RoleName(r.role())}, {"layers", OrNull(Layers(r.layer_begin(), r.layer_end()))},
          {"address", r.address()},     {"pid", r.pid()},
          {"left", drain.left()},       {"ended", drain.ended()}};
}

std::optional<std::string> WhyNotReady(const v1::GetStatusResponse& status) {
  if (status.ready()) return std::nullopt;
  return status.problem().empty() ? "the gateway does not say why" : status.problem();
}

std::string StatusTable(const v1::GetStatusResponse& status, const std::string& address) {
  const std::vector<ReplicaStatus> all = InOrder(status, address);
  std::vector<TableRow> rows = {
      {"stage", "replica", "health", "KV cache", "sequences", "queued", "oldest", "version"}};
  std::string problems;
  for (const ReplicaStatus& s : all) {
    rows.push_back(ReplicaRow(s));
    const ReplicaDescription& r = s.replica();
    const std::string name =
        fmt::format("{} at {}", StageName(r.role(), r.layer_begin(), r.layer_end()), r.address());
    if (!s.problem().empty()) problems += fmt::format("! {}: {}\n", name, s.problem());
    if (r.load().divergences() > 0) {
      problems +=
          fmt::format("! {}: {} rows came twice with other bits\n", name, r.load().divergences());
    }
    if (r.load().corrupt() > 0) {
      problems += fmt::format("! {}: {} times rows were not what was sent or kept\n", name,
                              r.load().corrupt());
    }
  }
  const auto why_not = WhyNotReady(status);
  std::string title = why_not ? "NOT READY: " + *why_not : "ready";
  // A shard's: the gateway has no model of its own.
  const auto shard = std::find_if(all.begin(), all.end(), [](const ReplicaStatus& s) {
    return s.replica().role() == v1::ROLE_SHARD && !s.replica().model().name().empty();
  });
  if (shard != all.end()) {
    const v1::ModelDescription& model = shard->replica().model();
    title += fmt::format(" · {}, {} blocks", model.name(), model.n_layers());
  }
  title += fmt::format(" · {} running, {} waiting", status.requests_running(),
                       status.requests_waiting());
  return fmt::format("{}\n\n{}{}{}{}", title,
                     Columns(rows, {false, false, false, false, true, true, true, false}),
                     MovesLine(status), problems.empty() ? "" : "\n", problems);
}

ordered_json StatusJson(const v1::GetStatusResponse& status, const std::string& address) {
  ordered_json processes = ordered_json::array();
  for (const ReplicaStatus& s : InOrder(status, address)) processes.push_back(ReplicaJson(s));
  return {{"gateway", address},
          {"ready", status.ready()},
          {"problem", OrNull(WhyNotReady(status).value_or(""))},
          {"requests_running", status.requests_running()},
          {"requests_waiting", status.requests_waiting()},
          {"moves", status.moves()},
          {"replayed_tokens", status.replayed_tokens()},
          {"longest_pause_ns", status.longest_pause_ns()},
          {"processes", processes}};
}

std::string RunningTable(const v1::ListSequencesResponse& running) {
  std::vector<TableRow> rows = {
      {"sequence", "state", "age", "nothing done for", "prompt", "output", "route"}};
  for (const v1::RunningSequence& s : running.sequences()) {
    rows.push_back({s.sequence_id(), StateName(s.state()), Seconds(s.age_ns()),
                    Seconds(s.since_progress_ns()), fmt::format("{}", s.prompt_tokens()),
                    fmt::format("{}", s.output_tokens()),
                    fmt::format("{}", fmt::join(Route(s), " → "))});
  }
  const int64_t more = running.total() - running.sequences_size();
  return fmt::format("{}{}", Columns(rows, {false, false, true, true, true, true, false}),
                     more > 0 ? fmt::format("and {} more\n", more) : "");
}

ordered_json RunningJson(const v1::ListSequencesResponse& running) {
  ordered_json sequences = ordered_json::array();
  for (const v1::RunningSequence& s : running.sequences()) {
    sequences.push_back({{"sequence_id", s.sequence_id()},
                         {"state", StateName(s.state())},
                         {"age_ns", s.age_ns()},
                         {"since_progress_ns", s.since_progress_ns()},
                         {"prompt_tokens", s.prompt_tokens()},
                         {"output_tokens", s.output_tokens()},
                         {"route", Route(s)}});
  }
  return {{"total", running.total()}, {"sequences", sequences}};
}

std::string SequenceTable(const v1::DebugSequenceResponse& sequence) {
  std::vector<TableRow> rows = {{"stage", "replica", "state", "epoch", "round", "received",
                                 "computed", "sent on", "kept", "may send to"}};
  for (const v1::SequenceAtStage& s : sequence.stages()) {
    TableRow row = {StageName(s.role(), s.layer_begin(), s.layer_end()), s.address(),
                    s.open() ? "open" : "not open"};
    if (s.open()) {
      for (const int64_t n : {int64_t{s.epoch()}, int64_t{s.round()}, s.queued_end(), s.length()}) {
        row.push_back(fmt::format("{}", n));
      }
      const bool sends = s.role() == v1::ROLE_SHARD;
      row.push_back(sends ? fmt::format("{}", s.cursor()) : "");
      row.push_back(sends ? fmt::format("{}-{}", s.journal_begin(), s.length()) : "");
      row.push_back(sends ? fmt::format("{}", s.window_end()) : "");
    }
    rows.push_back(row);
  }
  return Columns(rows, {false, false, false, true, true, true, true, true, true, true});
}

ordered_json SequenceJson(const v1::DebugSequenceResponse& sequence) {
  ordered_json stages = ordered_json::array();
  for (const v1::SequenceAtStage& s : sequence.stages()) {
    stages.push_back({{"role", RoleName(s.role())},
                      {"layers", OrNull(Layers(s.layer_begin(), s.layer_end()))},
                      {"address", s.address()},
                      {"open", s.open()},
                      {"epoch", s.epoch()},
                      {"round", s.round()},
                      {"length", s.length()},
                      {"queued_end", s.queued_end()},
                      {"cursor", s.cursor()},
                      {"journal_begin", s.journal_begin()},
                      {"window_end", s.window_end()}});
  }
  return {{"stages", stages}};
}

}  // namespace catena::cli
