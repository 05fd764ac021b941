// A service of which each call is a GuardedCall (guarded_call.h), and that knows the calls it has.
//
// Thread rules: methods are added before the service is registered; calls are made by gRPC's
// threads; EndAll from any thread.
#pragma once

#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "services/common/guarded_call.h"

namespace catena {

class GuardedService : public HeaderFirstService {
 public:
  // Ends the calls that there are, with what waits to be sent before it.
  void EndAll(const absl::Status& why);

 protected:
  // `guard` is that of the server and outlives the service; null: messages have no guard.
  // `most_calls`: at a time; one more ends the oldest. So whoever asks and takes his answer is not
  // kept out by those who hold calls open.
  explicit GuardedService(MessageGuard* guard,
                          size_t most_calls = std::numeric_limits<size_t>::max())
      : guard_(guard), calls_(std::make_shared<Calls>()), most_calls_(most_calls) {}

  // A method that `make(context)` answers, which gives a shared_ptr to a GuardedCall.
  template <typename Make>
  void AddCall(const std::string& service, const std::string& method, Make make) {
    using Call = typename decltype(make(nullptr))::element_type;
    Add<typename Call::ResponseType>(
        service, method, [this, make = std::move(make)](grpc::CallbackServerContext* context) {
          const auto call = make(context);
          return Call::Run(call, guard_, context->peer(), Enter(call));
        });
  }

 private:
  struct Calls {
    std::mutex mutex;
    std::map<uint64_t, std::weak_ptr<EndableCall>> calls;  // as they came
    uint64_t next = 0;
  };

  // What leaves when it is destroyed.
  std::shared_ptr<void> Enter(const std::shared_ptr<EndableCall>& call);

  MessageGuard* const guard_;
  const std::shared_ptr<Calls> calls_;  // also of calls that outlive the service
  const size_t most_calls_;
};

}  // namespace catena
