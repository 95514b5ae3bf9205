// Kineto's spans in our trace. A GPU is not needed: operations of the host stand for its kernels.
#include "trainer/kineto.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/json.h"

namespace muster::trainer {
namespace {

using namespace std::chrono_literals;
using Catch::Matchers::WithinAbs;
using trace::Clock;

const c10::Device kHost{c10::kCPU};
const c10::Device kFirstGpu{c10::kCUDA, 0};
const c10::Device kSecondGpu{c10::kCUDA, 1};

struct Row {
  std::string name, category, span;
  double begin_us = 0, end_us = 0;
};

// The spans of a trace, in its order.
std::vector<Row> rows_of(const std::string& text) {
  const nlohmann::json events = parse_json(text)["traceEvents"];
  std::map<std::int64_t, std::string> names;
  for (const auto& event : events)
    if (event["name"] == "thread_name") names[event["tid"]] = event["args"]["name"];
  std::vector<Row> rows;
  for (const auto& event : events) {
    if (event["ph"] != "X") continue;
    const double begin = event["ts"], lasts = event["dur"];
    rows.push_back({names[event["tid"]], event["cat"], event["name"], begin, begin + lasts});
  }
  return rows;
}

TEST_CASE("Kineto's spans are on the clock of our trace, to 100 us", "[unit]") {
  constexpr int kProducts = 20;
  constexpr double kTolerance_us = 100;
  const at::Tensor a = at::rand({64, 64});
  at::mm(a, a);
  trace::start();
  trace::name_thread("test");
  Kineto kineto(Kineto::Watched::kHost);
  for (int i = 0; i < kProducts; ++i) {
    {
      const trace::Span ours("operation", "ours");
      at::mm(a, a);
    }
    std::this_thread::sleep_for(3ms);  // far more than the tolerance: no span fits its neighbour
  }
  std::vector<KinetoSpan> products = kineto.stop();
  std::erase_if(products, [](const KinetoSpan& span) { return span.name != "aten::mm"; });
  for (KinetoSpan& span : products) {
    CHECK(span.device == kHost);
    span.device = kFirstGpu;
  }
  CHECK(add_kernels(products) == kProducts);

  std::vector<Row> ours, theirs;
  for (const Row& row : rows_of(trace::stop("rank 0").json)) {
    if (row.category == "kernel") theirs.push_back(row);
    if (row.span == "ours") ours.push_back(row);
  }
  REQUIRE(ours.size() == kProducts);
  REQUIRE(theirs.size() == kProducts);
  std::ranges::sort(theirs, {}, &Row::begin_us);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    CAPTURE(i, ours[i].begin_us, theirs[i].begin_us, theirs[i].end_us, ours[i].end_us);
    CHECK(theirs[i].begin_us >= ours[i].begin_us - kTolerance_us);
    CHECK(theirs[i].end_us <= ours[i].end_us + kTolerance_us);
    CHECK(theirs[i].end_us > theirs[i].begin_us);
  }
}

TEST_CASE("kernels have a row for each GPU and stream; what the host did is left out", "[unit]") {
  trace::start();
  const Clock::time_point began = Clock::now();
  const auto span = [&](const char* name, c10::Device device, int stream, int at_us) {
    return KinetoSpan{.name = name,
                      .device = device,
                      .stream = stream,
                      .begin = began + at_us * 1us,
                      .end = began + at_us * 1us + 7us};
  };
  CHECK(
      add_kernels({span("gemm<\"bf16\">", kFirstGpu, 7, 10), span("cudaLaunchKernel", kHost, 0, 2),
                   span("Memcpy DtoH (Device -> Pinned)", kFirstGpu, 20, 15),
                   span("Memset (Device)", kSecondGpu, 7, 30),
                   span("gemm<\"bf16\">", kFirstGpu, 7, 40)}) == 4);
  const std::vector<Row> rows = rows_of(trace::stop("rank 0").json);
  REQUIRE(rows.size() == 4);
  const std::vector<std::pair<std::string, std::string>> expected{
      {"GPU 0 stream 7", "gemm<\"bf16\">"},
      {"GPU 0 stream 20", "Memcpy DtoH (Device -> Pinned)"},
      {"GPU 1 stream 7", "Memset (Device)"},
      {"GPU 0 stream 7", "gemm<\"bf16\">"}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(i);
    CHECK(rows[i].name == expected[i].first);
    CHECK(rows[i].span == expected[i].second);
    CHECK(rows[i].category == "kernel");
    CHECK_THAT(rows[i].end_us - rows[i].begin_us, WithinAbs(7, 0.01));
  }
  CHECK_THAT(rows[3].begin_us - rows[0].begin_us, WithinAbs(30, 0.01));
}

TEST_CASE("a wall clock that is set or slewed while Kineto watches moves no span", "[unit]") {
  constexpr std::int64_t kNow_ns = 1'795'000'000'000'000'000;  // as large as they are
  const Clock::time_point began = Clock::now();
  const ClockPair start{.steady = began, .unix_ns = kNow_ns};
  for (const std::chrono::nanoseconds gained : {0ns, 2'000'000ns, -500'000'000ns}) {
    CAPTURE(gained.count());
    const ClockPair end{.steady = began + 10s, .unix_ns = kNow_ns + (10s + gained).count()};
    const std::int64_t middle = kNow_ns + (10s + gained).count() / 2;
    const auto off = steady_time(middle, start, end) - (began + 5s);
    CHECK(std::chrono::abs(off) < 1us);
    CHECK(std::chrono::abs(steady_time(end.unix_ns, start, end) - end.steady) < 1us);
  }
  CHECK(steady_time(kNow_ns + 5, start, start) == began + 5ns);
}

TEST_CASE("Kineto without a GPU hears of no kernel, and may be left alone", "[unit]") {
  { const Kineto unstopped(Kineto::Watched::kGpu); }
  Kineto kineto(Kineto::Watched::kGpu);
  at::mm(at::ones({8, 8}), at::ones({8, 8}));
  std::vector<KinetoSpan> spans = kineto.stop();
  std::erase_if(spans, [](const KinetoSpan& span) { return span.device.is_cpu(); });
  CHECK(spans.empty());
}

}  // namespace
}  // namespace muster::trainer
