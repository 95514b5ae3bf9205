// Worlds whose black boxes nobody but the rank and its wrapper can see: they lie in a mount
// namespace of their own, as on another machine's disk. Everything is judged from beats.
#include <fmt/core.h>
#include <sys/wait.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "launcher/rank/beat_board.h"
#include "launcher/supervise/fake_world.h"
#include "launcher/supervise/status.h"
#include "launcher/triage/triage.h"
#include "launcher/triage/verdict_text.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

struct HiddenWorld : fake::World {
  TempDir hidden{"muster-hidden"};

  HiddenWorld(int ranks, const std::vector<std::string>& arguments) : World(ranks, arguments) {
    if (std::system("unshare --mount true >/dev/null 2>&1") != 0)
      SKIP("mount namespaces need root");
    spec.watch.local_boxes = true;
    const std::string enter =
        fmt::format("mount -t tmpfs none {0} && export TMPDIR={0} && exec \"$0\" \"$@\"",
                    hidden.path().string());
    spec.wrapper.insert(spec.wrapper.begin(), {"unshare", "--mount", "/bin/sh", "-c", enter});
  }

  bool sees_a_box() const {
    return fs::exists(flight_file(spec.run_dir, 0)) || fs::exists(flight_file(spec.run_dir, 1)) ||
           !fs::is_empty(hidden.path());
  }
};

// Runs `action` in another process once the launcher has heard of every rank's steps.
pid_t when_heard(const HiddenWorld& world, const std::function<void(pid_t)>& action) {
  const pid_t target = ::getpid();
  const pid_t child = ::fork();
  if (child != 0) return child;
  for (;;) {
    const auto known = read_known_beats(world.spec.run_dir);
    if (known && static_cast<int>(known->beats.size()) == world.spec.ranks) break;
    std::this_thread::sleep_for(20ms);
  }
  action(target);
  ::_exit(0);
}

int code_of(pid_t child) {
  int how = 0;
  ::waitpid(child, &how, 0);
  return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

}  // namespace

TEST_CASE(
    "unseen black boxes: status knows the steps while it runs, and they are brought at the end",
    "[fault]") {
  HiddenWorld world(2, {"--steps", "300"});
  const pid_t watcher = when_heard(world, [&](pid_t) {
    const auto now = read_status(world.spec.run_dir).ranks_now;
    const bool known = now.size() == 2 && now[1].step >= 0 && now[1].end.empty();
    ::_exit(known && !world.sees_a_box() ? 0 : 1);
  });
  CHECK(world.run("unseen").exit_code == 0);
  CHECK(code_of(watcher) == 0);
  for (int rank = 0; rank < 2; ++rank) {
    const auto box = read_flight_log(flight_file(world.spec.run_dir, rank));
    REQUIRE(box);
    CHECK(box->events.back().phase == Phase::kDone);
  }
}

TEST_CASE("unseen black boxes: a hang, a kill and an error are found and named", "[fault]") {
  {
    HiddenWorld world(3, {"--fault", "stop", "--steps", "50"});
    const LaunchResult result = world.run("stop");
    CHECK(result.exit_code == 71);
    CHECK(fake::culprit(result) == 1);
    REQUIRE(result.attempts[0].hang);
    CHECK(result.attempts[0].hang->culprit.state == 'T');
    CHECK(result.attempts[0].hang->silent_s - result.attempts[0].hang->limit_s < 2);
    CHECK(result.attempts[0].hang->culprit.last.step == 3);
    // mpirun gives wrappers a second to bring the boxes; on a busy machine that may be too short.
    const auto box = read_flight_log(flight_file(world.spec.run_dir, 1));
    CHECK((!box || box->events.back().step == 3));
  }
  {
    HiddenWorld world(2, {"--fault", "kill", "--peers-complain"});
    const LaunchResult result = world.run("kill");
    CHECK(fake::culprit(result) == 1);
    CHECK(result.attempts[0].failure->rank.status.signal == SIGKILL);
    CHECK(result.attempts[0].failure->rank.last->step == 3);
  }
  HiddenWorld world(2, {"--fault", "nan"});
  const LaunchResult result = world.run("nan");
  CHECK(result.exit_code == 77);
  CHECK_THAT(result.attempts[0].failure->what, ContainsSubstring("loss is NaN in loss.caption"));
}

TEST_CASE("unseen black boxes: of a killed wrapper the last beat is left, for status and triage",
          "[fault]") {
  HiddenWorld world(2, {"--steps", "4000"});
  const pid_t killer = when_heard(world, [](pid_t launcher) {
    const pid_t wrapper = fake::child_named(fake::starter_of(launcher), "muster-rank-wra");
    if (wrapper > 0) ::kill(wrapper, SIGKILL);
  });
  const LaunchResult result = world.run("KILL wrapper");
  code_of(killer);
  CHECK_THAT(result.attempts[0].what, ContainsSubstring("wrapper of rank"));
  const auto known = read_known_beats(world.spec.run_dir);
  REQUIRE(known);
  CHECK(known->beats.size() == 2);
  const Diary diary = load_diary(test::source_dir() / "DEBUG_DIARY.md");
  const Evidence evidence = gather(world.spec.run_dir);
  int boxes = 0;
  for (const Record& record : evidence.records) boxes += record.source == Source::kBox;
  CHECK(boxes == 2);
}
