// Runs as a browser and a program see them.
#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fstream>
#include <set>

#include "launcher/serve/metrics_tail.h"
#include "launcher/serve/page_files.h"
#include "launcher/serve/run_catalog.h"
#include "launcher/serve/thin_series.h"
#include "serving.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;
using test::make_run;
using test::Serving;

namespace {

json got(httplib::Client& client, const std::string& path) {
  const auto answer = client.Get(path);
  REQUIRE(answer);
  INFO(path << ": " << answer->body);
  REQUIRE(answer->status == 200);
  return json::parse(answer->body);
}

void append(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::app) << text;
}

}  // namespace

TEST_CASE("serve: runs are listed, nested ones too, and told one by one", "[unit]") {
  const Serving serving;
  auto client = serving.client();
  const json runs = got(client, "/v1/runs");
  REQUIRE(runs.size() == 2);
  std::set<std::string> ids;
  for (const json& run : runs) ids.insert(run["id"].get<std::string>());
  CHECK(ids == std::set<std::string>{"one", "sweep~two"});
  const json one = got(client, "/v1/runs/one");
  CHECK(one["step"] == 40);
  CHECK(one["best_ap"]["value"] == 0.04);
  CHECK(one["best_ap"]["step"] == 40);
  CHECK(one["images_per_s"] == 16.0);
  CHECK(one["logs"] == json{"launcher.log"});
  CHECK(one["pictures"] == 1);
  CHECK(client.Get("/v1/runs/two")->status == 404);
  CHECK(client.Get("/v1/runs/one/logs/launcher.log")->body == "line one\n\\x1b[31mline two\n");
  CHECK(got(client, "/v1/runs/one/pictures")[0]["picture"] == "a.png");
}

TEST_CASE("serve: a damaged run is named, and hides no other", "[unit]") {
  const Serving serving;
  fs::create_directories(serving.run("broken"));
  write_text(serving.run("broken") / "metrics.jsonl", "not json\n{\"step\": 1e999}\n{\"step\":");
  write_text(serving.run("broken") / "launch.json", "[1, 2");
  make_run(serving.run("<img src=x onerror=alert(1)>"), 1);
  auto client = serving.client();
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  const json runs = got(client, "/v1/runs");
  CHECK(runs.size() == 4);
  const json curves = got(client, "/v1/runs/broken/metrics");
  CHECK(curves["damaged"] == 2);
  CHECK(curves["series"].empty());
}

TEST_CASE("serve: curves are read on from where the last answer ended", "[unit]") {
  const Serving serving;
  auto client = serving.client();
  const json first = got(client, "/v1/runs/one/metrics");
  CHECK(first["complete"] == true);
  CHECK(first["series"]["loss"].size() == 40);
  CHECK(first["series"]["images_per_s"][0] == json{1, 16.0});
  append(serving.run() / "metrics.jsonl", "{\"step\": 41, \"loss\": 0.5}\n{\"step\": 42, \"lo");
  const std::string next = fmt::format("/v1/runs/one/metrics?generation={}&after={}",
                                       first["generation"].get<std::uint64_t>(),
                                       first["next_after"].get<std::int64_t>());
  const json second = got(client, next);
  CHECK(second["series"] == json{{"loss", {{41, 0.5}}}});
  append(serving.run() / "metrics.jsonl", "ss\": 0.25}\n");
  CHECK(got(client, next)["series"]["loss"].size() == 2);
  make_run(serving.run(), 5);  // a resume cut it: all is read anew
  const json third = got(client, next);
  CHECK(third["generation"] != first["generation"]);
  CHECK(third["series"]["loss"].size() == 5);
}

