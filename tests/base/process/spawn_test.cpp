#include "base/process/spawn.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cerrno>

#include "base/process/process_tree.h"

using namespace muster;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

struct Ran {
  Spawned child;
  int code = -1;
  std::string output;  // stdout and stderr
};

Ran run(Spawn what) {
  Pipe pipe = make_pipe();
  what.output = pipe.write_end.get();
  what.error = pipe.write_end.get();
  Ran ran;
  ran.child = spawn(what);
  pipe.write_end.reset();
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t n = ::read(pipe.read_end.get(), buffer.data(), buffer.size());
    if (n <= 0) break;
    ran.output.append(buffer.data(), static_cast<std::size_t>(n));
  }
  ran.code = wait_for(ran.child.pid);
  return ran;
}

Spawn shell(const std::string& script) {
  Spawn what;
  what.argv = {"sh", "-c", script};
  return what;
}

}  // namespace

TEST_CASE("a process gets its words, its variables and its three streams", "[unit]") {
  ::setenv("MUSTER_SPAWN_TEST", "old", 1);
  Spawn what = shell("echo \"$MUSTER_SPAWN_TEST $0\"; echo err >&2; exit 3");
  what.argv.push_back("a b");
  what.environment = {{"MUSTER_SPAWN_TEST", "new"}};
  const Ran ran = run(what);
  ::unsetenv("MUSTER_SPAWN_TEST");
  CHECK(ran.child.exec_error == 0);
  CHECK(ran.code == 3);
  CHECK(ran.output == "new a b\nerr\n");
  CHECK(run(shell("kill -9 $$")).code == 128 + SIGKILL);
}

TEST_CASE("a program that cannot be executed is known at once, with the reason", "[fault]") {
  Spawn what;
  what.argv = {"/no/such/program"};
  const Ran silent = run(what);
  CHECK(silent.child.exec_error == ENOENT);
  CHECK(silent.code == kCannotExec);
  CHECK(silent.output.empty());
  what.complaint = "cannot run it";
  CHECK(run(what).output == "cannot run it: No such file or directory\n");
  CHECK(run_captured({"/no/such/program"}, std::chrono::seconds(5)).exit_code == -1);
}

TEST_CASE("groups, sessions, signals: as asked", "[unit]") {
  const std::string ids = "ps -o pid=,pgid=,sid= -p $$ | tr -s ' '";
  Spawn what = shell(ids);
  const auto expected = [](const Ran& ran, pid_t group, pid_t session) {
    return std::to_string(ran.child.pid) + " " + std::to_string(group) + " " +
           std::to_string(session);
  };
  const Ran same = run(what);
  CHECK_THAT(same.output, ContainsSubstring(expected(same, ::getpgrp(), ::getsid(0))));
  what.group = Spawn::Group::kItsOwn;
  const Ran group = run(what);
  CHECK_THAT(group.output, ContainsSubstring(expected(group, group.child.pid, ::getsid(0))));
  what.group = Spawn::Group::kOwnSession;
  const Ran session = run(what);
  CHECK_THAT(session.output,
             ContainsSubstring(expected(session, session.child.pid, session.child.pid)));
  Spawn deaf = shell("kill -USR2 $$; echo alive");
  CHECK(run(deaf).code == 128 + SIGUSR2);
  deaf.ignored_signal = SIGUSR2;
  CHECK(run(deaf).output == "alive\n");
}
