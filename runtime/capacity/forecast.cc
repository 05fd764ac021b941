#include "runtime/capacity/forecast.h"

#include <algorithm>
#include <cmath>

namespace catena {
namespace {

// Of the time that others of a stage compute, what a batch that comes waits for; and how sharply
// waiting for them turns into waiting for one's turn. Both are fitted to bench/sim.
constexpr double kWaitShare = 0.3, kTurn = 4;
// Trips longer than that are no service.
constexpr double kLongestTrip_s = 3;
// The queue of a stage that is busier with it grows without end, sooner or later.
constexpr double kMostBusy = 0.95;
constexpr double kMaxPromptRows = 512;  // of a batch: also what a hop may have in flight
// Of rows that are no new prompts where there are some (batch_planner.cc).
constexpr double kShareOfReplays = 0.75;

// One stage under a load at which a trip takes so long.
struct StageLoad {
  double batches = 0;      // of decodes, on one replica, to a trip
  double decode_rows = 0;  // of a batch
  double decode_s = 0;     // it takes
  double prompt_rows = 0;  // of a batch of prompts
  double prompt_s = 0;     // it takes
  double per_decode = 0;   // batches of prompts to one of decodes
  double decode_busy = 0, prompt_busy = 0;
  double wait_s = 0;  // of decodes, for others
};

class Arithmetic {
 public:
  Arithmetic(const ServingCluster& cluster, const ServingLoad& load)
      : cluster_(cluster),
        load_(load),
        groups_(static_cast<double>(cluster.shards())),
        in_(static_cast<double>(load.input_tokens)),
        out_(static_cast<double>(load.output_tokens)),
        tokens_per_s_(load.requests_per_s * out_) {}

  // The trip that the load leads to, given that it takes `trip_s`.
  double Trip(double trip_s) const {
    double alone = Head(trip_s).decode_s + Head(trip_s).wait_s + (groups_ + 1) * cluster_.hop_s +
                   GroupRows(trip_s) * groups_ * cluster_.hop_row_s;
    double turns = 0;
    for (size_t i = 0; i < cluster_.shards(); ++i) {
      const StageLoad s = Shard(i, trip_s);
      alone += s.decode_s + s.wait_s;
      turns = std::max(turns, s.batches * (s.decode_s + s.per_decode * s.prompt_s));
    }
    if (groups_ == 1) return alone;
    return std::pow(std::pow(alone, kTurn) + std::pow(turns, kTurn), 1 / kTurn);
  }

  // The trip that leads to itself; nullopt where all lead to longer ones.
  std::optional<double> SteadyTrip() const {
    double low = 0, high = kLongestTrip_s;
    if (Trip(high) > high) return std::nullopt;
    for (int i = 0; i < 50; ++i) {
      const double middle = (low + high) / 2;
      (Trip(middle) > middle ? low : high) = middle;
    }
    return high;
  }

  StageLoad Shard(size_t i, double trip_s) const {
    const ServingStage& stage = cluster_.stages[i];
    StageLoad s;
    s.decode_rows = GroupRows(trip_s);
    s.decode_s = stage.speed.Seconds(s.decode_rows, s.decode_rows * MeanLength());
    // Groups stay apart, also where those of several replicas meet.
    const double batches = tokens_per_s_ / stage.replicas / s.decode_rows;
    s.batches = groups_ * cluster_.stages[0].replicas / stage.replicas;
    const double chunks =
        load_.requests_per_s / stage.replicas * std::ceil(in_ / ChunkRows(i, trip_s) - 1e-9);
    s.per_decode = 1 - std::exp(-chunks / batches);
    s.prompt_rows = std::min(load_.requests_per_s / stage.replicas * in_ / (s.per_decode * batches),
                             kMaxPromptRows);
    s.prompt_s = stage.speed.Seconds(s.prompt_rows, in_ / 2 + s.prompt_rows / 2);
    s.decode_busy = batches * s.decode_s;
    s.prompt_busy = batches * s.per_decode * s.prompt_s;
    // With one group all of it is away while prompts run.
    const double others = s.decode_busy * (groups_ - 1) / groups_ * s.decode_s;
    s.wait_s = groups_ == 1 ? s.per_decode * s.prompt_s
                            : kWaitShare * (others + s.prompt_busy * s.prompt_s);
    return s;
  }

