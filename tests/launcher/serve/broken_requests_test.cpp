// Clients that send too much, too slowly, or nothing that is HTTP: each is answered or dropped, and
// the next one is served.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/process/fd.h"
#include "serving.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using test::Serving;
using test::with_detector;

namespace {

Fd connected(int port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  const timeval patience{10, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return fd;
}

void send_all(const Fd& fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

// Until the server closes.
std::string all_of(const Fd& fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = ::recv(fd.get(), buffer.data(), buffer.size(), 0)) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  return text;
}

std::string said(const Serving& serving, const std::string& request) {
  const Fd fd = connected(serving.app->port());
  send_all(fd, request);
  return all_of(fd);
}

const std::string kWho = "Authorization: Bearer secret\r\nConnection: close\r\n";

ServeOptions small() {
  ServeOptions options = with_detector();
  options.http.most_body_bytes = 100'000;
  options.http.request = std::chrono::milliseconds(500);
  options.http.idle = std::chrono::milliseconds(500);
  options.http.threads = 4;
  return options;
}

}  // namespace

TEST_CASE("serve: a body above the limit is 413, however it comes", "[unit]") {
  const Serving serving(small());
  auto client = serving.client();
  CHECK(client.Post("/v1/detect", std::string(100'000, 'x'), "image/png")->status == 200);
  const auto over = client.Post("/v1/detect", std::string(100'001, 'x'), "image/png");
  REQUIRE(over);
  CHECK(over->status == 413);
  CHECK_THAT(over->body, ContainsSubstring("larger than this server takes"));

  const std::string huge =
      "POST /v1/detect HTTP/1.1\r\nHost: a\r\n" + kWho + "Content-Length: 99999999999999\r\n\r\nx";
  CHECK_THAT(said(serving, huge), StartsWith("HTTP/1.1 413"));
  const std::string expecting = "POST /v1/detect HTTP/1.1\r\nHost: a\r\n" + kWho +
                                "Content-Length: 200000\r\nExpect: 100-continue\r\n\r\n";
  CHECK_THAT(said(serving, expecting), StartsWith("HTTP/1.1 413"));

  std::string chunked =
      "POST /v1/detect HTTP/1.1\r\nHost: a\r\n" + kWho + "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 30; ++i) chunked += "1000\r\n" + std::string(4096, 'y') + "\r\n";
  CHECK_THAT(said(serving, chunked + "0\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  CHECK(client.Get("/healthz")->status == 200);
}

TEST_CASE("serve: what is no request ends its own connection alone", "[unit]") {
  const Serving serving(small());
  const std::string get = "GET /v1/runs HTTP/1.1\r\nHost: a\r\n" + kWho;
  CHECK_THAT(said(serving, "nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  CHECK_THAT(said(serving, "GET / HTTP/9.9\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  CHECK_THAT(said(serving, "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n\r\n"),
             StartsWith("HTTP/1.1 414"));
  CHECK_THAT(said(serving, get + "\r\n"), StartsWith("HTTP/1.1 200"));
  said(serving, std::string("\0\1\2\3\xff\xfe\r\n\r\n", 10));
  said(serving, "");
  std::string many = get;  // more headers than the head may have
  for (int i = 0; i < 5000; ++i) many += "X-Header-Number: " + std::to_string(i) + "\r\n";
  CHECK(said(serving, many + "\r\n").find("200 OK") == std::string::npos);
  said(serving, get + "Range: bytes=" + std::string(7000, '1') + "-\r\n\r\n");
  said(
      serving, get + "Range: bytes=0-1" + [] {
        std::string more;
        for (int i = 0; i < 1500; ++i) more += ",0-1";
        return more;
      }() + "\r\n\r\n");
  said(serving,
       "POST /v1/detect HTTP/1.1\r\nHost: a\r\n" + kWho +
           "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 60000\r\n\r\n" +
           "--b\r\nContent-Disposition: form-data; name=\"" + std::string(59'000, 'n'));
  auto client = serving.client();
  CHECK(client.Get("/healthz")->status == 200);
}

TEST_CASE("serve: who sends slowly is dropped, and holds nobody up for longer", "[unit]") {
  const Serving serving(small());
  std::vector<Fd> slow;  // as many as there are threads
  for (int i = 0; i < 4; ++i) {
    slow.push_back(connected(serving.app->port()));
    send_all(slow.back(), "GET /v1/runs HTTP/1.1\r\nHo");
  }
  const auto begin = std::chrono::steady_clock::now();
  auto client = serving.client();
  const auto answer = client.Get("/healthz");
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(6));
  for (const Fd& fd : slow) CHECK(all_of(fd).find("200 OK") == std::string::npos);
}

TEST_CASE("serve: a connection serves many requests, one after the other", "[unit]") {
  const Serving serving(small());
  auto client = serving.client();
  client.set_keep_alive(true);
  for (int i = 0; i < 50; ++i) {
    REQUIRE(client.Get("/v1/runs")->status == 200);
    REQUIRE(client.Post("/v1/detect", "x", "image/png")->status == 200);
    REQUIRE(client.Post("/v1/detect", "bad", "image/png")->status == 422);
  }
}

// A second part of an answer that waits until the client acknowledges the first waits for 40 ms.
TEST_CASE("serve: an answer on a kept connection comes at once", "[unit]") {
  const Serving serving(small());
  auto client = serving.client();
  client.set_keep_alive(true);
  client.set_tcp_nodelay(true);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) REQUIRE(client.Get("/v1/runs")->status == 200);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
}
