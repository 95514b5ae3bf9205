#include "launcher/serve/http/http_server.h"

#include <fmt/core.h>
#include <httplib.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "launcher/serve/http/connection.h"
#include "launcher/serve/http/worker_pool.h"

namespace muster::launcher {
namespace {

// What the thread's current request is, beside what the library keeps of it.
struct Current {
  std::string path;
  bool understood = false;  // its line and headers
  bool has_body = false;
  bool close = false;  // the rest of its body is not read, so nothing can follow
  Connection* connection = nullptr;
};
thread_local Current current;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

constexpr const char* kEveryPost = "/";  // the path that all of them are given for the library

Method method_of(const std::string& name) {
  if (name == "GET" || name == "HEAD") return Method::kGet;
  return name == "POST" ? Method::kPost : Method::kOther;
}

HttpRequest seen(const httplib::Request& given) {
  HttpRequest request;
  request.method = method_of(given.method);
  request.path = current.path;
  request.query = given.params;
  request.host = given.get_header_value("Host");
  request.origin = given.get_header_value("Origin");
  request.authorization = given.get_header_value("Authorization");
  request.cookie = given.get_header_value("Cookie");
  request.content_type = given.get_header_value("X-Muster-Content-Type");
  return request;
}

void give(const HttpAnswer& answer, httplib::Response& response) {
  response.status = answer.status;
  for (const auto& [name, value] : answer.headers) response.set_header(name, value);
  response.set_content(answer.body, answer.type);
}

// What the library refuses by itself has no body.
void explain(httplib::Response& response) {
  if (!response.body.empty()) return;
  switch (response.status) {
    case 404: return give(error_answer(404, "not there"), response);
    case 413: return give(error_answer(413, "the body is larger than this server takes"), response);
    case 414: return give(error_answer(414, "the address is longer than 8192 bytes"), response);
    default: break;
  }
  give(
      error_answer(response.status, "the request is not understood, or did not come whole in time"),
      response);
}

}  // namespace

class HttpServer::Impl final : public httplib::Server {
 public:
  Impl(const HttpOptions& options, Guard guard, Handle handle, Told told, const Bound& bound)
      : options_(options),
        guard_(std::move(guard)),
        handle_(std::move(handle)),
        told_(std::move(told)) {
    limits_.body_bytes = options_.most_body_bytes;
    limits_.idle = options_.idle;
    limits_.request = options_.request;
    new_task_queue = [this] { return new WorkerPool(options_.threads, options_.most_waiting); };
    // Without the library's SO_REUSEPORT, by which two servers would share a port unseen.
    set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    // An answer is sent in two parts; the second would wait until the first is acknowledged.
    set_tcp_nodelay(true);
    set_payload_max_length(options_.most_body_bytes);
    set_handlers();
    bind();
    bound(port_);
    listening_ = std::thread([this] { listen_after_bind(); });
  }

  ~Impl() override { finish(); }

  int port() const { return port_; }

  void finish() {
    stopping_ = true;
    // stop() before the thread listens would be lost.
    while (!is_running() && listening_.joinable() && !ended_)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    stop();
    if (listening_.joinable()) listening_.join();
    ended_ = true;
  }

 private:
  void bind() {
    if (options_.port == 0) {
      port_ = bind_to_any_port(options_.host);
    } else if (bind_to_port(options_.host, options_.port)) {
      port_ = options_.port;
    }
    if (port_ <= 0)
      throw PreflightError(fmt::format(
          "serve: cannot listen on {}:{}: it is taken, or the address is none of this machine; "
          "--port P takes another, --port 0 any that is free",
          options_.host, options_.port));
  }