  // It takes all that is there, whichever group it is of: what comes while a batch runs.
  StageLoad Head(double trip_s) const {
    const ServingStage& head = cluster_.stages.back();
    const double rows_per_s = tokens_per_s_ / head.replicas;
    StageLoad s;
    s.decode_rows = GroupRows(trip_s);
    for (int i = 0; i < 20; ++i) {
      s.decode_rows = std::max(s.decode_rows, rows_per_s * HeadSeconds(s.decode_rows));
    }
    s.decode_s = HeadSeconds(s.decode_rows);
    s.decode_busy = rows_per_s / s.decode_rows * s.decode_s;
    s.wait_s = s.decode_busy * s.decode_s / 2;
    return s;
  }
  double HeadSeconds(double rows) const {
    const ServingStage& head = cluster_.stages.back();
    const auto most = static_cast<double>(head.max_rows);
    const double full = std::floor(rows / most);
    return full * head.speed.Seconds(most, 0) + head.speed.Seconds(rows - full * most, 0);
  }

  // Rows of a prompt that run together: what takes about as long as the decodes beside them
  // (prefill_budget.h).
  double ChunkRows(size_t i, double trip_s) const {
    const StageSpeed& speed = cluster_.stages[i].speed;
    const double decodes = GroupRows(trip_s), context = decodes * MeanLength();
    const double rows = std::min(in_, kMaxPromptRows);
    const double alone = speed.Seconds(decodes, context);
    const double more = std::max(speed.Seconds(decodes + rows, context) - alone,
                                 speed.Seconds(decodes + rows, 0) / 4);
    return std::min(in_, std::clamp(alone / (more / rows), 16.0, kMaxPromptRows));
  }

  // How busy the first shard is with prompts, where they fill its batches.
  double PromptsBusy(double trip_s) const {
    const double per_s = load_.requests_per_s / cluster_.stages[0].replicas * in_ / kMaxPromptRows;
    return per_s * FullBatch(0, trip_s);
  }
  double FullBatch(size_t i, double trip_s) const {
    const double decodes = GroupRows(trip_s);
    return cluster_.stages[i].speed.Seconds(decodes + kMaxPromptRows, decodes * MeanLength());
  }

  // Of a replica's KV cache that so many sequences of the cluster take, at their longest.
  double KvShare(size_t i, double sequences) const {
    const ServingStage& stage = cluster_.stages[i];
    if (stage.kv_positions == 0) return 0;
    return sequences / stage.replicas * (in_ + out_) / static_cast<double>(stage.kv_positions);
  }

  double GroupRows(double trip_s) const {
    return std::max(1.0, tokens_per_s_ * trip_s / cluster_.stages[0].replicas / groups_);
  }
  double MeanLength() const { return in_ + out_ / 2; }
  double tokens_per_s() const { return tokens_per_s_; }

  // Before the first token: opened, read chunk by chunk, stage by stage, sampled.
  void FirstToken(double trip_s, Forecast* f) const {
    const StageLoad first = Shard(0, trip_s), head = Head(trip_s);
    const double chunk = ChunkRows(0, trip_s);
    const double chunks = std::ceil(in_ / chunk - 1e-9);
    double s =
        (5 + groups_) * cluster_.hop_s + head.decode_s + groups_ * chunk * cluster_.hop_row_s;
    for (size_t i = 0; i < cluster_.shards(); ++i) {
      const StageLoad load = Shard(i, trip_s);
      const double own = cluster_.stages[i].speed.Seconds(chunk, in_ / 2);
      s += own + load.decode_busy * load.decode_s / 2;
      if (i == 0) s += (chunks - 1) * (own + load.decode_busy * load.decode_s);
    }
    const double busy = std::max(PromptsBusy(trip_s), 1e-3);
    const double service = chunks * FullBatch(0, trip_s) * chunk / kMaxPromptRows;
    const double wait = busy / (2 * (1 - busy)) * service;
    f->first_token_s = s + wait;
    // The waits of an M/D/1 queue fall off exponentially.
    const double tail = std::max(0.0, std::log(100 * busy)) / busy - 1;
    f->first_token_p99_s = f->first_token_s + 1.5 * first.decode_s + wait * std::max(0.0, tail);
  }

  void Token(double trip_s, Forecast* f) const {
    constexpr double kPromptsMet = 1.6;
    f->token_s = trip_s;
    f->token_p99_s = trip_s + kPromptsMet * std::sqrt(groups_) * Shard(0, trip_s).prompt_s;
    f->tokens_per_s = tokens_per_s_;
    f->sequences = tokens_per_s_ * trip_s + load_.requests_per_s * f->first_token_s;
  }

