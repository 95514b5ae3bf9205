// The wrapper as a process of its own, without mpirun.
#include "launcher/rank/rank_wrap.h"

#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/files.h"
#include "base/flight_recorder.h"
#include "base/process/process_tree.h"
#include "launcher/rank/rank_status.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

const std::string kProgram = (test::build_dir() / "fake_rank").string();
const std::string kWrapper = (test::build_dir() / "muster-rank-wrap").string();

std::vector<std::string> wrapped(const fs::path& dir, const std::vector<std::string>& program) {
  std::vector<std::string> argv{kWrapper, "--run-dir",          dir.string(), "--attempt",
                                "7",      "--max-output-bytes", "4000",       "--"};
  argv.insert(argv.end(), program.begin(), program.end());
  return argv;
}

std::vector<std::string> wrapped(const fs::path& dir, const std::string& script) {
  return wrapped(dir, std::vector<std::string>{"/bin/sh", "-c", script});
}

// Starts the wrapper as rank 1 of an mpirun world of 2 and sends it `signal` once the rank steps.
int signalled(const fs::path& dir, std::vector<std::string> options, int signal) {
  std::vector<std::string> program{
      "/usr/bin/env", "-u", "OMPI_COMM_WORLD_SIZE", kProgram, "rank", "--run-dir", dir.string()};
  program.insert(program.end(), options.begin(), options.end());
  const auto argv = wrapped(dir, program);
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
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (!read_flight_log(flight_file(dir, 0)) && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(10ms);
  ::kill(child, signal);
  int how = 0;
  ::waitpid(child, &how, 0);
  fs::remove(flight_file(dir, 0));  // by itself the rank takes itself for rank 0
  return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

}  // namespace

TEST_CASE("rank-wrap: the exit code passes, output is kept, rank 0's stderr is shown", "[fault]") {
  const TempDir dir;
  const auto run =
      run_captured(wrapped(dir.path(), "echo to-stdout; echo to-stderr >&2; exit 42"), 10s);
  CHECK(run.exit_code == 42);
  CHECK(run.output == "[rank 0] to-stderr\n");
  CHECK_THAT(read_text(dir.path() / "logs" / "rank-0.out"),
             ContainsSubstring("to-stdout") && ContainsSubstring("to-stderr"));
  const auto status = read_rank_status(dir.path(), 0);
  REQUIRE(status);
  CHECK(status->exit_code == 42);
  CHECK(status->signal == 0);
  CHECK(status->attempt == 7);
  CHECK(status->end_unix >= status->start_unix);
  CHECK(!status->torn_down);
}

TEST_CASE("rank-wrap: neither it nor the fake rank loads LibTorch", "[unit]") {
  for (const std::string& program : {kWrapper, kProgram}) {
    const auto libraries = run_captured({"ldd", program}, 20s);
    REQUIRE(libraries.exit_code == 0);
    CHECK_THAT(libraries.output, ContainsSubstring("libc.so") && !ContainsSubstring("libtorch") &&
                                     !ContainsSubstring("libc10"));
  }
}

TEST_CASE("rank-wrap: one GPU per rank, of those the node offers", "[unit]") {
  CHECK(one_visible_gpu(nullptr, 3) == "3");
  CHECK(one_visible_gpu("", 0) == "0");
  CHECK(one_visible_gpu("4,5,6,7", 2) == "6");
  CHECK(one_visible_gpu("GPU-1a,GPU-2b", 1) == "GPU-2b");
  CHECK(one_visible_gpu("5", 3) == "5");  // srun --gpus-per-task has chosen already
  CHECK_THROWS_WITH(one_visible_gpu("0,1", 2),
                    ContainsSubstring("R-012") && ContainsSubstring("0,1"));

  const TempDir dir;
  std::vector<std::string> argv = wrapped(dir.path(), "echo sees=$CUDA_VISIBLE_DEVICES >&2");
  argv.insert(argv.begin() + 1, "--one-gpu");
  CHECK(run_captured(argv, 20s, {{"CUDA_VISIBLE_DEVICES", "6,7"}}).output == "[rank 0] sees=6\n");
}

TEST_CASE("rank-wrap: a signal is kept as such, the rank's own words are merged, old words are not",
          "[fault]") {
  const TempDir dir;
  report_rank_error(dir.path(), 0, "of an earlier attempt");
  CHECK(run_captured(wrapped(dir.path(), "kill -SEGV $$"), 10s).exit_code == 128 + SIGSEGV);
  auto status = read_rank_status(dir.path(), 0);
  CHECK(status->signal == SIGSEGV);
  CHECK(status->error.empty());

  const std::string words = R"({"rank":0,"time_unix":12.5,"what":"disk full","consequence":true})";
  run_captured(wrapped(dir.path(), fmt::format("echo '{}' > {}; exit 74", words,
                                               error_file(dir.path(), 0).string())),
               10s);
  status = read_rank_status(dir.path(), 0);
  CHECK(status->error == "disk full");
  CHECK(status->error_unix == 12.5);
  CHECK(status->consequence);
}

TEST_CASE("rank-wrap: raw output stays within its bound", "[fault]") {
  const TempDir dir;
  run_captured(
      wrapped(dir.path(),
              "for i in $(seq 400); do echo line-$i-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"),
      10s);
  const fs::path out = dir.path() / "logs" / "rank-0.out";
  const auto kept = fs::file_size(out) +
                    (fs::exists(out.string() + ".1") ? fs::file_size(out.string() + ".1") : 0);
  CHECK(kept <= 4000 + 16384);  // one read may be larger than the bound
  CHECK_THAT(read_text(out), ContainsSubstring("line-400-"));
}

TEST_CASE("rank-wrap: USR2 and INT reach the rank as USR2, mpirun's TERM ends it at once",
          "[fault]") {
  const TempDir dir;
  const std::vector<std::string> endless{"--steps", "100000"};
  CHECK(signalled(dir.path(), endless, SIGUSR2) == 75);
  CHECK(signalled(dir.path(), endless, SIGINT) == 75);
  CHECK(!read_rank_status(dir.path(), 1)->torn_down);
  CHECK(signalled(dir.path(), endless, SIGTERM) ==
        128 + SIGKILL);  // the sender is the parent, as mpirun is
  CHECK(read_rank_status(dir.path(), 1)->torn_down);
}

TEST_CASE("rank-wrap: a program without a handler survives USR2", "[fault]") {
  const TempDir dir;
  CHECK(run_captured(wrapped(dir.path(), "kill -USR2 $PPID; sleep 0.2; exit 5"), 10s).exit_code ==
        5);
}

TEST_CASE("rendezvous: ranks of an mpirun agree on one store; by hand it is a world of one",
          "[ranks]") {
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  const auto run = run_captured(
      {"mpirun", "-n", "3", "--oversubscribe", kProgram, "rank", "--print-world"}, 20s);
  REQUIRE(run.exit_code == 0);
  std::string store;
  for (int rank = 0; rank < 3; ++rank) {
    const std::string line = fmt::format("world {}/3 local {} store 127.0.0.1:", rank, rank);
    const auto at = run.output.find(line);
    REQUIRE(at != std::string::npos);
    const std::string port =
        run.output.substr(at + line.size(), run.output.find('\n', at) - at - line.size());
    CHECK((store.empty() || store == port));
    store = port;
    CHECK(std::atoi(port.c_str()) > 0);
  }
  const auto alone = run_captured({kProgram, "rank", "--print-world"}, 20s);
  CHECK_THAT(alone.output, ContainsSubstring("world 0/1 local 0 store 127.0.0.1:"));
}
