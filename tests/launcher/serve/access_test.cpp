// Who is let in, and where a path from outside can lead.
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "launcher/serve/http/access.h"
#include "launcher/serve/inside.h"
#include "serving.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using test::Serving;

TEST_CASE("serve: without the token nothing is told but that it lives", "[unit]") {
  const Serving serving;
  auto stranger = serving.client(false);
  CHECK(stranger.Get("/healthz")->status == 200);
  for (const Route& route : serving.app->routes()) {
    if (route.pattern == "/healthz") continue;
    INFO(route.pattern);
    const auto answer = route.method == Method::kGet
                            ? stranger.Get(route.pattern)
                            : stranger.Post(route.pattern, "x", "image/png");
    REQUIRE(answer);
    CHECK(answer->status == 401);
    CHECK(answer->body.find("one") == std::string::npos);
  }
  stranger.set_bearer_token_auth("secret2");
  CHECK(stranger.Get("/v1/runs")->status == 401);
  auto guest = serving.client();
  CHECK(guest.Get("/v1/runs")->status == 200);
}

TEST_CASE("serve: the printed address gives a cookie, and takes the token out of sight", "[unit]") {
  const Serving serving;
  auto browser = serving.client(false);
  CHECK_THAT(serving.app->address(), ContainsSubstring("/?token=secret"));
  CHECK(browser.Get("/?token=wrong")->status == 401);
  const auto answer = browser.Get("/?token=secret");
  CHECK(answer->status == 303);
  CHECK(answer->get_header_value("Location") == "/");
  const std::string cookie = answer->get_header_value("Set-Cookie");
  CHECK_THAT(cookie, ContainsSubstring("HttpOnly") && ContainsSubstring("SameSite=Strict"));
  const httplib::Headers headers{{"Cookie", "other=1; " + cookie.substr(0, cookie.find(';'))}};
  CHECK(browser.Get("/v1/runs", headers)->status == 200);
}

TEST_CASE("serve: a page of another site is refused, with a token and without", "[unit]") {
  HttpRequest request;
  request.method = Method::kPost;
  request.path = "/v1/runs/one/stop";
  request.host = "127.0.0.1:8321";
  const Access open("", {"localhost", "127.0.0.1"}, 8321);
  CHECK(open.refusal(request) == nullptr);
  request.origin = "http://127.0.0.1:8321";
  CHECK(open.refusal(request) == nullptr);
  request.origin = "http://evil.example";
  REQUIRE(open.refusal(request) != nullptr);
  CHECK(open.refusal(request)->status == 403);
  request.origin = "null";
  CHECK(open.refusal(request) != nullptr);

  request.method = Method::kGet;  // a name that was made to point here
  request.origin.clear();
  request.host = "evil.example:8321";
  REQUIRE(open.refusal(request) != nullptr);
  CHECK(open.refusal(request)->status == 421);
}

TEST_CASE("serve: no path leads out of a run folder", "[unit]") {
  const Serving serving;
  const fs::path outside = serving.folder.path() / "outside.log";
  fs::create_symlink(outside, serving.run() / "logs" / "link.log");
  fs::create_symlink(serving.folder.path() / "outside.png",
                     serving.run() / "predictions" / "link.png");
  fs::create_directory_symlink(serving.folder.path(), serving.run() / "logs" / "up");
  fs::create_directory_symlink(serving.run(), serving.folder.path() / "runs" / "linked");
  REQUIRE(::mkfifo((serving.run() / "logs" / "pipe.log").c_str(), 0600) == 0);
  auto client = serving.client();
  for (const std::string path :
       {"/v1/runs/../outside.log", "/v1/runs/one/logs/../../../../outside.log",
        "/v1/runs/one/logs/..%2f..%2f..%2foutside.log",
        "/v1/runs/one/logs/%2e%2e/%2e%2e/%2e%2e/outside.log",
        "/v1/runs/one/logs/%2e%2e%2f%2e%2e%2f%2e%2e%2foutside.log",
        "/v1/runs/one/logs/..%252foutside.log", "/v1/runs/one/logs/link.log",
        "/v1/runs/one/logs/up/outside.log", "/v1/runs/one/logs/up%2foutside.log",
        "/v1/runs/one/logs/pipe.log", "/v1/runs/one/logs/x%00.log",
        "/v1/runs/%2e%2e/logs/outside.log", "/v1/runs/one/pictures/link.png",
        "/v1/runs/one/pictures/..%2f..%2f..%2foutside.png",
        "/v1/runs/one%2f..%2f../logs/outside.log", "/v1/runs/linked"}) {
    INFO(path);
    const auto answer = client.Get(path);
    REQUIRE(answer);
    CHECK(answer->status == 404);
    CHECK(answer->body.find("a secret") == std::string::npos);
  }
  CHECK(client.Get("/v1/runs/one/logs/launcher.log")->status == 200);
  CHECK(client.Get("/v1/runs/one/pictures/a.png")->body == "PNG");
  CHECK(client.Get("/v1/runs/one/triage")->status == 422);  // it would follow the links
  const auto listed = client.Get("/v1/runs/one")->body;
  CHECK(listed.find("link.log") == std::string::npos);
}

TEST_CASE("serve: open_inside takes names alone", "[unit]") {
  const TempDir folder;
  fs::create_directories(folder.path() / "in" / "deep");
  write_text(folder.path() / "in" / "deep" / "file", "inside");
  write_text(folder.path() / "file", "outside");
  const fs::path in = folder.path() / "in";
  CHECK(read_inside(in, "deep/file", 100) == "inside");
  CHECK_FALSE(read_inside(in, "deep/file", 3));
  for (const char* name : {"../file", "deep/../../file", "/etc/passwd", "deep//file", "./deep/file",
                           "", "deep", "deep/file/"}) {
    INFO(name);
    CHECK_FALSE(open_inside(in, name));
  }
  fs::create_symlink(in / "deep" / "file", in / "link");
  CHECK_FALSE(open_inside(in, "link"));
}
