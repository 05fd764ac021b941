// The figures of docs/CAPACITY.md, as CSV but for the first:
//
//   sim_bench compare  what the arithmetic of runtime/capacity says, and what the cores do
//   sim_bench load     latencies as the load of one cluster grows
//   sim_bench grow     latencies as the cluster grows with its load
//   sim_bench loss     pauses where replicas are lost
//   sim_bench gateway  what the gateway's core costs: no simulation, time of a CPU
#include <map>
#include <string>

#include "bench/sim/cases.h"
#include "bench/sim/gateway_load.h"
#include <fmt/format.h>

namespace catena::sim {
namespace {

void CompareAll() {
  fmt::print("{:<30}{:>8}{:>22}{:>24}{:>22}{:>24}\n", "", "req/s", "first token ms", "p99 ms",
             "each token ms", "p99 ms");
  for (const Case& c : Cases()) {
    const Comparison r = Compare(c);
    const auto both = [](double said, double was) {
      return fmt::format("{:.1f} / {:.1f} ({:+.0f}%)", said * 1e3, was * 1e3,
                         100 * (said / was - 1));
    };
    const Forecast& f = *r.forecast;
    const Measured& m = r.measured;
    fmt::print("{:<30}{:>8.1f}{:>22}{:>24}{:>22}{:>24}  {}\n", c.name, r.load.requests_per_s,
               both(f.first_token_s, m.first_token.mean),
               both(f.first_token_p99_s, m.first_token.p99), both(f.token_s, m.token.mean),
               both(f.token_p99_s, m.token.p99), m.problem);
  }
}

void PrintHeader(const char* first) {
  fmt::print(
      "{},requests_per_s,said_first_ms,first_ms,said_first_p99_ms,first_p99_ms,said_token_ms,"
      "token_ms,said_token_p99_ms,token_p99_ms,tokens_per_s,messages_per_token,links,problem\n",
      first);
}

void PrintRow(const std::string& first, const Comparison& r) {
  const Forecast f = r.forecast.value_or(Forecast{});
  const Measured& m = r.measured;
  const double tokens = static_cast<double>(m.requests) * static_cast<double>(r.load.output_tokens);
  fmt::print(
      "{},{:.1f},{:.2f},{:.2f},{:.2f},{:.2f},{:.2f},{:.2f},{:.2f},{:.2f},{:.0f},{:.2f},{:.1f},{}\n",
      first, r.load.requests_per_s, f.first_token_s * 1e3, m.first_token.mean * 1e3,
      f.first_token_p99_s * 1e3, m.first_token.p99 * 1e3, f.token_s * 1e3, m.token.mean * 1e3,
      f.token_p99_s * 1e3, m.token.p99 * 1e3, m.tokens_per_s,
      static_cast<double>(m.messages) / tokens, m.links, m.problem);
}

void Load() {
  PrintHeader("share");
  Case c{.name = "", .model = Llama8B(), .gpu = "h100", .gpus = 10, .shards = 4};
  for (const double share : {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}) {
    c.share = share;
    PrintRow(fmt::format("{}", share), Compare(c));
  }
}

void Grow() {
  PrintHeader("gpus,gateways");
  for (const int gpus : {10, 30, 100, 300, 1000}) {
    for (const int gateways : {1, 3, 10}) {
      const Case c{.name = "",
                   .model = Llama8B(),
                   .gpu = "h100",
                   .gpus = gpus,
                   .shards = 4,
                   .share = 0.2,
                   .input = 300,
                   .output = 50,
                   .gateways = gateways};
      PrintRow(fmt::format("{},{}", gpus, gateways), Compare(c));
    }
  }
}

void Loss() {
  fmt::print(
      "replicas,lost,said_sequences,moves,said_rows,rows,said_mean_ms,mean_ms,said_most_ms,most_ms,"
      "problem\n");
  for (const int lost : {1, 2, 4}) {
    Case c{.name = "", .model = Llama8B(), .gpu = "h100", .gpus = 36, .shards = 4, .share = 0.3};
    c.lost = lost;
    const Comparison r = Compare(c);
    const LossForecast l = r.loss.value_or(LossForecast{});
    const Measured& m = r.measured;
    fmt::print("{},{},{:.0f},{},{:.0f},{:.0f},{:.1f},{:.1f},{:.1f},{:.1f},{}\n", r.replicas, lost,
               l.sequences, m.moves, l.replayed_rows, m.replayed_rows, l.pause_mean_s * 1e3,
               m.pause.mean * 1e3, l.pause_most_s * 1e3, m.pause.most * 1e3, m.problem);
  }
}

void Gateway() {
  fmt::print("replicas,gateways,sequences,token_ns,request_us,discovery_ms,heartbeat_ms\n");
  for (const int replicas : {10, 100, 1000}) {
    for (const int sequences : {16, 64, 256, 1024, 4096}) {
      for (const int gateways : {1, 10}) {
        const GatewayCost cost =
            MeasureGateway({.replicas = replicas, .sequences = sequences, .gateways = gateways});
        fmt::print("{},{},{},{:.0f},{:.1f},{:.2f},{:.2f}\n", replicas, gateways, sequences,
                   cost.token, cost.request * 1e-3, cost.discovery * 1e-6, cost.heartbeat * 1e-6);
      }
    }
  }
}

}  // namespace
}  // namespace catena::sim

int main(int argc, char** argv) {
  namespace sim = catena::sim;
  const std::map<std::string, void (*)()> figures = {{"compare", sim::CompareAll},
                                                     {"load", sim::Load},
                                                     {"grow", sim::Grow},
                                                     {"loss", sim::Loss},
                                                     {"gateway", sim::Gateway}};
  const auto figure = figures.find(argc == 2 ? argv[1] : "");
  if (figure == figures.end()) {
    fmt::print(stderr, "usage: sim_bench compare|load|grow|loss|gateway\n");
    return 2;
  }
  figure->second();
  return 0;
}