  void set_handlers() {
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      return before_body(request, response);
    });
    Post(kEveryPost,
         [this](const httplib::Request& request, httplib::Response& response,
                const httplib::ContentReader& reader) { with_body(request, response, reader); });
    set_expect_100_continue_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          if (!too_large(request)) return 100;
          current.close = true;
          response.status = 413;
          return 413;
        });
    set_error_handler(
        Handler([](const httplib::Request&, httplib::Response& response) { explain(response); }));
    set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
          give(error_answer(500, "internal error"), response);
        });
    set_post_routing_handler([this](const httplib::Request&, httplib::Response& response) {
      const bool refused = response.status >= 400 && current.has_body;
      if (refused || !current.understood) current.close = true;
      if (current.close) response.set_header("Connection", "close");
      if (current.connection != nullptr) current.connection->answer_begins();
      told_(current.path, response.status);
    });
  }

  bool too_large(const httplib::Request& request) const {
    return request.get_header_value<std::uint64_t>("Content-Length") > options_.most_body_bytes;
  }

  // Everything but a POST's body ends here, before the library compares paths.
  HandlerResponse before_body(const httplib::Request& request, httplib::Response& response) {
    const HttpRequest asked = seen(request);
    if (const std::unique_ptr<HttpAnswer> refused = guard_(asked)) {
      give(*refused, response);
      return HandlerResponse::Handled;
    }
    if (asked.method == Method::kPost && !too_large(request)) return HandlerResponse::Unhandled;
    if (asked.method == Method::kPost)
      response.status = 413;
    else
      answer(asked, response);
    if (response.status >= 400) explain(response);
    return HandlerResponse::Handled;
  }

  // A body without a length, or one that grows when it is unpacked, is counted as it comes.
  void with_body(const httplib::Request& request, httplib::Response& response,
                 const httplib::ContentReader& reader) {
    HttpRequest asked = seen(request);
    bool over = false;
    const bool whole = reader([&](const char* bytes, size_t count) {
      over = asked.body.size() + count > options_.most_body_bytes;
      if (!over) asked.body.append(bytes, count);
      return !over;
    });
    if (over) response.status = 413;
    if (!whole || over) {
      if (response.status < 400) response.status = 400;
      explain(response);
      return;
    }
    answer(asked, response);
  }

  void answer(const HttpRequest& asked, httplib::Response& response) {
    try {
      give(handle_(asked), response);
    } catch (const std::exception& error) {
      log::error("serve: {}: {}", asked.path, error.what());
      give(error_answer(500, error.what()), response);
    }
  }

  // The library routes by expression and parses multipart bodies with them: every POST gets one
  // path, and a body's type is put where the library does not look.
  void set_up(httplib::Request& request, Connection& connection) {
    connection.head_is_read();
    current.understood = true;
    current.path = request.path;
    current.has_body = request.has_header("Content-Length") ||
                       request.has_header("Transfer-Encoding") || request.method == "POST";
    if (request.method == "POST") request.path = kEveryPost;
    const std::string type = request.get_header_value("Content-Type");
    request.headers.erase("Content-Type");
    request.headers.erase("X-Muster-Content-Type");
    if (!type.empty()) request.set_header("X-Muster-Content-Type", type);
  }

  bool process_and_close_socket(socket_t socket) override {
    Connection connection(socket, limits_);
    const auto stopping = [this] { return stopping_.load(); };
    constexpr int kMostRequests = 1000;  // then the client connects anew, and others get a turn
    for (int left = kMostRequests; left > 0 && connection.wait_for_request(stopping); --left) {
      current = Current{};
      current.connection = &connection;
      current.close = left == 1;
      bool closed = false;
      const bool whole =
          process_request(connection, left == 1, closed,
                          [&](httplib::Request& request) { set_up(request, connection); });
      if (!whole || closed || current.close) break;
    }
    current.connection = nullptr;
    return true;
  }

  HttpOptions options_;
  Guard guard_;
  Handle handle_;
  Told told_;
  ConnectionLimits limits_;
  int port_ = -1;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> ended_ = false;
  std::thread listening_;
};

HttpServer::HttpServer(const HttpOptions& options, Guard guard, Handle handle, Told told,
                       const Bound& bound)
    : impl_(std::make_unique<Impl>(options, std::move(guard), std::move(handle), std::move(told),
                                   bound)) {}

HttpServer::~HttpServer() = default;

int HttpServer::port() const { return impl_->port(); }

void HttpServer::stop() { impl_->finish(); }

}  // namespace muster::launcher
