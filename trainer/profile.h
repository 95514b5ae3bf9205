// A look inside some steps of a run (--profile steps=10..12): phases, LibTorch's operations,
// collectives and the loader of one rank in Chrome's trace format; on a GPU also its kernels, and
// ranges for NVIDIA's tools.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

namespace muster::trainer {

class Kineto;

// Steps as the log counts them, both of them included.
struct ProfiledSteps {
  std::int64_t first = 0;  // 0: none
  std::int64_t last = 0;

  // "steps=10..12", "steps=10". Throws UsageError.
  static ProfiledSteps parse(std::string_view text);
};

class Profile {
 public:
  struct Options {
    ProfiledSteps steps;
    std::filesystem::path run_dir;
    int rank = 0;
    bool on_gpu = false;
  };
  // Writes RUN_DIR/profile/rank-<r>.json when the last of the steps, or the run, is over.
  explicit Profile(const Options& options);
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  void before(std::int64_t step);  // from 1: the one that comes
  void after(std::int64_t step);
  void finish();  // writes what was seen so far, if it has not been written

 private:
  void stop();
  void end_kineto();

  ProfiledSteps steps_;
  std::filesystem::path file_;
  int rank_;
  bool on_gpu_;
  bool looking_ = false;
  std::uint64_t callback_ = 0;
  std::unique_ptr<Kineto> kineto_;  // while it looks at a GPU
};

}  // namespace muster::trainer
