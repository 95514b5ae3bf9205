// A machine on which nothing can be locked, as on an NFS mount whose lock daemon does not run: a
// library whose flock() fails with ENOLCK.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <filesystem>

#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"

namespace muster::test {

// Built in `folder`; the environment of programs that are to feel it.
inline Environment where_locks_fail(const std::filesystem::path& folder) {
  const std::filesystem::path source = folder / "nolock.c";
  const std::filesystem::path library = folder / "nolock.so";
  write_text(source,
             "#include <errno.h>\n"
             "int flock(int fd, int op) { (void)fd; (void)op; errno = ENOLCK; return -1; }\n");
  const CapturedRun built =
      run_captured({"cc", "-shared", "-fPIC", "-o", library.string(), source.string()},
                   std::chrono::seconds(60));
  INFO(built.output);
  REQUIRE(built.exit_code == 0);
  return {{"LD_PRELOAD", library.string()}};
}

}  // namespace muster::test