TEST_CASE("serve: a large file is read a piece at a time, each byte once", "[unit]") {
  const TempDir folder;
  std::string text;
  for (int step = 1; step <= 20'000; ++step)
    text += fmt::format("{{\"step\": {}, \"loss\": {}}}\n", step, step == 12'345 ? 1000.0 : 1.0);
  write_text(folder.path() / "metrics.jsonl", text);
  MetricsTail tail(folder.path(), true);
  int reads = 0;
  while (!tail.at_end() || reads == 0) {
    tail.read_on(50'000);
    ++reads;
  }
  CHECK(reads == static_cast<int>(text.size() / 50'000 + 1));
  CHECK(tail.last_step() == 20'000);
  CHECK(tail.damaged_lines() == 0);
  const auto points = tail.curves().at("loss").after(-1);
  CHECK(points.size() <= ThinSeries::kMostPoints + 1);
  CHECK(points.size() >= 100);
  const bool spike = std::ranges::any_of(points, [](const auto& point) {
    return point == std::pair{12'345.0, 1000.0};
  });
  CHECK(spike);
}

TEST_CASE("serve: a thinned curve keeps its extremes and its order, at any length", "[unit]") {
  for (const int length : {1, 5, 599, 600, 601, 1199, 5000, 100'000}) {
    ThinSeries series;
    for (int x = 0; x < length; ++x) series.add(x, x == length / 3 ? -50 : x % 7);
    const auto points = series.after(-1);
    INFO(length);
    CHECK(points.size() <= ThinSeries::kMostPoints + 1);
    CHECK(std::ranges::is_sorted(points));
    CHECK(std::ranges::any_of(points, [](const auto& point) { return point.second == -50; }));
    CHECK(points.back().first >= length * 0.99 - 1);
  }
}

TEST_CASE("serve: two runs of one name have two ids", "[unit]") {
  const TempDir folder;
  make_run(folder.path() / "a" / "demo", 1);
  make_run(folder.path() / "b" / "demo", 1);
  const RunCatalog catalog({folder.path() / "a" / "demo", folder.path() / "b"});
  CHECK(catalog.runs().size() == 2);
  CHECK(catalog.find("demo") == folder.path() / "a" / "demo");
  CHECK(catalog.find("demo~2") == folder.path() / "b" / "demo");
  CHECK_FALSE(catalog.find("../a/demo"));
}

TEST_CASE("serve: triage explains a run that failed", "[unit]") {
  const Serving serving;
  write_text(
      serving.run() / "logs" / "rank-0.log",
      "2026-11-21 01:02:03.456 [error] [rank 0/1 a] CUDA out of memory. Tried to allocate\n");
  auto client = serving.client();
  const json verdict = got(client, "/v1/runs/one/triage");
  CHECK(verdict.contains("first"));
  CHECK(verdict["matches"].is_array());
}

TEST_CASE("serve: a run is changed only where that was allowed", "[unit]") {
  const Serving reading;
  auto client = reading.client();
  CHECK(client.Post("/v1/runs/one/report", "", "text/plain")->status == 403);
  CHECK(client.Post("/v1/runs/one/stop", "", "text/plain")->status == 403);
  CHECK_FALSE(fs::exists(reading.run() / "report.html"));

  ServeOptions options;
  options.writable = true;
  const Serving writing(std::move(options));
  auto writer = writing.client();
  CHECK(writer.Post("/v1/runs/one/report", "", "text/plain")->status == 200);
  CHECK(fs::exists(writing.run() / "report.html"));
  const auto stopped = writer.Post("/v1/runs/one/stop", "", "text/plain");
  CHECK(stopped->status == 422);
  CHECK_THAT(stopped->body, ContainsSubstring("launcher"));
}

TEST_CASE("serve: /metrics is Prometheus' text, and counts", "[unit]") {
  const Serving serving;
  auto client = serving.client();
  for (int i = 0; i < 3; ++i) client.Get("/v1/runs/one");
  client.Get("/nothing/here");
  const auto answer = client.Get("/metrics");
  CHECK(answer->get_header_value("Content-Type") == "text/plain; version=0.0.4; charset=utf-8");
  CHECK_THAT(
      answer->body,
      ContainsSubstring("muster_requests_total{route=\"/v1/runs/{run}\",status=\"200\"} 3\n") &&
          ContainsSubstring("muster_requests_total{route=\"other\",status=\"404\"} 1\n") &&
          ContainsSubstring("muster_run_step{run=\"sweep~two\"} 20\n"));
}

TEST_CASE("serve: openapi.json has the routes, and the routes have no other", "[unit]") {
  const Serving serving;
  const json api = json::parse(page_file("/openapi.json"));
  std::set<std::string> described;
  for (const auto& [path, methods] : api.at("paths").items())
    for (const auto& [method, about] : methods.items()) {
      described.insert(fmt::format("{} {}", method, path));
      CHECK(about.at("responses").contains("200"));
      CHECK_FALSE(about.at("summary").get<std::string>().empty());
    }
  std::set<std::string_view> parts_of_the_page;
  for (const PageFile& file : page_files()) parts_of_the_page.insert(file.path);
  std::set<std::string> served;
  for (const Route& route : serving.app->routes())
    if (!parts_of_the_page.contains(route.pattern))
      served.insert((route.method == Method::kGet ? "get " : "post ") + route.pattern);
  CHECK(described == served);
  auto client = serving.client();
  CHECK(client.Get("/openapi.json")->body == page_file("/openapi.json"));
}

TEST_CASE("serve: the page needs nothing from elsewhere and is small", "[unit]") {
  std::size_t bytes = 0;
  for (const PageFile& file : page_files()) {
    INFO(file.path);
    bytes += file.text.size();
    CHECK(file.text.size() > 100);
    if (file.path == "/openapi.json") continue;
    const std::string text(file.text);
    for (std::size_t at = 0; (at = text.find("://", at)) != std::string::npos; ++at)
      CHECK_THAT(text.substr(at, 20), Catch::Matchers::StartsWith("://www.w3.org/"));
    CHECK(text.find("innerHTML") == std::string::npos);
    CHECK(text.find("eval(") == std::string::npos);
  }
  CHECK(bytes <= 200'000);
  const Serving serving;
  auto client = serving.client();
  const auto page = client.Get("/");
  CHECK_THAT(page->get_header_value("Content-Security-Policy"),
             ContainsSubstring("default-src 'none'") && ContainsSubstring("script-src 'self'"));
}
