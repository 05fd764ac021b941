#include "services/cli/bench_hop_peer.h"

#include <filesystem>

#include "catena/v1/tokenizer.grpc.pb.h"
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/cli/bench_hop.h"
#include "services/cli/output.h"
#include "services/common/log.h"
#include "services/common/server.h"
#include "services/link/link_service.h"

extern char** environ;

namespace catena::cli {
namespace {

// --- in the peer's process ---

// Sends each message back on the lane it came by.
class Echo final : public Receiver {
 public:
  void OnMessage(Incarnation from, Lane lane, ChainMessage message) override {
    transport->Send({from, lane, std::move(message)});
  }
  void OnConnect(Incarnation) override {}
  void OnDisconnect(Incarnation, const absl::Status&) override {}
  Transport* transport = nullptr;
};

class BareEcho final : public GrpcTransport::Reactor {
 public:
  BareEcho() { StartRead(&bytes_); }
  void OnReadDone(bool ok) override { ok ? StartWrite(&bytes_) : Finish(grpc::Status::OK); }
  void OnWriteDone(bool ok) override { ok ? StartRead(&bytes_) : Finish(grpc::Status::OK); }
  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer bytes_;
};

class BareService final
    : public v1::TokenizerService::WithRawCallbackMethod_Decode<v1::TokenizerService::Service> {
 public:
  GrpcTransport::Reactor* Decode(grpc::CallbackServerContext*) override { return new BareEcho; }
};

// A server with both services at one address.
struct PeerEnd {
  PeerEnd(Incarnation incarnation, int64_t row_bytes)
      : transport({BenchIdentity(incarnation, row_bytes), grpc::InsecureChannelCredentials()},
                  &echo),
        link(&transport) {
    echo.transport = &transport;
  }
  absl::Status Listen(const std::string& listen) {
    ServerOptions options;
    options.listen = listen;
    options.credentials = grpc::InsecureServerCredentials();
    options.services = {{v1::ChainService::service_full_name(), &link},
                        {v1::TokenizerService::service_full_name(), &bare}};
    CATENA_ASSIGN_OR_RETURN(server, Server::Start(options));
    return absl::OkStatus();
  }
  ~PeerEnd() {
    transport.Shutdown();
    if (server != nullptr) server->Shutdown(std::chrono::milliseconds(0));
  }

  Echo echo;
  GrpcTransport transport;
  LinkService link;
  BareService bare;
  std::unique_ptr<Server> server;
};

absl::Status RunPeer(const std::string& socket, int64_t row_bytes) {
  CATENA_RETURN_IF_ERROR(InitLog({.role = "hop-peer", .level = "error"}));
  PeerEnd over_unix(HopPeer::kUnixIncarnation, row_bytes);
  PeerEnd over_tcp(HopPeer::kTcpIncarnation, row_bytes);
  CATENA_RETURN_IF_ERROR(over_unix.Listen("unix:" + socket));
  CATENA_RETURN_IF_ERROR(over_tcp.Listen("127.0.0.1:0"));
  CATENA_RETURN_IF_ERROR(Write(over_tcp.server->address() + "\n"));
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {  // until who started it is gone
  }
  return absl::OkStatus();
}

// --- in the process that starts it ---

absl::Status SystemError(std::string_view what) {
  return absl::InternalError(fmt::format("cannot {}: {}", what, strerror(errno)));
}

std::string ReadAddress(int fd) {
  std::string line;
  char c;
  while (read(fd, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HopPeer>> HopPeer::Start(int64_t row_bytes) {
  std::unique_ptr<HopPeer> peer(new HopPeer);
  std::string pattern = std::filesystem::temp_directory_path() / "catena_hop_XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) return SystemError("make a folder for a socket");
  peer->dir_ = pattern;
  const std::string socket = pattern + "/socket";
  int to_peer[2], from_peer[2];
  if (pipe2(to_peer, O_CLOEXEC) != 0) return SystemError("make a pipe");
  peer->stdin_ = to_peer[1];
  if (pipe2(from_peer, O_CLOEXEC) != 0) {
    close(to_peer[0]);
    return SystemError("make a pipe");
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_peer[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from_peer[1], STDOUT_FILENO);
  std::string args[] = {
      "catena", "bench", "hop-peer", "--socket", socket, "--bytes", std::to_string(row_bytes)};
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  const int error =
      posix_spawn(&peer->pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(to_peer[0]);
  close(from_peer[1]);
  if (error == 0) peer->tcp_ = ReadAddress(from_peer[0]);
  close(from_peer[0]);
  if (peer->tcp_.empty()) return absl::InternalError("the process at the other end did not start");
  peer->unix_ = "unix:" + socket;
  return peer;
}

HopPeer::~HopPeer() {
  if (stdin_ >= 0) close(stdin_);
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
  std::error_code ignored;
  if (!dir_.empty()) std::filesystem::remove_all(dir_, ignored);
}

Action DeclareBenchHopPeer(App& app) {
  struct Options {
    std::string socket;
    int64_t bytes = 0;
  };
  auto o = std::make_shared<Options>();
  app.Hide();
  app.AddOption("--socket", &o->socket, "Where to serve").Required();
  app.AddOption("--bytes", &o->bytes, "Of a row").Required();
  return [o] { return RunPeer(o->socket, o->bytes); };
}

}  // namespace catena::cli
