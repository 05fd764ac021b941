// The addresses behind the targets of a list, asked for again every few seconds. Each name has a
// thread of its own, so that a resolver that hangs holds up nobody: neither who asks here, nor the
// other names, nor the end of this.
//
// A name keeps the addresses that it had while its resolver fails; they go only where the resolver
// says that the name has none.
//
// Thread rules: any thread; nothing blocks.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/status.h"

namespace catena {

struct HostPort {
  std::string host;  // without brackets
  std::string port;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

// host:port, where an IPv6 address may be in brackets, and numbers are written in one way only;
// nullopt for anything else, such as unix:/path or a URL.
std::optional<HostPort> ParseHostPort(const std::string& address);

// Whether it is an IP address and no name.
bool IsNumeric(const std::string& host);

// The addresses of a host name, as numbers. NOT_FOUND where it has none; any other error says
// nothing about the name. It may block.
using Resolver = std::function<absl::StatusOr<std::vector<std::string>>(const std::string& host)>;

absl::StatusOr<std::vector<std::string>> ResolveBySystem(const std::string& host);

class TargetAddresses {
 public:
  // Targets: host:port, unix:/path.
  TargetAddresses(const std::vector<std::string>& targets, const Resolver& resolve,
                  std::chrono::milliseconds every);
  ~TargetAddresses();
  TargetAddresses(const TargetAddresses&) = delete;
  TargetAddresses& operator=(const TargetAddresses&) = delete;

  // As last known; a target without a name to look up is its own address.
  std::vector<std::string> Of(const std::string& target) const;

 private:
  struct State;
  struct Name;
  static void Watch(const std::shared_ptr<State>& state, const Name& name, const Resolver& resolve,
                    std::chrono::milliseconds every);

  const std::shared_ptr<State> state_;  // threads that hang hold it too
};

}  // namespace catena
