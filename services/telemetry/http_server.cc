#include "services/telemetry/http_server.h"

#include <array>
#include <exception>
#include <list>
#include <thread>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

namespace catena {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

// Of what a caller still sends after its answer; past it the connection is cut.
constexpr size_t kMaxDrained = 64 << 10;
// Where a connection cannot be accepted (too many open files), before the next try.
constexpr std::chrono::milliseconds kAcceptPause{100};

class Connection;
// The open ones, oldest first.
using Connections = std::list<Connection*>;

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, const HttpServerOptions& options,
             const HttpServer::Handler& handler, Connections* all)
      : stream_(std::move(socket)),
        handler_(handler),
        all_(all),
        place_(all->insert(all->end(), this)) {
    parser_.header_limit(static_cast<uint32_t>(options.max_head_bytes));
    parser_.body_limit(boost::none);  // it is not read
    stream_.expires_after(options.timeout);
  }
  ~Connection() { Leave(); }

  void Read() {
    http::async_read_header(
        stream_, buffer_, parser_,
        [self = shared_from_this()](error_code error, size_t) { self->OnRead(error); });
  }

  // What is in progress fails, and with it the last reference goes.
  void Close() {
    Leave();
    stream_.close();
  }

 private:
  void Leave() {
    if (std::exchange(listed_, false)) all_->erase(place_);
  }

  void OnRead(error_code error) {
    if (!error) return Answer();
    const bool too_long =
        error == http::error::header_limit || error == http::error::buffer_overflow;
    if (too_long) {
      return Write({.status = 431, .body = "the request's head is too long\n"}, false);
    }
    // Beast's own errors are of what came; the rest is of the connection.
    if (error.category() == make_error_code(http::error::bad_method).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message) {
      Write({.status = 400, .body = "this is no HTTP request\n"}, false);
    }
  }

  void Answer() {
    const auto& request = parser_.get();
    const bool head = request.method() == http::verb::head;
    if (!head && request.method() != http::verb::get) {
      return Write({.status = 405, .body = "only GET and HEAD are answered\n"}, false);
    }
    const std::string_view target(request.target().data(), request.target().size());
    Write(Handle(target.substr(0, target.find('?'))), head);
  }

  HttpResponse Handle(std::string_view path) const {
    try {
      return handler_(path);
    } catch (const std::exception& e) {  // of memory, most likely
      return {.status = 500, .body = "the answer could not be made\n"};
    }
  }

  void Write(HttpResponse answer, bool head) {
    response_.version(11);
    response_.result(static_cast<unsigned>(answer.status));
    response_.keep_alive(false);
    response_.set(http::field::content_type, answer.content_type);
    response_.set(http::field::cache_control, "no-store");
    if (answer.status == 405) response_.set(http::field::allow, "GET, HEAD");
    response_.content_length(answer.body.size());
    if (!head) response_.body() = std::move(answer.body);
    http::async_write(stream_, response_, [self = shared_from_this()](error_code error, size_t) {
      if (error) return;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, error);
      self->Drain();
    });
  }

  // A socket that is closed while something lies unread in it takes the answer with it.
  void Drain() {
    stream_.async_read_some(asio::buffer(drained_),
                            [self = shared_from_this()](error_code error, size_t n) {
                              self->drained_bytes_ += n;
                              if (!error && self->drained_bytes_ < kMaxDrained) self->Drain();
                            });
  }

  beast::tcp_stream stream_;
  const HttpServer::Handler& handler_;
  Connections* const all_;
  const Connections::iterator place_;
  bool listed_ = true;
  beast::flat_buffer buffer_{16 << 10};
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> response_;
  std::array<char, 4096> drained_;
  size_t drained_bytes_ = 0;
};

absl::StatusOr<std::pair<std::string, std::string>> HostAndPort(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  if (colon == std::string::npos || colon == 0) {
    return absl::InvalidArgumentError(
        fmt::format("{} is no address for HTTP: give host:port", Quoted(listen)));
  }
  std::string host = listen.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return std::pair(host, listen.substr(colon + 1));
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, Handler handler)
      : options_(options), handler_(std::move(handler)) {}
  ~Impl() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen() {
    CATENA_ASSIGN_OR_RETURN(const auto where, HostAndPort(options_.listen));
    const auto& [host, port] = where;
    error_code error;
    const auto found = tcp::resolver(io_).resolve(host, port, tcp::resolver::passive, error);
    if (error || found.empty()) return CannotListen(error);
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (error) return CannotListen(error);
    address_ = fmt::format("{}:{}", options_.listen.substr(0, options_.listen.rfind(':')),
                           acceptor_.local_endpoint(error).port());
    Accept();
    thread_ = std::thread([this] { io_.run(); });
    return absl::OkStatus();
  }

  const std::string& address() const { return address_; }

 private:
  absl::Status CannotListen(const error_code& error) const {
    return absl::UnavailableError(
        fmt::format("cannot listen for HTTP at {}: {}; is the address of this machine, and free?",
                    Quoted(options_.listen), error.message()));
  }

  void Accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (error) {
        pause_.expires_after(kAcceptPause);
        return pause_.async_wait([this](error_code) { Accept(); });
      }
      if (connections_.size() >= options_.max_connections) connections_.front()->Close();
      std::make_shared<Connection>(std::move(socket), options_, handler_, &connections_)->Read();
      Accept();
    });
  }

  const HttpServerOptions options_;
  const Handler handler_;
  std::string address_;
  Connections connections_;  // outlives io_, which holds the connections
  asio::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  asio::steady_timer pause_{io_};
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                              Handler handler) {
  auto impl = std::make_unique<Impl>(options, std::move(handler));
  CATENA_RETURN_IF_ERROR(impl->Listen());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() = default;

const std::string& HttpServer::address() const { return impl_->address(); }

}  // namespace catena
