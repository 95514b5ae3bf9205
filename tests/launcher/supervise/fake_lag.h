// A shared folder as NFS without locks shows it: every host has a bindfs mount of its own, which
// keeps sizes and names for 60 s, the absent ones too, and whose mappings are nobody else's. What
// was measured of it: a file made on h1 after h2 had looked for it stays absent on h2; an append is
// read with the old size; a store into a mapping is not seen by others before msync.
#pragma once

#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <string>

#include "base/files.h"

namespace muster::launcher::fake {

class LaggingFolder {
 public:
  LaggingFolder() {
    if (std::system("command -v bindfs >/dev/null && test -e /dev/fuse") != 0)
      SKIP("a lagging folder needs bindfs and /dev/fuse");
    for (const char* name : {"base", "seen", "h1", "h2"}) fs::create_directory(dir_.path() / name);
    for (const char* name : {"seen", "h1", "h2"}) mount(name);
  }
  ~LaggingFolder() {
    for (const char* name : {"seen", "h1", "h2"})
      sh(fmt::format("fusermount -u {0} || umount -l {0}", (dir_.path() / name).string()));
  }
  LaggingFolder(const LaggingFolder&) = delete;
  LaggingFolder& operator=(const LaggingFolder&) = delete;

  // What this process, h0, sees; the other hosts see theirs under the same name.
  fs::path path() const { return dir_.path() / "seen"; }
  // What lies on the server, at once.
  fs::path truth() const { return dir_.path() / "base"; }
  // For Network: what a host does first.
  std::string enter() const {
    return fmt::format("mount --bind {0}/$0 {0}/seen", dir_.path().string());
  }

 private:
  void mount(const char* name) const {
    const bool mounted = sh(fmt::format(
        "bindfs -o attr_timeout=60,entry_timeout=60,negative_timeout=60 {0}/base {0}/{1}",
        dir_.path().string(), name));
    if (!mounted) SKIP("bindfs cannot mount here");
  }
  static bool sh(const std::string& line) {
    return std::system(("(" + line + ") >/dev/null 2>&1").c_str()) == 0;
  }

  TempDir dir_{"muster-lag"};
};

}  // namespace muster::launcher::fake
