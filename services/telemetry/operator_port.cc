#include "services/telemetry/operator_port.h"

#include <utility>

namespace catena {
namespace {

constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";

HttpResponse Health(const absl::Status& status) {
  if (status.ok()) return {.status = 200, .body = "ok\n"};
  return {.status = 503, .body = fmt::format("{}\n", Message(status))};
}

}  // namespace

absl::StatusOr<std::unique_ptr<OperatorPort>> OperatorPort::Start(
    const HttpServerOptions& options) {
  auto port = std::make_unique<OperatorPort>();
  if (options.listen.empty()) return port;
  CATENA_ASSIGN_OR_RETURN(port->server_,
                          HttpServer::Start(options, [p = port.get()](std::string_view path) {
                            return p->Answer(path);
                          }));
  return port;
}

template <typename T>
OperatorPort::Registration OperatorPort::Register(std::list<T>* list, T item) {
  const std::lock_guard lock(mutex_);
  const auto place = list->insert(list->end(), std::move(item));
  return Registration(nullptr, [this, list, place](void*) {
    const std::lock_guard lock_to_remove(mutex_);
    list->erase(place);
  });
}

OperatorPort::Registration OperatorPort::Add(Collector collector) {
  return Register(&collectors_, std::move(collector));
}

OperatorPort::Registration OperatorPort::AddCheck(LiveCheck check) {
  return Register(&checks_, std::move(check));
}

void OperatorPort::SetReady(absl::Status ready) {
  const std::lock_guard lock(mutex_);
  ready_ = std::move(ready);
}

HttpResponse OperatorPort::Answer(std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (path == "/metrics") return Metrics();
  if (path == "/livez") return Health(Live());
  if (path == "/readyz") return Health(ready_);
  return {.status = 404, .body = "ask for /metrics, /livez or /readyz\n"};
}

HttpResponse OperatorPort::Metrics() {
  Exposition page;
  for (const Collector& collect : collectors_) collect(page);
  return {.status = 200, .body = page.text(), .content_type = kMetricsType};
}

absl::Status OperatorPort::Live() {
  for (const LiveCheck& check : checks_) CATENA_RETURN_IF_ERROR(check());
  return absl::OkStatus();
}

}  // namespace catena
