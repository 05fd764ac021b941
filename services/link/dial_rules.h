// Which addresses a stage may call. It is a gateway's Open that names the next stage, and an Open
// must not make a stage call any host it likes: so a stage knows by itself where its cluster is.
//
// Told so by targets, it calls their addresses and no others. Otherwise, where TLS shows that a
// peer is of the cluster before a byte of ours goes to it, it may call any; and without TLS unix
// sockets and its own machine.
//
// Thread rules: any thread; nothing blocks.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "services/common/target_addresses.h"

namespace catena {

struct DialOptions {
  std::vector<std::string> targets;  // host:port (all addresses of the name) or unix:/path
  bool peers_show_certificates = false;
  Resolver resolve = ResolveBySystem;
  std::chrono::milliseconds resolve_every{3'000};
};

class DialRules {
 public:
  explicit DialRules(const DialOptions& options);

  // FAILED_PRECONDITION that says what to give; UNAVAILABLE where a name may just not be known yet
  // to have that address.
  absl::Status Check(const std::string& address) const;

 private:
  bool IsTarget(const std::string& address) const;
  bool IsHere(const std::string& host) const;

  const std::vector<std::string> targets_;
  const bool peers_show_certificates_;
  const TargetAddresses addresses_;
  bool has_names_ = false;
  std::set<std::string> own_hosts_;  // names and addresses of this machine
};

}  // namespace catena
