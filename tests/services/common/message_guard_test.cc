// Unfinished messages end their calls; what is whole, or belongs to no message, ends none.
#include "services/common/message_guard.h"

#include <future>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace catena {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kMost = 4 * kMiB;

// A connection of which a guard knows, as gRPC would hold it.
class Connection {
 public:
  explicit Connection(MessageGuard* guard) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    client_ = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(client_, reinterpret_cast<sockaddr*>(&address), size), 0);
    server_ = accept(listener, nullptr, nullptr);
    close(listener);
    const int on = 1;
    for (const int fd : {client_, server_}) {
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    getsockname(client_, reinterpret_cast<sockaddr*>(&address), &size);
    peer_ = "ipv4:127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    guard->connections().Add(server_);
  }
  ~Connection() {
    close(client_);
    close(server_);
  }
  const std::string& peer() const { return peer_; }

  // From the client to the server.
  void Bring(size_t bytes) { Move(client_, server_, bytes); }
  void Answer(size_t bytes) { Move(server_, client_, bytes); }

 private:
  static void Move(int from, int to, size_t bytes) {
    std::string part(size_t{32} << 10, 'x');
    while (bytes > 0) {
      const size_t n = std::min(bytes, part.size());
      ASSERT_EQ(send(from, part.data(), n, 0), static_cast<ssize_t>(n));
      ASSERT_EQ(recv(to, part.data(), n, MSG_WAITALL), static_cast<ssize_t>(n));
      bytes -= n;
    }
  }

  int client_ = -1, server_ = -1;
  std::string peer_;
};

// What ends a reading.
class Ended {
 public:
  MessageGuard::End OnEnd() {
    return [this](const absl::Status& why) {
      if (!has_ended_.exchange(true)) ended_.set_value(why);
    };
  }
  absl::Status Wait() { return future_.get(); }
  bool has_ended() const { return has_ended_; }

 private:
  std::atomic<bool> has_ended_ = false;
  std::promise<absl::Status> ended_;
  std::future<absl::Status> future_ = ended_.get_future();
};

class MessageGuardTest : public ::testing::Test {
 protected:
  // Until the guard has looked at all that has come so far.
  void AwaitLook() {
    for (int i = 0; i < 2; ++i) {  // the look that is in progress may be over half of it
      Connection other(&guard_);
      Ended ended;
      MessageGuard::Reading reading(&guard_, other.peer(), 1, ended.OnEnd());
      other.Bring(2 * kMiB);
      EXPECT_TRUE(absl::IsResourceExhausted(ended.Wait()));
    }
  }

  MessageGuard guard_{{.all = 10 * kMiB}};
  Connection connection_{&guard_};
  Ended ended_;
};

TEST_F(MessageGuardTest, AMessageThatIsTooLongEndsItsCallBeforeAllHasCome) {
  MessageGuard::Reading reading(&guard_, connection_.peer(), kMost, ended_.OnEnd());
  connection_.Bring(kMost);
  AwaitLook();
  EXPECT_FALSE(ended_.has_ended());
  connection_.Bring(2 * kMiB);
  const absl::Status why = ended_.Wait();
  EXPECT_TRUE(absl::IsResourceExhausted(why)) << why;
  EXPECT_NE(Message(why).find(std::to_string(kMost)), std::string_view::npos) << why;
}

TEST_F(MessageGuardTest, AMessageThatDoesNotComeEndsItsCall) {
  MessageGuard guard({.timeout = std::chrono::milliseconds(1)});
  MessageGuard::Reading reading(&guard, "unix:", kMost, ended_.OnEnd());
  EXPECT_TRUE(absl::IsDeadlineExceeded(ended_.Wait()));
}

TEST_F(MessageGuardTest, OnlyTheFirstMessageMustComeInTime) {
  MessageGuard guard({.timeout = std::chrono::milliseconds(1)});
  Ended first;
  MessageGuard::Reading stream(&guard, connection_.peer(), kMost, ended_.OnEnd());
  stream.Next(0, kMost);
  MessageGuard::Reading other(&guard, "unix:", kMost, first.OnEnd());
  EXPECT_TRUE(absl::IsDeadlineExceeded(first.Wait()));
  EXPECT_FALSE(ended_.has_ended());
}

TEST_F(MessageGuardTest, TheNextMessageHasALimitOfItsOwn) {
  MessageGuard::Reading reading(&guard_, connection_.peer(), 1, ended_.OnEnd());
  connection_.Bring(1000);
  reading.Next(1000, kMost);
  connection_.Bring(kMost);
  AwaitLook();
  EXPECT_FALSE(ended_.has_ended());
  connection_.Bring(2 * kMiB);
  EXPECT_TRUE(absl::IsResourceExhausted(ended_.Wait()));
}

// Long messages, as fast as they come: what has come since the last look is not taken for one.
TEST_F(MessageGuardTest, WholeMessagesEndNothing) {
  MessageGuard::Reading stream(&guard_, connection_.peer(), kMost, ended_.OnEnd());
  MessageGuard::Reading idle(&guard_, connection_.peer(), 1, ended_.OnEnd());
  idle.Next(0, 1);
  for (int i = 0; i < 100; ++i) {
    connection_.Bring(kMost);
    stream.Next(kMost, kMost);
  }
  AwaitLook();
  EXPECT_FALSE(ended_.has_ended());
}

// A stream that waits for hours beside others: frames around small messages, and what acknowledges
// answers, come to more than a message may have.
TEST_F(MessageGuardTest, WhatComesBesideMessagesEndsNoStreamThatWaits) {
  MessageGuard::Reading waits(&guard_, connection_.peer(), 1, ended_.OnEnd());
  waits.Next(0, 1);
  MessageGuard::Reading busy(&guard_, connection_.peer(), 1, ended_.OnEnd());
  constexpr size_t kBytes = 20, kFrame = 9 + 5 + 29, kWindowUpdates = 2 * 13 + 29;
  for (int i = 0; i < 40'000; ++i) {
    connection_.Bring(kBytes + kFrame);
    busy.Next(kBytes, 1);
    connection_.Answer(1);
    connection_.Bring(kWindowUpdates);
  }
  AwaitLook();
  EXPECT_FALSE(ended_.has_ended());
}

TEST_F(MessageGuardTest, OfManyThatAreTooMuchTogetherTheLargestGoes) {
  Connection large(&guard_);
  Ended large_ended;
  MessageGuard::Reading a(&guard_, connection_.peer(), 20 * kMiB, ended_.OnEnd());
  MessageGuard::Reading b(&guard_, large.peer(), 20 * kMiB, large_ended.OnEnd());
  connection_.Bring(3 * kMiB);
  large.Bring(10 * kMiB);
  EXPECT_TRUE(absl::IsResourceExhausted(large_ended.Wait()));
  AwaitLook();
  EXPECT_FALSE(ended_.has_ended());
}

TEST_F(MessageGuardTest, WhoIsDoneIsNotEnded) {
  MessageGuard::Reading reading(&guard_, connection_.peer(), 1, ended_.OnEnd());
  reading.Done(0);
  connection_.Bring(4 * kMiB);
  AwaitLook();
  EXPECT_FALSE(ended_.has_ended());
}

}  // namespace
}  // namespace catena
