// A look inside some steps of a run (--profile steps=10..12): phases, LibTorch's operations,
// collectives and the loader of one rank in Chrome's trace format, and ranges for NVIDIA's tools on
// a GPU.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace muster::trainer {

// Steps as the log counts them, both of them included.
struct ProfiledSteps {
  std::int64_t first = 0;  // 0: none
  std::int64_t last = 0;

  // "steps=10..12", "steps=10". Throws UsageError.
  static ProfiledSteps parse(std::string_view text);
};

class Profile {
 public:
  // Writes RUN_DIR/profile/rank-<r>.json when the last of the steps, or the run, is over.
  Profile(const ProfiledSteps& steps, const std::filesystem::path& run_dir, int rank);
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  void before(std::int64_t step);  // from 1: the one that comes
  void after(std::int64_t step);
  void finish();  // writes what was seen so far, if it has not been written

 private:
  void stop();

  ProfiledSteps steps_;
  std::filesystem::path file_;
  int rank_;
  bool looking_ = false;
  std::uint64_t callback_ = 0;
};

}  // namespace muster::trainer
