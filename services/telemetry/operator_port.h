// What an operator's tools ask of every role over HTTP:
//
//   /metrics  what is counted, for Prometheus
//   /livez    200, or 503 where only a restart can help; the body says why
//   /readyz   200, or 503 while it does not serve: it starts, drains, or lacks something
//
// It is there before the model is loaded, so that a process that loads is alive and not ready.
// Neither keys nor certificates are asked for: what is told are numbers and the state of this
// process, and the address should be one that only the operator's tools reach.
//
// Thread rules: any thread. What is registered is called on the server's thread, one at a time, and
// must not wait for others.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "services/telemetry/exposition.h"
#include "services/telemetry/http_server.h"

namespace catena {

class OperatorPort {
 public:
  // Adds families to the page.
  using Collector = std::function<void(Exposition&)>;
  // OK, or why only a restart can help.
  using LiveCheck = std::function<absl::Status()>;
  // What was registered, until it goes. Whatever it refers to must outlive it.
  using Registration = std::shared_ptr<void>;

  // Without `options.listen` nobody can ask, and all else is as ever.
  static absl::StatusOr<std::unique_ptr<OperatorPort>> Start(const HttpServerOptions& options);

  // "" where nobody can ask.
  std::string address() const { return server_ == nullptr ? "" : server_->address(); }

  [[nodiscard]] Registration Add(Collector collector);
  [[nodiscard]] Registration AddCheck(LiveCheck check);
  // OK, or why it does not serve. At first: it is starting.
  void SetReady(absl::Status ready);

 private:
  template <typename T>
  Registration Register(std::list<T>* list, T item);
  HttpResponse Answer(std::string_view path);
  HttpResponse Metrics();
  absl::Status Live();

  std::mutex mutex_;  // of all below
  std::list<Collector> collectors_;
  std::list<LiveCheck> checks_;
  absl::Status ready_ = absl::UnavailableError("it is starting");

  std::unique_ptr<HttpServer> server_;  // goes first
};

}  // namespace catena
