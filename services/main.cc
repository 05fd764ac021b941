// The `catena` command: parses the flags of one subcommand, runs it, and turns its status into one
// line on stderr and the exit status.
#include <cstdlib>
#include <exception>
#include <new>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "services/cli/command.h"
#include "services/cli/interrupt.h"
#include "services/common/log.h"

namespace catena::cli {
namespace {

constexpr Command kCommands[] = {
    {"generate", "Go on from a prompt", DeclareGenerate},
    {"chat", "Talk with the model", DeclareChat},
    {"up", "Run a cluster on this machine", DeclareUp},
    {"status", "Show a cluster: its replicas, their load, what is missing", DeclareStatus},
    {"debug", "Show one sequence as each stage of a cluster holds it", DeclareDebug},
    {"look", "See a text as the model does: tokens, and what it expects next", DeclareLook},
    {"inspect", "Show a model's structure and sizes", DeclareInspect},
    {"plan", "Cut a model into stages of equal weight", DeclarePlan},
    {"tokenize", "Turn text into ids and back, JSON lines on stdin", DeclareTokenize},
    {"logits", "Print the logits of every position as JSON lines", DeclareLogits},
    {"perplexity", "Measure the perplexity of a file of token ids", DeclarePerplexity},
    {"bench", "Measure speed", DeclareBench},
    {"gateway", "Role: the public API in front of a cluster", DeclareGateway},
    {"tokenizer", "Role: text to ids and back", DeclareTokenizer},
    {"shard", "Role: decoder blocks and their KV cache", DeclareShard},
    {"head", "Role: the LM head and the sampler", DeclareHead},
};

constexpr int kUsageStatus = 2;

int Fail(const absl::Status& status) {
  if (absl::IsCancelled(status)) return kInterruptedStatus;
  fmt::print(stderr, "catena: {}\n", Message(status));
  return absl::IsInvalidArgument(status) ? kUsageStatus : 1;
}

// CLI11's own text goes over several lines; errors of ours are one. `first`: argv[1].
int ReportParseError(const CLI::App& app, const CLI::ParseError& error, std::string_view first) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  std::string message = error.what();
  if (app.get_subcommands().empty() && !first.empty()) {
    message = fmt::format("{} is no command", Quoted(first));
  }
  for (char& c : message) c = c == '\n' ? ' ' : c;
  fmt::print(stderr, "catena: {}; see catena {}--help\n", message,
             app.get_subcommands().empty() ? "" : app.get_subcommands()[0]->get_name() + " ");
  return kUsageStatus;
}

int Main(int argc, char** argv) {
  // gRPC looks names up as every other program of the machine does (hosts file, search domains),
  // not with a resolver of its own, unless the user says so.
  constexpr int kKeepWhatIsSet = 0;
  setenv("GRPC_DNS_RESOLVER", "native", kKeepWhatIsSet);
  // Until a role says more: what libraries log would stand beside our one line.
  const absl::Status log = InitLog("catena", "warn");
  if (!log.ok()) return Fail(log);
  CLI::App app("Catena serves a language model as a chain of stages.");
  app.name("catena");
  app.set_version_flag("--version", "catena " CATENA_VERSION);
  app.require_subcommand(1);
  Action chosen;
  for (const Command& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    const Action action = command.declare(*sub);
    sub->callback([&chosen, action] { chosen = action; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ReportParseError(app, error, argc > 1 ? argv[1] : "");
  }
  try {
    const absl::Status status = chosen();
    return status.ok() ? 0 : Fail(status);
  } catch (const std::bad_alloc&) {
    return Fail(absl::ResourceExhaustedError(
        "there is not enough memory; use a smaller model, batch or context"));
  } catch (const std::exception& e) {  // of libraries; ours return a Status
    return Fail(absl::InternalError(e.what()));
  }
}

}  // namespace
}  // namespace catena::cli

int main(int argc, char** argv) { return catena::cli::Main(argc, argv); }
