// Are a checkpoint's files what its manifest says?
#pragma once

#include <atomic>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "trainer/checkpoint/manifest/manifest.h"

namespace muster::trainer {

// Both return "" or the first file that is missing or not as its manifest says, in words. Throw
// IoError when the file system fails: that says nothing of the checkpoint.
std::string missing_or_cut(const std::filesystem::path& folder, const Manifest& manifest);
std::string damaged_file(const std::filesystem::path& folder, const std::string& name,
                         const Manifest::File& file);

// True when the words are those of a file system that failed, whoever reports them.
bool is_file_system_failure(std::string_view message);

// The checksums of one rank's part of the files, made by a thread of its own while the rank loads.
class Verification {
 public:
  // Every file is in exactly one rank's part; parts are about equal in bytes.
  Verification(std::filesystem::path folder, const Manifest& manifest, int rank, int ranks);
  ~Verification();  // gives up where it is

  // Blocks until the part is read: "" or what is damaged. Throws IoError.
  std::string wait() { return result_.get(); }

 private:
  std::atomic<bool> given_up_ = false;
  std::future<std::string> result_;
};

// Throws CheckpointError naming the file that is missing, or of another size or checksum than the
// manifest says; `with_optimizer` false leaves optimizer-* alone. A folder without manifest
// (Hugging Face) has nothing to compare.
void verify_checkpoint(const std::filesystem::path& folder, bool with_optimizer);

}  // namespace muster::trainer
