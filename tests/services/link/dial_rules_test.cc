// A stage calls its cluster and nobody else, whatever an Open says.
#include "services/link/dial_rules.h"

#include <condition_variable>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace catena {
namespace {

using ::testing::HasSubstr;

std::string OwnName() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

TEST(DialRules, WithoutTargetsOrCertificatesItStaysOnItsMachine) {
  const DialRules rules({});
  for (const std::string& address :
       {std::string("127.0.0.1:7001"), std::string("127.8.8.8:1"), std::string("[::1]:7001"),
        std::string("localhost:7001"), OwnName() + ":7001", std::string("unix:/run/x")}) {
    EXPECT_TRUE(rules.Check(address).ok()) << address;
  }
  for (const char* address :
       {"192.0.2.1:7001", "[2001:db8::1]:7001", "example.org:7001", "127.0.0.1.example.org:80",
        "localhost.example.org:80", "1.127.0.0:80", "0:80", "2130706433:80"}) {
    const absl::Status status = rules.Check(address);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << address << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--next"));
  }
}

TEST(DialRules, WithCertificatesItCallsAnyAddressThatIsOne) {
  const DialRules rules({.targets = {}, .peers_show_certificates = true});
  EXPECT_TRUE(rules.Check("192.0.2.1:7001").ok());
  EXPECT_TRUE(rules.Check("shard.example.org:7001").ok());
  // Of gRPC's own ways to name a target.
  for (const char* address :
       {"dns://192.0.2.1/shard:7001", "dns:///shard:7001", "ipv4:192.0.2.1:7001", "unix-abstract:x",
        "xds:///shard", "shard", ""}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(rules.Check(address))) << address;
  }
}

TEST(DialRules, TargetsAreAllThatIsCalledAlsoWithCertificates) {
  const DialRules rules({.targets = {"192.0.2.1:7001", "[2001:db8::0:1]:7001", "unix:/run/head"},
                         .peers_show_certificates = true});
  EXPECT_TRUE(rules.Check("192.0.2.1:7001").ok());
  EXPECT_TRUE(rules.Check("[2001:db8::1]:7001").ok()) << "the same address";
  EXPECT_TRUE(rules.Check("unix:/run/head").ok());
  for (const char* address :
       {"192.0.2.1:7002", "192.0.2.2:7001", "127.0.0.1:7001", "unix:/run/other"}) {
    const absl::Status status = rules.Check(address);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << address << ": " << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("--next 192.0.2.1:7001,"), HasSubstr(address)));
  }
}

// A name server of the test's, whose answer changes.
class Names {
 public:
  Resolver resolver() {
    return [this](const std::string& host) -> absl::StatusOr<std::vector<std::string>> {
      const std::lock_guard lock(mu_);
      ++asked_;
      changed_.notify_all();
      if (host == "shards" && !addresses_.empty()) return addresses_;
      return absl::NotFoundError("no such name");
    };
  }
  // Returns once the answer has been asked for, and taken.
  void Become(std::vector<std::string> addresses) {
    std::unique_lock lock(mu_);
    addresses_ = std::move(addresses);
    const int before = asked_;
    changed_.wait(lock, [&] { return asked_ >= before + 2; });
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<std::string> addresses_;
  int asked_ = 0;
};

TEST(DialRules, ANameStandsForItsAddressesOfNow) {
  const auto names = std::make_shared<Names>();  // whose thread may outlive the rules
  const DialRules rules({.targets = {"shards:7001"},
                         .peers_show_certificates = false,
                         .resolve = [names](const auto& host) { return names->resolver()(host); },
                         .resolve_every = std::chrono::milliseconds(1)});
  names->Become({"192.0.2.1", "2001:db8::1"});
  EXPECT_TRUE(rules.Check("192.0.2.1:7001").ok());
  EXPECT_TRUE(rules.Check("[2001:db8::1]:7001").ok());
  EXPECT_TRUE(absl::IsUnavailable(rules.Check("192.0.2.2:7001"))) << "it may not be known yet";
  names->Become({"192.0.2.2"});
  EXPECT_TRUE(rules.Check("192.0.2.2:7001").ok());
  EXPECT_TRUE(absl::IsUnavailable(rules.Check("192.0.2.1:7001")));
  EXPECT_TRUE(absl::IsUnavailable(rules.Check("192.0.2.2:7002")));
}

}  // namespace
}  // namespace catena
