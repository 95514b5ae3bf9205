// The log, while a test looks at it.
#pragma once

#include <string>

#include "base/files.h"
#include "base/log.h"
#include "support/test_paths.h"

namespace muster::test {

class LogCapture {
 public:
  LogCapture() {
    log::Options options;
    options.file = dir_.path() / "test.log";
    options.console = false;
    log::init(options);
  }
  ~LogCapture() { log::init({}); }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  std::string text() const { return read_text(dir_.path() / "test.log"); }

 private:
  TempDir dir_;
};

}  // namespace muster::test
