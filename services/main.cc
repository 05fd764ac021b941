// The `catena` command: parses the flags of one subcommand, runs it, and turns its status into one
// line on stderr and the exit status.
#include <cstdlib>
#include <exception>
#include <new>

#include <fmt/format.h>

#include "services/cli/command.h"
#include "services/cli/interrupt.h"
#include "services/common/log.h"

namespace catena::cli {
namespace {

const std::vector<Command> kCommands = {
    {"generate", "Go on from a prompt", DeclareGenerate},
    {"chat", "Talk with the model", DeclareChat},
    {"up", "Run a cluster on this machine", DeclareUp},
    {"status", "Show a cluster: its replicas, their load, what is missing", DeclareStatus},
    {"drain", "End one process of a cluster once what runs there has moved away", DeclareDrain},
    {"debug", "Show one sequence as each stage of a cluster holds it", DeclareDebug},
    {"look", "See a text as the model does: tokens, and what it expects next", DeclareLook},
    {"inspect", "Show a model's structure and sizes", DeclareInspect},
    {"plan", "Cut a model into stages of equal weight", DeclarePlan},
    {"quantise", "Write a model as a GGUF file of fewer bits a weight", DeclareQuantise},
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

int Main(int argc, char** argv) {
  // gRPC looks names up as every other program of the machine does (hosts file, search domains),
  // not with a resolver of its own, unless the user says so.
  constexpr int kKeepWhatIsSet = 0;
  setenv("GRPC_DNS_RESOLVER", "native", kKeepWhatIsSet);
  // Until a role says more: what libraries log would stand beside our one line.
  const absl::Status log = InitLog({.role = "catena", .level = "warn"});
  if (!log.ok()) return Fail(log);
  const Parsed parsed = ParseCommandLine(argc, argv, CATENA_VERSION, kCommands);
  fmt::print("{}", parsed.out);
  if (!parsed.error.empty()) fmt::print(stderr, "catena: {}\n", parsed.error);
  if (parsed.action == nullptr) return parsed.status;
  try {
    const absl::Status status = parsed.action();
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
