#include "services/link/dial_rules.h"

#include <algorithm>
#include <utility>

#include <ifaddrs.h>
#include <netdb.h>
#include <unistd.h>

namespace catena {
namespace {

bool IsUnix(const std::string& address) { return address.starts_with("unix:"); }

bool SameAddress(const std::string& a, const std::string& b) {
  if (IsUnix(a) || IsUnix(b)) return a == b;
  const std::optional<HostPort> first = ParseHostPort(a);
  return first && first == ParseHostPort(b);
}

std::set<std::string> OwnHosts() {
  std::set<std::string> hosts = {"localhost", "::1"};
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) == 0) hosts.insert(name);
  ifaddrs* interfaces = nullptr;
  if (getifaddrs(&interfaces) != 0) return hosts;
  for (const ifaddrs* i = interfaces; i != nullptr; i = i->ifa_next) {
    const int family = i->ifa_addr == nullptr ? AF_UNSPEC : i->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    char text[NI_MAXHOST] = {};
    if (getnameinfo(i->ifa_addr, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0) {
      hosts.insert(text);
    }
  }
  freeifaddrs(interfaces);
  return hosts;
}

}  // namespace

DialRules::DialRules(const DialOptions& options)
    : targets_(options.targets),
      peers_show_certificates_(options.peers_show_certificates),
      addresses_(options.targets, options.resolve, options.resolve_every),
      own_hosts_(OwnHosts()) {
  for (const std::string& target : targets_) {
    const std::optional<HostPort> named = ParseHostPort(target);
    has_names_ |= named && !IsNumeric(named->host);
  }
}

bool DialRules::IsTarget(const std::string& address) const {
  return std::any_of(targets_.begin(), targets_.end(), [&](const std::string& target) {
    const std::vector<std::string> known = addresses_.Of(target);
    return std::any_of(known.begin(), known.end(),
                       [&](const std::string& own) { return SameAddress(own, address); });
  });
}

bool DialRules::IsHere(const std::string& host) const {
  return own_hosts_.contains(host) || (IsNumeric(host) && host.starts_with("127."));
}

absl::Status DialRules::Check(const std::string& address) const {
  const std::optional<HostPort> asked = ParseHostPort(address);
  if (!asked && !IsUnix(address)) {
    return absl::FailedPreconditionError(
        fmt::format("{} is no address: host:port or unix:/path", Quoted(address)));
  }
  if (!targets_.empty()) {
    if (IsTarget(address)) return absl::OkStatus();
    const std::string why = fmt::format(
        "the next stage would be at {}, which is not of --next {}: add it, or what it is a name of",
        Quoted(address), fmt::join(targets_, ","));
    return has_names_ ? absl::UnavailableError(why) : absl::FailedPreconditionError(why);
  }
  if (peers_show_certificates_ || !asked || IsHere(asked->host)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("the next stage would be at {}, on another machine: tell this one by --next "
                  "where it may send "
                  "rows, or give the cluster certificates",
                  Quoted(address)));
}

}  // namespace catena
