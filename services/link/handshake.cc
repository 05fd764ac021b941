#include "services/link/handshake.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "runtime/chain/limits.h"
#include "services/common/replica_description.h"

namespace catena {
namespace {

// A release talks to its predecessor.
constexpr uint32_t kNewest = limits::kProtocolVersion;
constexpr uint32_t kOldest = kNewest > 1 ? kNewest - 1 : 1;

constexpr size_t kProofBytes = 16;

std::string_view RoleText(int wire_role) {
  constexpr std::string_view kNames[] = {"process", "gateway", "tokenizer", "shard", "head"};
  return kNames[wire_role > 0 && wire_role <= v1::ROLE_HEAD ? wire_role : 0];
}

// "shard 1f3a (protocol 1, model "m", numerics "n", rows of 2304 bytes)"
std::string Text(const v1::Hello& h) {
  return fmt::format("{} {:x} (protocol {}, model {}, numerics {}, rows of {} bytes)",
                     RoleText(h.role()), h.incarnation(), h.protocol_version(),
                     Quoted(h.fingerprint()), Quoted(h.numerics_id()), h.row_bytes());
}

v1::Hello HelloOf(const LinkIdentity& self) {
  v1::Hello hello;
  hello.set_protocol_version(kNewest);
  hello.set_incarnation(self.incarnation);
  hello.set_role(EncodeRole(self.role));
  hello.set_fingerprint(self.fingerprint);
  hello.set_numerics_id(self.numerics_id);
  hello.set_row_bytes(self.rows.row_bytes);
  return hello;
}

// What of the two does not fit; "" where all does. An empty value fits every other.
std::string Mismatch(const v1::Hello& caller, const v1::Hello& self) {
  const auto differ = [](const auto& a, const auto& b, const auto& none) {
    return a != b && a != none && b != none;
  };
  if (caller.protocol_version() < kOldest) return "update the caller: its protocol is too old";
  if (differ(caller.fingerprint(), self.fingerprint(), "")) {
    return "start both with the same model and weights";
  }
  if (differ(caller.numerics_id(), self.numerics_id(), "")) {
    return "start both with the same backend, activations and KV dtype";
  }
  if (differ(caller.row_bytes(), self.row_bytes(), 0)) return "their rows have other sizes";
  return "";
}

}  // namespace

LinkSecret NewLinkSecret() {
  LinkSecret secret;
  CATENA_CHECK(RAND_bytes(secret.data(), static_cast<int>(secret.size())) == 1);
  return secret;
}

std::string ProofFor(const LinkSecret& secret, Incarnation answerer) {
  unsigned char message[sizeof answerer];
  for (unsigned char& byte : message) {
    byte = static_cast<unsigned char>(answerer);
    answerer >>= 8;
  }
  unsigned char mac[EVP_MAX_MD_SIZE];
  CATENA_CHECK(HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), message,
                    sizeof message, mac, nullptr) != nullptr);
  return std::string(mac, mac + kProofBytes);
}

void MakeHello(const LinkIdentity& self, const LinkSecret& secret, Incarnation expected, Lane lane,
               v1::Frame* frame) {
  v1::Hello* hello = frame->mutable_hello();
  *hello = HelloOf(self);
  hello->set_proof(ProofFor(secret, expected));
  hello->set_expected_incarnation(expected);
  hello->set_lane(static_cast<v1::Lane>(static_cast<int>(lane) + v1::LANE_CONTROL));
}

void MakeWelcome(const LinkIdentity& self, uint32_t callers_version, v1::Frame* frame) {
  v1::Welcome* welcome = frame->mutable_welcome();
  welcome->set_protocol_version(std::min(callers_version, kNewest));
  welcome->set_incarnation(self.incarnation);
  welcome->set_role(EncodeRole(self.role));
}

absl::StatusOr<Caller> CheckHello(const LinkIdentity& self, const v1::Frame& frame) {
  if (!frame.has_hello()) return absl::InvalidArgumentError("the first frame must be a hello");
  const v1::Hello& hello = frame.hello();
  if (hello.incarnation() == 0 || hello.lane() < v1::LANE_CONTROL || hello.lane() > v1::LANE_BULK) {
    return absl::InvalidArgumentError("a hello without incarnation or lane");
  }
  if (hello.proof().size() != kProofBytes) {
    return absl::InvalidArgumentError("a hello without a proof of who says it");
  }
  if (hello.role() != v1::ROLE_GATEWAY && hello.role() != v1::ROLE_SHARD) {
    return absl::PermissionDeniedError(
        fmt::format("a {} called: only gateways and shards do", RoleText(hello.role())));
  }
  const v1::Hello own = HelloOf(self);
  if (hello.incarnation() == own.incarnation()) {
    return absl::PermissionDeniedError(
        fmt::format("a {} called that says it is {:x}, which it called", RoleText(hello.role()),
                    own.incarnation()));
  }
  // A peer that was restarted is nothing unusual, and needs few words.
  if (hello.protocol_version() >= kOldest && hello.expected_incarnation() != own.incarnation()) {
    return absl::FailedPreconditionError(
        fmt::format("{} {:x} called {:x}, which is gone: {:x} is here", RoleText(hello.role()),
                    hello.incarnation(), hello.expected_incarnation(), own.incarnation()));
  }
  const std::string mismatch = Mismatch(hello, own);
  if (!mismatch.empty()) {
    return absl::FailedPreconditionError(
        fmt::format("{} called {}: {}", Text(hello), Text(own), mismatch));
  }
  return Caller{.incarnation = hello.incarnation(),
                .role = hello.role() == v1::ROLE_GATEWAY ? Role::kGateway : Role::kShard,
                .proof = hello.proof(),
                .lane = static_cast<Lane>(hello.lane() - v1::LANE_CONTROL)};
}

absl::Status CheckWelcome(const LinkIdentity& self, Incarnation expected, const v1::Frame& frame) {
  if (!frame.has_welcome()) return absl::InvalidArgumentError("the first frame is no welcome");
  const v1::Welcome& welcome = frame.welcome();
  const uint32_t version = welcome.protocol_version();
  if (version >= kOldest && version <= kNewest && welcome.incarnation() == expected) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      fmt::format("{} called {} {:x} and was answered by {:x} in protocol {}", Text(HelloOf(self)),
                  RoleText(welcome.role()), expected, welcome.incarnation(), version));
}

}  // namespace catena
