#include "services/common/target_addresses.h"

#include <charconv>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <arpa/inet.h>
#include <netdb.h>
#include <spdlog/spdlog.h>

namespace catena {

// What a target asks for.
struct TargetAddresses::Name {
  std::string target;
  HostPort asked;
};

struct TargetAddresses::State {
  std::mutex mutex;  // of all below
  std::condition_variable wake;
  bool stopped = false;
  std::map<std::string, std::vector<std::string>> addresses;  // by target
};

bool IsNumeric(const std::string& host) {
  in6_addr any;
  return inet_pton(AF_INET, host.c_str(), &any) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

std::optional<HostPort> ParseHostPort(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || address.find('/') != std::string::npos) return std::nullopt;
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  uint16_t port = 0;
  const char* end = address.data() + address.size();
  const auto [rest, error] = std::from_chars(address.data() + colon + 1, end, port);
  if (error != std::errc() || rest != end || host.empty()) return std::nullopt;
  in6_addr number;
  char text[INET6_ADDRSTRLEN];
  for (const int family : {AF_INET, AF_INET6}) {
    if (inet_pton(family, host.c_str(), &number) == 1) {
      host = inet_ntop(family, &number, text, sizeof text);
    }
  }
  if (host.find(':') != std::string::npos && !IsNumeric(host)) return std::nullopt;
  return HostPort{host, fmt::format("{}", port)};
}

absl::StatusOr<std::vector<std::string>> ResolveBySystem(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_ADDRCONFIG;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error == EAI_NONAME || error == EAI_NODATA) return absl::NotFoundError(gai_strerror(error));
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  std::vector<std::string> addresses;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    char text[NI_MAXHOST] = {};
    getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
    addresses.emplace_back(text);
  }
  freeaddrinfo(found);
  return addresses;
}

TargetAddresses::TargetAddresses(const std::vector<std::string>& targets, const Resolver& resolve,
                                 std::chrono::milliseconds every)
    : state_(std::make_shared<State>()) {
  for (const std::string& target : targets) {
    const std::optional<HostPort> asked = ParseHostPort(target);
    const bool is_name = asked && !IsNumeric(asked->host);
    const std::lock_guard lock(state_->mutex);
    const auto own = is_name ? std::vector<std::string>{} : std::vector<std::string>{target};
    if (!state_->addresses.emplace(target, own).second || !is_name) continue;
    const Name name{.target = target, .asked = *asked};
    // getaddrinfo cannot be ended, so nobody may wait for it.
    std::thread([state = state_, name, resolve, every] {
      Watch(state, name, resolve, every);
    }).detach();
  }
}

TargetAddresses::~TargetAddresses() {
  const std::lock_guard lock(state_->mutex);
  state_->stopped = true;
  state_->wake.notify_all();
}

std::vector<std::string> TargetAddresses::Of(const std::string& target) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->addresses.find(target);
  return found == state_->addresses.end() ? std::vector<std::string>{} : found->second;
}

void TargetAddresses::Watch(const std::shared_ptr<State>& state, const Name& name,
                            const Resolver& resolve, std::chrono::milliseconds every) {
  absl::Status before;
  while (true) {
    const auto found = resolve(name.asked.host);
    std::unique_lock lock(state->mutex);
    if (state->stopped) return;
    std::vector<std::string>& addresses = state->addresses[name.target];
    if (found.ok() || absl::IsNotFound(found.status())) addresses.clear();
    for (const std::string& host : found.value_or(std::vector<std::string>{})) {
      const bool is_v6 = host.find(':') != std::string::npos;
      addresses.push_back(
          fmt::format("{}:{}", is_v6 ? fmt::format("[{}]", host) : host, name.asked.port));
    }
    const size_t n = addresses.size();
    lock.unlock();
    if (found.status() != before && found.ok()) spdlog::info("{} is resolved again", name.target);
    if (found.status() != before && !found.ok()) {
      spdlog::warn("{} cannot be resolved: {}; it has {} addresses from before", name.target,
                   Message(found.status()), n);
    }
    before = found.status();
    lock.lock();
    if (state->wake.wait_for(lock, every, [&] { return state->stopped; })) return;
  }
}

}  // namespace catena
