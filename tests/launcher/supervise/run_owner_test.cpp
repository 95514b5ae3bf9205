#include "launcher/supervise/run_owner.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <csignal>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/signal_hub.h"
#include "launcher/supervise/fake_world.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

ClaimOptions quick(bool take_over = false) {
  return {.take_over = take_over, .dead_after = 600ms, .beat_every = 50ms};
}

void write_claim_of(const fs::path& run, int number, const nlohmann::json& claim) {
  fs::create_directories(run / "owner");
  write_text(run / "owner" / fmt::format("claim-{}", number), claim.dump());
}

}  // namespace

TEST_CASE("owner: a second launch is refused with host, process and the way out", "[unit]") {
  const TempDir dir;
  {
    const RunOwner first(dir.path(), quick());
    CHECK_THROWS_WITH(RunOwner(dir.path(), quick()),
                      ContainsSubstring("R-026") && ContainsSubstring(own_host()) &&
                          ContainsSubstring(std::to_string(::getpid())) &&
                          ContainsSubstring("--take-over"));
    CHECK(!first.superseded());
  }
  const RunOwner after(dir.path(), quick());  // the first was released
}

TEST_CASE("owner: one on this host that was killed is recognised at once", "[fault]") {
  const TempDir dir;
  const pid_t child = ::fork();
  if (child == 0) {
    const RunOwner owner(dir.path(), quick());
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  const double start = seconds_now();
  const RunOwner next(dir.path(), {.take_over = false, .dead_after = 60s, .beat_every = 1s});
  CHECK(seconds_now() - start < 1);
}

TEST_CASE("owner: a process number that was given again, or before a reboot, is nobody",
          "[fault]") {
  for (const char* other : {"boot", "start"}) {
    const TempDir dir;
    write_claim_of(dir.path(), 1,
                   {{"host", own_host()},
                    {"pid", ::getpid()},
                    {"boot_id", other == std::string("boot") ? "elsewhen" : ""},
                    {"start_ticks", 1},
                    {"beats", 3}});
    const RunOwner owner(dir.path(), quick());
  }
}

TEST_CASE("owner: one on another host lives while it beats, and is dead when it stops", "[fault]") {
  const TempDir dir;
  nlohmann::json claim{{"host", "node-9"}, {"pid", 77}, {"start_ticks", 5}, {"beats", 1}};
  write_claim_of(dir.path(), 1, claim);
  std::jthread beating([&](const std::stop_token& stop) {
    for (int beat = 2; !stop.stop_requested(); ++beat) {
      claim["beats"] = beat;
      write_claim_of(dir.path(), 1, claim);
      std::this_thread::sleep_for(100ms);
    }
  });
  CHECK_THROWS_WITH(RunOwner(dir.path(), quick()), ContainsSubstring("ssh node-9 kill -INT 77"));
  beating.request_stop();
  beating.join();
  const RunOwner next(dir.path(), quick());
  CHECK(fs::exists(dir.path() / "owner" / "claim-2"));
}

TEST_CASE("owner: its thread takes no signal of the launcher's", "[fault]") {
  const TempDir dir;
  const RunOwner owner(dir.path(), quick());
  SignalHub hub{SIGUSR2};
  for (int i = 0; i < 200; ++i) {
    ::kill(::getpid(), SIGUSR2);
    pollfd fd{hub.fd(), POLLIN, 0};
    REQUIRE(::poll(&fd, 1, 1000) == 1);
    REQUIRE(hub.next().has_value());
  }
}

TEST_CASE("owner: damaged claims stop nobody", "[fault]") {
  for (const char* bytes : {"", "[", "{}", "{\"host\": 4, \"pid\": -9}"}) {
    const TempDir dir;
    fs::create_directories(dir.path() / "owner");
    write_text(dir.path() / "owner" / "claim-1", bytes);
    const RunOwner owner(dir.path(), quick());
    CHECK(fs::exists(dir.path() / "owner" / "claim-2"));
  }
}

TEST_CASE("owner: of many launches at once exactly one gets the run", "[fault]") {
  std::minstd_rand random(7);
  for (int round = 0; round < 20; ++round) {
    const TempDir dir;
    std::vector<pid_t> children;
    for (int i = 0; i < 6; ++i) {
      const auto delay = std::chrono::microseconds(random() % 3000);
      children.push_back(::fork());
      if (children.back() != 0) continue;
      std::this_thread::sleep_for(delay);
      int code = 3;
      try {
        const RunOwner owner(dir.path(), {.take_over = false, .dead_after = 5s, .beat_every = 1s});
        std::this_thread::sleep_for(300ms);
        code = owner.superseded() ? 4 : 0;
      } catch (const UsageError&) {
        code = 1;
      }
      ::_exit(code);
    }
    int owners = 0;
    for (const pid_t child : children) {
      int how = 0;
      ::waitpid(child, &how, 0);
      REQUIRE((WEXITSTATUS(how) == 0 || WEXITSTATUS(how) == 1));
      owners += WEXITSTATUS(how) == 0 ? 1 : 0;
    }
    CHECK(owners == 1);
  }
}

TEST_CASE("owner: --take-over ends the other launch before anything is written", "[mpi][fault]") {
  fake::World world(2, {"--steps", "4000"});
  const pid_t taker = fake::when_ready(world, [&](pid_t) {
    const RunOwner next(world.spec.run_dir,
                        {.take_over = true, .dead_after = 30s, .beat_every = 1s});
    const bool alone =
        !fs::exists(world.spec.run_dir / "owner" / "claim-3") &&
        read_text(world.spec.run_dir / "owner" / "claim-1").find("\"released\": true") !=
            std::string::npos;
    ::_exit(alone ? 0 : 5);
  });
  const fs::path run_dir = world.spec.run_dir;
  int exit_code = 0;
  {
    const RunOwner owner(run_dir, quick());
    exit_code = supervise(world.spec, &owner).exit_code;
    CHECK(fake::processes_of(run_dir) == 0);
  }
  CHECK(exit_code == 130);
  int how = 0;
  ::waitpid(taker, &how, 0);
  CHECK(WEXITSTATUS(how) == 0);
}
