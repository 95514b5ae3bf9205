// The wrapper as a process of its own, without mpirun.
#include "launcher/rank_wrap.h"

#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/files.h"
#include "launcher/process_tree.h"
#include "launcher/rank_status.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

std::vector<std::string> wrapped(const fs::path& dir, const std::string& script) {
  return {(test::build_dir() / "fake_rank").string(), "rank-wrap", "--run-dir", dir.string(), "--attempt", "7",
          "--max-output-bytes", "4000", "--", "/bin/sh", "-c", script};
}

// Starts the wrapper as rank `rank` of an mpirun world of 2, sends `signal` once the script says it is ready.
int signalled(const fs::path& dir, const std::string& script, int signal) {
  const auto argv = wrapped(dir, script);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    ::setenv("OMPI_COMM_WORLD_RANK", "1", 1);
    std::vector<char*> words;
    for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    ::execv(words[0], words.data());
    ::_exit(99);
  }
  const fs::path out = dir / "logs" / "rank-1.out";
  while (!fs::exists(out) || read_text(out).find("ready") == std::string::npos) std::this_thread::sleep_for(10ms);
  ::kill(child, signal);
  int how = 0;
  ::waitpid(child, &how, 0);
  return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

}  // namespace

TEST_CASE("rank-wrap: the exit code passes, output is kept, rank 0's stderr is shown", "[fault]") {
  const TempDir dir;
  const auto run = run_captured(wrapped(dir.path(), "echo to-stdout; echo to-stderr >&2; exit 42"), 10s);
  CHECK(run.exit_code == 42);
  CHECK(run.output == "to-stderr\n");
  CHECK_THAT(read_text(dir.path() / "logs" / "rank-0.out"), ContainsSubstring("to-stdout") && ContainsSubstring("to-stderr"));
  const auto status = read_rank_status(dir.path(), 0);
  REQUIRE(status);
  CHECK(status->exit_code == 42);
  CHECK(status->signal == 0);
  CHECK(status->attempt == 7);
  CHECK(status->end_unix >= status->start_unix);
  CHECK(!status->torn_down);
}

TEST_CASE("rank-wrap: a signal is kept as such, the rank's own words are merged, old words are not", "[fault]") {
  const TempDir dir;
  report_rank_error(dir.path(), 0, "of an earlier attempt");
  CHECK(run_captured(wrapped(dir.path(), "kill -SEGV $$"), 10s).exit_code == 128 + SIGSEGV);
  auto status = read_rank_status(dir.path(), 0);
  CHECK(status->signal == SIGSEGV);
  CHECK(status->error.empty());

  const std::string words = R"({"rank":0,"time_unix":12.5,"what":"disk full","consequence":true})";
  run_captured(wrapped(dir.path(), fmt::format("echo '{}' > {}; exit 74", words, error_file(dir.path(), 0).string())), 10s);
  status = read_rank_status(dir.path(), 0);
  CHECK(status->error == "disk full");
  CHECK(status->error_unix == 12.5);
  CHECK(status->consequence);
}

TEST_CASE("rank-wrap: raw output stays within its bound", "[fault]") {
  const TempDir dir;
  run_captured(wrapped(dir.path(), "for i in $(seq 400); do echo line-$i-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"), 10s);
  const fs::path out = dir.path() / "logs" / "rank-0.out";
  const auto kept = fs::file_size(out) + (fs::exists(out.string() + ".1") ? fs::file_size(out.string() + ".1") : 0);
  CHECK(kept <= 4000 + 16384);   // one read may be larger than the bound
  CHECK_THAT(read_text(out), ContainsSubstring("line-400-"));
}

TEST_CASE("rank-wrap: USR2 and INT reach the rank as USR2, mpirun's TERM ends it at once", "[fault]") {
  const TempDir dir;
  const std::string script = "trap 'exit 75' USR2; echo ready; while :; do sleep 0.02; done";
  CHECK(signalled(dir.path(), script, SIGUSR2) == 75);
  fs::remove(dir.path() / "logs" / "rank-1.out");
  CHECK(signalled(dir.path(), script, SIGINT) == 75);
  CHECK(!read_rank_status(dir.path(), 1)->torn_down);
  fs::remove(dir.path() / "logs" / "rank-1.out");
  CHECK(signalled(dir.path(), script, SIGTERM) == 128 + SIGKILL);   // the sender is the parent, as mpirun is
  CHECK(read_rank_status(dir.path(), 1)->torn_down);
}

TEST_CASE("rank-wrap: a rank without a handler survives USR2", "[fault]") {
  const TempDir dir;
  CHECK(signalled(dir.path(), "echo ready; sleep 0.3; exit 5", SIGUSR2) == 5);
}

TEST_CASE("rendezvous: ranks of an mpirun agree on one store; by hand it is a world of one", "[ranks]") {
  const std::string program = (test::build_dir() / "fake_rank").string();
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  const auto run = run_captured({"mpirun", "-n", "3", "--oversubscribe", program, "rank", "--print-world"}, 20s);
  REQUIRE(run.exit_code == 0);
  std::string store;
  for (int rank = 0; rank < 3; ++rank) {
    const std::string line = fmt::format("world {}/3 local {} store 127.0.0.1:", rank, rank);
    const auto at = run.output.find(line);
    REQUIRE(at != std::string::npos);
    const std::string port = run.output.substr(at + line.size(), run.output.find('\n', at) - at - line.size());
    CHECK((store.empty() || store == port));
    store = port;
    CHECK(std::atoi(port.c_str()) > 0);
  }
  const auto alone = run_captured({program, "rank", "--print-world"}, 20s);
  CHECK_THAT(alone.output, ContainsSubstring("world 0/1 local 0 store 127.0.0.1:"));
}
