// grpc.health.v1.Health, under a guard: gRPC's own reads messages of any length.
//
// Thread rules: any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "grpc/health/v1/health.pb.h"

#include "services/common/guarded_service.h"

namespace catena {

class HealthService final : public GuardedService {
 public:
  static constexpr char kName[] = "grpc.health.v1.Health";

  explicit HealthService(MessageGuard* guard);

  // What Check says of `name` from now on, and who watches it is told. Names that were never set
  // are NOT_FOUND.
  void Set(const std::string& name, bool serving);

 private:
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;
  class CheckCall;
  class WatchCall;
  // Also of watches that outlive the service.
  struct Book {
    Status Of(const std::string& name) const;  // REQUIRES: mutex is held

    std::mutex mutex;
    std::map<std::string, Status> statuses;
    std::map<std::string, std::set<WatchCall*>> watches;  // that have said what they watch
  };

  const std::shared_ptr<Book> book_ = std::make_shared<Book>();
};

}  // namespace catena
