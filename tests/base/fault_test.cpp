#include "base/fault.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "support/test_paths.h"

using namespace muster;

namespace {

// In a process of its own, because a fault is read once and happens once: its exit code, or 128 +
// signal.
int with_fault(const char* fault, const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("MUSTER_FAULT", fault, 1);
    ::unsetenv("MUSTER_ATTEMPT");
    ::_exit(body());
  }
  int how = 0;
  ::waitpid(child, &how, 0);
  return WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
}

int at_step_7() {
  fault::at(Phase::kForward, 1, 7);
  fault::at(Phase::kBackward, 0, 7);
  fault::at(Phase::kBackward, 1, 6);
  fault::at(Phase::kBackward, 1, 7);
  return 9;  // nothing happened
}

}  // namespace

TEST_CASE("faults happen at their rank, step and phase, once, and in the first attempt",
          "[fault]") {
  if (!fault::compiled()) SKIP("this build has no faults (-DMUSTER_FAULTS=ON)");
  CHECK(with_fault("rank=1,step=7,phase=backward,what=sigkill", at_step_7) == 128 + SIGKILL);
  CHECK(with_fault("rank=1,step=7,phase=backward,what=exit", at_step_7) == 3);
  CHECK(with_fault("rank=2,step=7,phase=backward,what=exit", at_step_7) == 9);
  CHECK(with_fault("", at_step_7) == 9);
  CHECK(with_fault("what=exit", [] {
          ::setenv("MUSTER_ATTEMPT", "1", 1);
          return at_step_7();
        }) == 9);
  CHECK(with_fault("phase=shutdown,what=oom", [] {
          try {
            fault::at(Phase::kDone, 0, 3);
          } catch (const std::bad_alloc&) {
            return 1;
          }
          return 0;
        }) == 1);
  CHECK(with_fault("what=nan", [] {
          fault::at(Phase::kData, 0, 0);
          return static_cast<int>(fault::take_nan()) * 2 + static_cast<int>(fault::take_nan());
        }) == 2);
  CHECK(with_fault("what=clock", [] {
          const double before = unix_now();
          fault::at(Phase::kData, 0, 0);
          return static_cast<int>(unix_now() - before > 3599);
        }) == 1);
  CHECK(with_fault("what=estale", [] {
          const TempDir dir;
          fault::at(Phase::kCheckpoint, 0, 0);
          try {
            write_text(dir.path() / "file", "words");
          } catch (const IoError& error) {
            const bool stale = std::string(error.what()).find("Stale") != std::string::npos;
            write_text(dir.path() / "file", "words");
            return stale ? 1 : 2;
          }
          return 0;
        }) == 1);
  for (const char* wrong : {"rank=1", "what=bang", "what=exit,step=x", "what=exit,phase=lunch"}) {
    CHECK(with_fault(wrong, [] {
            try {
              fault::at(Phase::kData, 0, 0);
            } catch (const UsageError&) {
              return 1;
            }
            return 0;
          }) == 1);
  }
}

// What is installed is built without the option, and the program does not know the variable.
TEST_CASE("faults are in builds for tests alone", "[unit]") {
  const std::string presets = read_text(test::source_dir() / "CMakePresets.json");
  const std::size_t release = presets.find("\"name\": \"release\"");
  REQUIRE(release != std::string::npos);
  CHECK(presets.substr(release, presets.find('}', release) - release).find("MUSTER_FAULTS") ==
        std::string::npos);
  CHECK(read_text(test::source_dir() / "CMakeLists.txt").find("option(MUSTER_FAULTS") !=
        std::string::npos);
  CHECK(read_text(test::source_dir() / "run").find("parse_build release \"$@\"") !=
        std::string::npos);
  CHECK(read_text(test::source_dir() / "cmake/Install.cmake").find("if(MUSTER_FAULTS)") !=
        std::string::npos);
  std::string words = "ASK:TLUAF_RETSUM";  // turned round: this test is part of the program
  words = std::string(words.rbegin(), words.rend()).substr(0, 13);
  const bool known = read_text("/proc/self/exe").find(words) != std::string::npos;
  CHECK(known == fault::compiled());
}
