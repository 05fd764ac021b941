#include "services/cli/bench_serve.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "services/cli/gateway_options.h"
#include "services/cli/interrupt.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"
#include "services/load/client.h"
#include "services/load/fairness.h"
#include "services/load/report.h"

namespace catena::cli {
namespace {

using load::Clock;
using std::chrono::milliseconds;

constexpr milliseconds kModelsBound{5000};
constexpr milliseconds kSlice{100};  // how long an interrupt may go unseen

struct ServeOptions {
  GatewayOptions gateway;
  load::MixOptions mix;
  double rate = 0;  // requests a second; 0: closed loop
  int concurrency = 8;
  int64_t requests = 0;  // 0: no bound
  double duration_s = 0;
  int long_prompts = 0;  // 0: no fairness run
  int long_prompt_tokens = 2048;
  bool json = false;
};

absl::StatusOr<v1::Model> AskModel(const ServeOptions& o,
                                   const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = v1::GenerationService::NewStub(channel);
  grpc::ClientContext context;
  o.gateway.Prepare(kModelsBound, &context);
  v1::ListModelsResponse response;
  CATENA_RETURN_IF_ERROR(o.gateway.ToStatus(stub->ListModels(&context, {}, &response)));
  if (response.models().empty() || response.models(0).vocab_size() < 1 ||
      response.models(0).context_length() < 2) {
    return absl::FailedPreconditionError("the gateway serves no model that text can be asked of");
  }
  return response.models(0);
}

// Sends requests, at a rate or as others finish, until there were enough or the time is over, and
// waits for those that run.
class Load {
 public:
  Load(const ServeOptions& o, load::LoadClient* client, load::Report* report)
      : o_(o), mix_(o.mix), client_(*client), report_(*report), bar_("Asking") {}

  double Run() {  // how many seconds it took
    const Clock::time_point start = Clock::now();
    next_ = start;
    end_ = o_.duration_s > 0 ? start + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(o_.duration_s))
                             : Clock::time_point::max();
    while (MoreToSend() || client_.running() > 0) {
      if (InterruptFlag()) client_.CancelAll();
      if (MoreToSend() && Due()) {
        Send();
        continue;
      }
      const Clock::time_point slice = Clock::now() + kSlice;
      const bool paced = MoreToSend() && o_.rate > 0;
      if (auto result = client_.Wait(paced ? std::min(next_, slice) : slice)) {
        report_.Add(std::move(*result));
        bar_.Show(Done(start));
      }
    }
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

 private:
  bool MoreToSend() const {
    return !InterruptFlag() && Clock::now() < end_ && (o_.requests == 0 || sent_ < o_.requests);
  }
  bool Due() const {
    return o_.rate > 0 ? Clock::now() >= next_ : client_.running() < o_.concurrency;
  }
  void Send() {
    client_.Start(mix_.Next());
    ++sent_;
    if (o_.rate > 0) next_ += mix_.Gap(o_.rate);
  }
  double Done(Clock::time_point start) const {
    const double by_count = o_.requests == 0 ? 0
                                             : static_cast<double>(sent_ - client_.running()) /
                                                   static_cast<double>(o_.requests);
    const std::chrono::duration<double> passed = Clock::now() - start;
    const double by_time = o_.duration_s > 0 ? passed.count() / o_.duration_s : 0;
    return std::clamp(std::max(by_count, by_time), 0.0, 1.0);
  }

  const ServeOptions& o_;
  load::Mix mix_;
  load::LoadClient& client_;
  load::Report& report_;
  ProgressBar bar_;
  int64_t sent_ = 0;
  Clock::time_point next_, end_;
};

absl::Status RunLoad(const ServeOptions& o, const std::shared_ptr<grpc::Channel>& channel) {
  load::Report report;
  load::LoadClient client(channel, o.gateway.Authorization());
  const double seconds = Load(o, &client, &report).Run();
  CATENA_RETURN_IF_ERROR(o.json ? WriteJson(report.Json(seconds)) : Write(report.Table(seconds)));
  if (InterruptFlag()) return absl::CancelledError("interrupted");
  return report.Verdict();
}

absl::Status RunFairness(const ServeOptions& o, const std::shared_ptr<grpc::Channel>& channel) {
  load::LoadClient client(channel, o.gateway.Authorization());
  CATENA_ASSIGN_OR_RETURN(const load::Fairness f,
                          load::MeasureFairness({.mix = o.mix,
                                                 .streams = o.concurrency,
                                                 .long_prompts = o.long_prompts,
                                                 .long_prompt_tokens = o.long_prompt_tokens,
                                                 .interrupted = &InterruptFlag()},
                                                &client));
  return o.json ? WriteJson(FairnessJson(f)) : Write(FairnessTable(f));
}

absl::Status RunServe(ServeOptions& o) {
  if (o.requests == 0 && o.duration_s == 0) o.requests = 100;
  CATENA_ASSIGN_OR_RETURN(const auto channel, o.gateway.Connect());
  CATENA_ASSIGN_OR_RETURN(const v1::Model model, AskModel(o, channel));
  o.mix.vocab_size = model.vocab_size();
  o.mix.context_length = model.context_length();
  return o.long_prompts > 0 ? RunFairness(o, channel) : RunLoad(o, channel);
}

void DeclareMix(App& app, load::MixOptions* mix) {
  const char* group = "Requests";
  auto add = [&](const char* name, auto& target, const char* help) {
    return app.AddOption(name, &target, help).Group(group).ShowDefault();
  };
  add("--seed", mix->seed, "The same seed gives the same requests");
  add("--prompt-tokens", mix->prompt_median, "Median length of prompts").Positive();
  add("--max-prompt-tokens", mix->max_prompt, "Longest prompt").Positive();
  add("--output-tokens", mix->output_median, "Median length of answers").Positive();
  add("--max-output-tokens", mix->max_output, "Longest answer").Positive();
  add("--cancel-share", mix->cancel_share, "Of requests, given up by the client on the way")
      .Share();
  add("--deadline-share", mix->deadline_share, "Of requests, with a deadline of 5 ms to 5 s")
      .Share();
}

}  // namespace

Action DeclareBenchServe(App& app) {
  auto o = std::make_shared<ServeOptions>();
  o->gateway.Declare(app).Required();
  const Option rate =
      app.AddOption("--rate", &o->rate, "Requests a second, as they come (Poisson)").Positive();
  app.AddOption("--concurrency", &o->concurrency,
                "Without --rate: clients, each of which asks again once it has its answer "
                "(default 8)")
      .Range(1, 4096)
      .Excludes(rate);
  app.AddOption("--requests", &o->requests, "Requests in all (default 100 without --duration)")
      .Positive();
  app.AddOption("--duration", &o->duration_s, "Seconds in which requests are sent").Positive();
  app.AddOption("--long-prompts", &o->long_prompts,
                "Instead: how evenly --concurrency streams go on while so many long prompts come")
      .Positive()
      .Excludes(rate);
  app.AddOption("--long-prompt-tokens", &o->long_prompt_tokens, "Length of those (default 2048)")
      .Positive();
  app.AddFlag("--json", &o->json, "One JSON object");
  DeclareMix(app, &o->mix);
  return [o] { return RunServe(*o); };
}

}  // namespace catena::cli