  StageForecast Stage(size_t i, double trip_s, double sequences) const {
    const StageLoad s = i < cluster_.shards() ? Shard(i, trip_s) : Head(trip_s);
    StageForecast f{
        .decode_rows = s.decode_rows, .batch_s = s.decode_s, .busy = s.decode_busy + s.prompt_busy};
    f.kv_share = KvShare(i, sequences);
    return f;
  }

 private:
  const ServingCluster& cluster_;
  const ServingLoad& load_;
  const double groups_, in_, out_, tokens_per_s_;
};

// What of a cluster such a load is too much for.
std::optional<Bound> BoundOf(const ServingCluster& cluster, const Arithmetic& a,
                             std::optional<double> trip_s) {
  const ServingStage& head = cluster.stages.back();
  const auto rows = static_cast<double>(head.max_rows);
  if (a.tokens_per_s() / head.replicas * head.speed.Seconds(rows, 0) >= kMostBusy * rows) {
    return Bound::kHeads;
  }
  if (!trip_s) return Bound::kTrips;
  const double sequences = a.tokens_per_s() * *trip_s;
  for (size_t i = 0; i < cluster.shards(); ++i) {
    if (a.KvShare(i, sequences) > 1) return Bound::kKvCache;
  }
  if (a.PromptsBusy(*trip_s) > kMostBusy) return Bound::kPrompts;
  if (a.GroupRows(*trip_s) > static_cast<double>(cluster.stages[0].max_rows)) return Bound::kRows;
  return std::nullopt;
}

}  // namespace

std::string_view NameOf(Bound bound) {
  switch (bound) {
    case Bound::kTrips:
      return "the shards: a token would take longer and longer";
    case Bound::kPrompts:
      return "the shards: prompts would come faster than they are read";
    case Bound::kRows:
      return "the rows of a batch of the shards (--batch)";
    case Bound::kKvCache:
      return "the KV caches";
    case Bound::kHeads:
      return "the heads";
  }
  return "";
}

std::optional<Forecast> ForecastOf(const ServingCluster& cluster, const ServingLoad& load,
                                   Bound* bound) {
  const Arithmetic a(cluster, load);
  const std::optional<double> trip_s = a.SteadyTrip();
  if (const std::optional<Bound> exceeded = BoundOf(cluster, a, trip_s)) {
    if (bound != nullptr) *bound = *exceeded;
    return std::nullopt;
  }
  Forecast f;
  a.FirstToken(*trip_s, &f);
  a.Token(*trip_s, &f);
  for (size_t i = 0; i < cluster.stages.size(); ++i) {
    f.stages.push_back(a.Stage(i, *trip_s, f.sequences));
  }
  return f;
}

double MostRequests(const ServingCluster& cluster, const ServingLoad& load, Bound* bound) {
  constexpr double kLeast = 1e-4, kMost = 1e7;
  ServingLoad at = load;
  const auto carries = [&](double requests_per_s) {
    at.requests_per_s = requests_per_s;
    return ForecastOf(cluster, at, bound).has_value();
  };
  double low = 1;
  while (low > kLeast && !carries(low)) low /= 2;
  if (low <= kLeast) return 0;
  double high = 2 * low;
  while (high < kMost && carries(high)) high *= 2;
  low = high / 2;
  for (int i = 0; i < 20; ++i) {
    const double middle = (low + high) / 2;
    (carries(middle) ? low : high) = middle;
  }
  return low;
}

std::optional<LossForecast> ForecastLoss(const ServingCluster& cluster, const ServingLoad& load,
                                         size_t stage, int lost) {
  ServingCluster left = cluster;
  left.stages[stage].replicas -= lost;
  if (left.stages[stage].replicas < 1) return std::nullopt;
  const std::optional<Forecast> before = ForecastOf(cluster, load);
  const Arithmetic a(cluster, load);
  LossForecast f{.most_requests = MostRequests(left, load)};
  f.sequences = before->sequences * lost / cluster.stages[stage].replicas;
  const bool is_head = stage == cluster.shards();
  const double rows = is_head ? 1 : a.MeanLength();
  f.replayed_rows = f.sequences * rows;
  // Opened anew, told to go on, and then their turn comes behind others'.
  const double base = 4 * cluster.hop_s + before->token_s;
  const double each = is_head ? 0 : a.FullBatch(stage, before->token_s) / kMaxPromptRows;
  const double busy = is_head ? 0 : std::min(a.PromptsBusy(before->token_s), 0.9);
  const double all =
      f.replayed_rows / left.stages[stage].replicas * each / kShareOfReplays / (1 - busy);
  f.pause_mean_s = base + std::max(all / 2, std::min(all, rows * each));
  f.pause_most_s = base + std::max(all, rows * each);
  return f;
}

}  // namespace catena
