#include "base/trace.h"

#include <catch2/catch_test_macros.hpp>
#include <thread>

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

}  // namespace
}  // namespace muster
