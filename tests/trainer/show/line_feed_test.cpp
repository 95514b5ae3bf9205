#include "trainer/show/line_feed.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <functional>
#include <thread>

#include "base/files.h"
#include "trainer/log_capture.h"

using namespace muster;
using namespace muster::trainer;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

std::vector<std::string> shell(const std::string& script) { return {"sh", "-c", script}; }

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("line feed: every line arrives, in order, and the program sees its end", "[unit]") {
  const TempDir dir;
  const test::LogCapture captured;
  std::string expected;
  {
    LineFeed feed({.command = shell("cat > \"$OUT\"; echo end >> \"$OUT\""),
                   .environment = {{"OUT", (dir.path() / "out").string()}}});
    for (int i = 0; i < 5000; ++i) {
      feed.add("line " + std::to_string(i));
      expected += "line " + std::to_string(i) + "\n";
    }
  }
  CHECK(read_text(dir.path() / "out") == expected + "end\n");
  CHECK(captured.text().empty());
}

TEST_CASE("line feed: a program that is not there is said once, and stops nothing", "[fault]") {
  const test::LogCapture captured;
  LineFeed feed({.command = {"/no/such/program"}});
  for (int i = 0; i < 3; ++i) feed.add("line");
  CHECK(feed.lost() == 3);
  CHECK_THAT(captured.text(),
             ContainsSubstring("/no/such/program cannot be started: No such file or directory"));
}

TEST_CASE("line feed: a program that ends early is said with its code", "[fault]") {
  const test::LogCapture captured;
  {
    LineFeed feed({.command = shell("read line; exit 3")});
    for (int i = 0; i < 200; ++i) {
      feed.add(std::string(1000, 'x'));
      std::this_thread::sleep_for(1ms);
    }
  }
  CHECK_THAT(captured.text(), ContainsSubstring("ended with code 3; the run goes on without it") &&
                                  ContainsSubstring("metrics.jsonl has all of them"));
}

TEST_CASE("line feed: one that never reads costs bounded memory and a bounded wait", "[fault]") {
  const test::LogCapture captured;
  const double seconds = seconds_of([] {
    LineFeed feed({.command = shell("exec sleep 60"), .most_bytes = 100'000, .patience = 300ms});
    const double adding = seconds_of([&] {
      for (int i = 0; i < 1000; ++i) feed.add(std::string(1000, 'x'));
    });
    CHECK(adding < 1.0);
    CHECK(feed.lost() >= 1000 - 100 - 70);  // the queue, and what the pipe itself holds
  });
  CHECK(seconds < 5.0);
  CHECK_THAT(captured.text(),
             ContainsSubstring("reads too slowly") && ContainsSubstring("ended with code 143"));
}
