// grpc.reflection.v1alpha.ServerReflection of the services that a server shows, under a guard:
// gRPC's own reads messages of any length, holds a thread a call, shows every service and all
// protos of the program, and keeps every name that it was asked for in vain.
//
// Thread rules: as GuardedService.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "services/common/guarded_service.h"

namespace catena {

class ReflectionService final : public GuardedService {
 public:
  static constexpr char kName[] = "grpc.reflection.v1alpha.ServerReflection";

  // `shown`: full names. Of those whose protos are of this program the files are shown too, with
  // all that these import.
  ReflectionService(MessageGuard* guard, std::vector<std::string> shown);

 private:
  struct Shown;
  class Call;
};

}  // namespace catena
