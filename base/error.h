// Errors a user can cause, one type per kind, each with the process exit code it ends in. A message
// says what, where (file:line, sample, rank) and what to do. Internal invariants use TORCH_CHECK
// instead, std::logic_error where there is no LibTorch.
#pragma once

#include <stdexcept>
#include <string>

namespace muster {

// Exit codes of every muster process. launch reports the code of the rank that failed first.
enum class ExitCode : int {
  kDone = 0,
  kUsage = 64,             // command line or config
  kData = 65,              // pack, image, annotation
  kPreflight = 69,         // this machine cannot run it, another may
  kRankFailed = 70,        // restart budget spent
  kHang = 71,              // likewise, the last failure was a hang
  kIo = 74,                // checkpoint or other I/O
  kStoppedOnRequest = 75,  // checkpoint committed: requeue
  kNumeric = 77,           // health abort
  kOutOfMemory = 78,       // ladder exhausted
  kDoNotRestart = 93,      // no progress in three attempts
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& what) : std::runtime_error(what), code_(code) {}
  ExitCode exit_code() const { return code_; }

 private:
  ExitCode code_;
};

struct UsageError : Error {
  explicit UsageError(const std::string& what) : Error(ExitCode::kUsage, what) {}
};
struct ConfigError : Error {
  explicit ConfigError(const std::string& what) : Error(ExitCode::kUsage, what) {}
};
struct DataError : Error {
  explicit DataError(const std::string& what) : Error(ExitCode::kData, what) {}
};
struct PreflightError : Error {
  explicit PreflightError(const std::string& what) : Error(ExitCode::kPreflight, what) {}
};
struct IoError : Error {
  explicit IoError(const std::string& what) : Error(ExitCode::kIo, what) {}
};
struct CheckpointError : Error {
  explicit CheckpointError(const std::string& what) : Error(ExitCode::kIo, what) {}
};
struct NumericError : Error {
  explicit NumericError(const std::string& what) : Error(ExitCode::kNumeric, what) {}
};
struct CollectiveError : Error {
  explicit CollectiveError(const std::string& what) : Error(ExitCode::kRankFailed, what) {}
};

// Not a failure: the run stopped at a step boundary as asked, with its checkpoint committed.
struct StopRequested : Error {
  explicit StopRequested(const std::string& what) : Error(ExitCode::kStoppedOnRequest, what) {}
};

}  // namespace muster
