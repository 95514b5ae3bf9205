// The one door to cpp-httplib. It parses requests and knows keep-alive and compression; sizes,
// times and numbers of clients are bounded here, and no expression of the library's meets a
// client's text (std::regex recurses over it).
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "launcher/serve/http/message.h"

namespace muster::launcher {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 0;  // 0: any free one
  std::size_t most_body_bytes = 32u << 20;
  std::size_t threads = 32;        // clients that are answered at a time
  std::size_t most_waiting = 128;  // clients that are let in while all threads are busy
  std::chrono::milliseconds idle{5'000};
  std::chrono::milliseconds request{60'000};
};

class HttpServer {
 public:
  // Asked before a body is read: an answer ends the request. `handle` may run in several threads at
  // once; what it throws is answered with 500.
  using Guard = std::function<std::unique_ptr<HttpAnswer>(const HttpRequest&)>;
  using Handle = std::function<HttpAnswer(const HttpRequest&)>;
  // Told of every answer, also of those that the library gives itself.
  using Told = std::function<void(const std::string& path, int status)>;

  // Called with the port, before the first request is read.
  using Bound = std::function<void(int port)>;

  // Listens from here on. Throws PreflightError.
  HttpServer(const HttpOptions& options, Guard guard, Handle handle, Told told, const Bound& bound);
  ~HttpServer();  // stops
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;  // that it listens on
  void stop();       // returns when no request is being answered

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::launcher
