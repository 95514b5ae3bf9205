// One printed line per compared case, and the verdict over all of them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace muster::golden {

struct Report {
  std::int64_t lines = 0, failures = 0;

  // "name error tolerance ok|FAIL" on stdout. `name` must hold no newline.
  void line(const std::string& name, double error, double tolerance, bool ok) {
    std::printf("%s %.3g %.3g %s\n", name.c_str(), error, tolerance, ok ? "ok" : "FAIL");
    ++lines;
    if (!ok) ++failures;
  }

  // Nothing compared is not a pass.
  bool all_ok() const { return lines > 0 && failures == 0; }
};

}  // namespace muster::golden
