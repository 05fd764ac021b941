#include "services/telemetry/stage_metrics.h"

namespace catena {
namespace {

constexpr std::chrono::seconds kBubbleWindow{60};
constexpr std::chrono::seconds kSampleEvery{1};

void CollectLoad(const ReplicaLoad& load, Exposition& page) {
  const auto number = [](int64_t n) { return static_cast<double>(n); };
  page.Gauge("catena_stage_sequences", "Open sequences.", number(load.sequences));
  page.Gauge("catena_stage_queued_rows", "Rows that came and are not computed.",
             number(load.queued_rows));
  page.Gauge("catena_stage_oldest_step_seconds",
             "How long the oldest queued or running step has waited; 0 where none does.",
             ToSeconds(Nanoseconds(load.oldest_step_ns)));
  page.Gauge("catena_stage_journal_bytes", "Rows kept to be sent again.",
             number(load.journal_bytes));
  page.Gauge("catena_stage_kv_pages", "Pages of the KV cache; a head has none.",
             number(load.kv_pages));
  page.Gauge("catena_stage_kv_pages_used", "Pages that are promised to sequences.",
             number(load.kv_pages_used));
  page.Gauge("catena_stage_kv_page_bytes", "Bytes of a page.", number(load.kv_page_bytes));
  page.Counter("catena_stage_batches_total", "Batches computed.", number(load.batches));
  page.Counter("catena_stage_rows_total", "Rows computed, replayed ones too.", number(load.rows));
}

}  // namespace

void StageMetrics::CollectAt(Exposition& page, Instant now) {
  const StageSnapshot s = look_();
  const StageCounters& c = s.counters;
  CollectLoad(s.load, page);
  page.Distribution("catena_stage_forward_seconds", "Time of a batch.", c.forward);
  page.Distribution("catena_stage_queue_wait_seconds",
                    "Wait of a sequence's oldest row until its batch began.", c.queue_wait);
  page.Distribution("catena_stage_batch_rows", "Rows of a batch.", c.batch_rows);
  page.Distribution("catena_stage_batch_sequences", "Sequences of a batch.", c.batch_sequences);
  page.Counter("catena_stage_busy_seconds_total", "Time in which a batch ran.",
               ToSeconds(c.clock.busy()));
  page.Counter("catena_stage_bubble_seconds_total",
               "Time in which sequences were open and no batch ran.", ToSeconds(c.clock.idle()));
  page.Gauge("catena_stage_bubble_ratio",
             "Bubbles as a share of bubbles and work, over the last minute.",
             BubbleRatio(c.clock, now));
  page.Counter("catena_stage_replayed_rows_total", "Rows computed again after a loss.",
               static_cast<double>(c.replayed_rows));
  page.Counter("catena_stage_divergences_total",
               "Steps that came twice with other bits: a broken machine or a bug.",
               static_cast<double>(c.row_faults.came_twice));
  page.Counter("catena_stage_corrupt_steps_total",
               "Steps whose rows were not what was sent: a broken link or machine.",
               static_cast<double>(c.row_faults.came_corrupt));
  page.Counter("catena_stage_corrupt_journal_rows_total",
               "Rows that changed while they were kept: broken memory.",
               static_cast<double>(c.row_faults.kept_corrupt));
  page.Gauge("catena_stage_edges_broken", "Next stages that cannot be reached now.",
             static_cast<double>(s.broken_edges));
}

double StageMetrics::BubbleRatio(const BusyClock& clock, Instant now) {
  // The oldest one that stays is as old as the window, or the only one.
  while (samples_.size() > 1 && samples_[1].at + kBubbleWindow <= now) samples_.pop_front();
  const Sample first = samples_.empty() ? Sample{now, {}, {}} : samples_.front();
  if (samples_.empty() || samples_.back().at + kSampleEvery <= now) {
    samples_.push_back({now, clock.busy(), clock.idle()});
  }
  const double idle = ToSeconds(clock.idle() - first.idle);
  const double all = idle + ToSeconds(clock.busy() - first.busy);
  return all > 0 ? idle / all : 0;
}

absl::Status StallCheck::At(Instant now) {
  const ReplicaLoad load = look_();
  if (load.progress != progress_) {
    progress_ = load.progress;
    changed_ = now;
  }
  const Nanoseconds waited(load.oldest_step_ns);
  if (waited < limit_ || now - changed_ < limit_) return absl::OkStatus();
  return absl::UnavailableError(
      fmt::format("work stands still: the oldest step waits since {:.1f} s and nothing was done; "
                  "restart this process",
                  ToSeconds(std::min(waited, now - changed_))));
}

}  // namespace catena
