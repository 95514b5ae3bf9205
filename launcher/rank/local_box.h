// A rank's black box on its own machine's disk, while it runs: a mapping of a file on a shared file
// system is nobody's view but its writer's.
#pragma once

#include <filesystem>

namespace muster::launcher {

class LocalBox {
 public:
  // Makes TMPDIR/muster-<user>/<run>-rank-<r>, for this user alone. Throws IoError, as when the
  // folder is somebody else's.
  LocalBox(const std::filesystem::path& run_dir, int rank);
  ~LocalBox();  // removes it
  LocalBox(const LocalBox&) = delete;
  LocalBox& operator=(const LocalBox&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  // Copies the rank's black box and error into run_dir/black_box, each whole. Throws IoError.
  void hand_over() const;

 private:
  std::filesystem::path run_dir_;
  int rank_;
  std::filesystem::path folder_;
};

}  // namespace muster::launcher
