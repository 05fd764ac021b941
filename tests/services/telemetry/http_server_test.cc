// The operators' HTTP server: what it answers, and that no caller can hang or inflate it.
#include "services/telemetry/http_server.h"

#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "tests/services/telemetry/http_client.h"

namespace catena {
namespace {

using std::chrono::milliseconds;

constexpr size_t kLargeBytes = 64 << 20;  // more than sockets buffer

HttpResponse Handle(std::string_view path) {
  if (path == "/hello") return {.status = 200, .body = "hello\n"};
  if (path == "/large") return {.status = 200, .body = std::string(kLargeBytes, 'x')};
  if (path == "/throws") throw std::runtime_error("broken");
  return {.status = 404, .body = "nothing here\n"};
}

std::unique_ptr<HttpServer> Start(HttpServerOptions options = {}) {
  if (options.listen.empty()) options.listen = "127.0.0.1:0";
  auto server = HttpServer::Start(options, Handle);
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

TEST(HttpServerTest, AnswersGetAndHead) {
  const auto server = Start();
  for (const std::string path : {"/hello", "/hello?x=1"}) {
    const std::string answer = Get(server->address(), path);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_NE(answer.find("Content-Length: 6\r\n"), std::string::npos) << answer;
    EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
    EXPECT_EQ(BodyOf(answer), "hello\n");
  }
  const std::string head = Get(server->address(), "/hello", "HEAD");
  EXPECT_NE(head.find("Content-Length: 6\r\n"), std::string::npos) << head;
  EXPECT_EQ(BodyOf(head), "");
}

TEST(HttpServerTest, SaysWhatItDoesNotDo) {
  const auto server = Start();
  EXPECT_TRUE(Get(server->address(), "/else").starts_with("HTTP/1.1 404 "));
  EXPECT_TRUE(Get(server->address(), "/throws").starts_with("HTTP/1.1 500 "));
  for (const std::string method : {"POST", "PUT", "DELETE", "OPTIONS", "BREW"}) {
    const std::string answer = Get(server->address(), "/hello", method);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 405 ")) << method << ": " << answer;
    EXPECT_NE(answer.find("Allow: GET, HEAD\r\n"), std::string::npos) << answer;
  }
  for (const std::string garbage :
       {"\x16\x03\x01\x02", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\r\n\r\n"}) {
    HttpClient client(server->address());
    ASSERT_TRUE(client.Send(garbage + std::string(64, '\r')));
    EXPECT_TRUE(client.ReadAll().starts_with("HTTP/1.1 400 ")) << garbage;
  }
  EXPECT_EQ(BodyOf(Get(server->address(), "/hello")), "hello\n");
}

TEST(HttpServerTest, SilentCallersCannotKeepOutOneWhoAsks) {
  const auto server = Start({.listen = "", .max_connections = 8, .timeout = std::chrono::hours(1)});
  std::vector<HttpClient> silent;
  for (int i = 0; i < 100; ++i) {
    silent.emplace_back(server->address());
    ASSERT_TRUE(silent.back().Send("GET /hello HTTP/1.1\r\nX-Slow: "));
    if (i % 10 != 0) continue;
    EXPECT_EQ(BodyOf(Get(server->address(), "/hello")), "hello\n");
  }
  // The oldest had to go, the newest are still waited for.
  EXPECT_EQ(silent.front().ReadAll(), "");
  ASSERT_TRUE(silent.back().Send("done\r\n\r\n"));
  EXPECT_EQ(BodyOf(silent.back().ReadAll()), "hello\n");
}

TEST(HttpServerTest, ACallerWhoIsSlowIsCut) {
  const auto server = Start({.listen = "", .timeout = milliseconds(100)});
  HttpClient silent(server->address());
  HttpClient half(server->address());
  ASSERT_TRUE(half.Send("GET /hello HT"));
  HttpClient trickle(server->address());
  ASSERT_TRUE(trickle.Send("GET /hello HTTP/1.1\r\nX: "));
  while (!trickle.HasNews(1) && trickle.Send("x")) {
  }
  EXPECT_EQ(trickle.ReadAll(), "");
  EXPECT_EQ(silent.ReadAll(), "");
  EXPECT_EQ(half.ReadAll(), "");
}

TEST(HttpServerTest, ACallerWhoDoesNotReadIsCutAndHoldsUpNobody) {
  const auto server = Start({.listen = "", .timeout = milliseconds(500)});
  HttpClient stuck(server->address());
  ASSERT_TRUE(stuck.Send("GET /large HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(BodyOf(Get(server->address(), "/hello")), "hello\n");
  while (stuck.Send("more")) {  // until it is cut
    EXPECT_EQ(BodyOf(Get(server->address(), "/hello")), "hello\n");
  }
  EXPECT_LT(stuck.ReadAll().size(), kLargeBytes);
}

TEST(HttpServerTest, ALongHeadIsRefusedAndNeverHeld) {
  const auto server = Start();
  HttpClient client(server->address());
  const std::string line = "X-Header: " + std::string(1000, 'x') + "\r\n";
  ASSERT_TRUE(client.Send("GET /hello HTTP/1.1\r\n"));
  for (int i = 0; i < 16; ++i) ASSERT_TRUE(client.Send(line));
  EXPECT_TRUE(client.ReadAll().starts_with("HTTP/1.1 431 "));
  for (const std::string start : {"GET /", "GET /hello HTTP/1.1\r\nX: "}) {
    HttpClient endless(server->address());
    ASSERT_TRUE(endless.Send(start));
    while (endless.Send(line.substr(10, 900))) {  // until it is cut
    }
  }
  EXPECT_EQ(BodyOf(Get(server->address(), "/hello")), "hello\n");
}

TEST(HttpServerTest, ABodyIsNotReadAndDoesNotCostTheAnswer) {
  const auto server = Start();
  HttpClient client(server->address());
  ASSERT_TRUE(client.Send("GET /hello HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n"));
  ASSERT_TRUE(client.Send(std::string(16 << 10, 'x')));
  EXPECT_EQ(BodyOf(client.ReadAll()), "hello\n");
}

TEST(HttpServerTest, SaysWhyItCannotListen) {
  const auto server = Start();
  const auto taken = HttpServer::Start({.listen = server->address()}, Handle);
  EXPECT_TRUE(absl::IsUnavailable(taken.status())) << taken.status();
  EXPECT_NE(Message(taken.status()).find(server->address()), std::string_view::npos);
  for (const std::string listen : {"8080", ":8080", "127.0.0.1:none"}) {
    EXPECT_FALSE(HttpServer::Start({.listen = listen}, Handle).ok()) << listen;
  }
}

TEST(HttpServerTest, EndsAtOnceWhateverItsCallersDo) {
  auto server = Start({.listen = "", .timeout = std::chrono::hours(1)});
  HttpClient silent(server->address());
  HttpClient stuck(server->address());
  ASSERT_TRUE(stuck.Send("GET /large HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(BodyOf(Get(server->address(), "/hello")), "hello\n");
  server.reset();
  EXPECT_EQ(silent.ReadAll(), "");
}

}  // namespace
}  // namespace catena
