#include "base/trace.h"

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"

namespace muster {
namespace {

TEST_CASE("a trace holds the spans of all threads, and none from before or after", "[unit]") {
  { const trace::Span unseen("phase", "before"); }
  trace::start();
  trace::name_thread("test");
  { const trace::Span span("phase", "forward \"x\""); }
  std::thread([] {
    trace::name_thread("other");
    const trace::Span span("loader", "micro-batch");
  }).join();
  const trace::Seen seen = trace::stop("rank 0");
  { const trace::Span unseen("phase", "after"); }
  CHECK(seen.dropped == 0);
  const nlohmann::json events = parse_json(seen.json)["traceEvents"];
  std::vector<std::string> names;
  for (const auto& event : events) {
    if (event["ph"] == "X") names.push_back(event["name"]);
  }
  CHECK(names == std::vector<std::string>{"forward \"x\"", "micro-batch"});
  CHECK_FALSE(trace::on());
}

TEST_CASE("a trace has rows that are no threads, one for each name", "[unit]") {
  trace::start();
  const trace::Clock::time_point now = trace::Clock::now();
  trace::add("phase", "forward", now, now);
  for (const std::string row : {"GPU 0 stream 7", "GPU 0 stream 20", "GPU 0 stream 7"})
    trace::add_to_row(row, "kernel", "gemm", now, now + std::chrono::microseconds(5));
  const nlohmann::json events = parse_json(trace::stop("rank 0").json)["traceEvents"];
  std::map<std::int64_t, std::string> names;
  std::vector<std::string> rows;
  for (const auto& event : events)
    if (event["name"] == "thread_name") names[event["tid"]] = event["args"]["name"];
  for (const auto& event : events)
    if (event["ph"] == "X" && event["cat"] == "kernel") rows.push_back(names.at(event["tid"]));
  CHECK(rows == std::vector<std::string>{"GPU 0 stream 7", "GPU 0 stream 20", "GPU 0 stream 7"});
  trace::add_to_row("GPU 0 stream 7", "kernel", "after", now, now);
  CHECK_FALSE(trace::on());
}

}  // namespace
}  // namespace muster
