#include "launcher/rank/local_box.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "launcher/rank/rank_status.h"

namespace muster::launcher {
namespace {

constexpr mode_t kForUserAlone = 0700;

// TMPDIR is everybody's: what is there already must be a folder of this user, and no link.
void make_private(const fs::path& folder) {
  if (::mkdir(folder.c_str(), kForUserAlone) != 0 && errno != EEXIST)
    throw IoError(fmt::format("cannot make {}: {}", folder.string(), std::strerror(errno)));
  struct stat found {};
  const bool ours = ::lstat(folder.c_str(), &found) == 0 && S_ISDIR(found.st_mode) &&
                    found.st_uid == ::geteuid() && (found.st_mode & 022U) == 0;
  if (!ours)
    throw IoError(fmt::format("{} is not a folder of this user alone: remove it, or set TMPDIR",
                              folder.string()));
}

// One run's boxes beside another's of the same user.
std::string name_of(const fs::path& run_dir, int rank) {
  constexpr std::size_t kDigits = 12;
  const std::string path = run_dir.string();
  const std::string digest = xxh128(std::as_bytes(std::span(path.data(), path.size())));
  return fmt::format("{}-rank-{}", digest.substr(0, kDigits), rank);
}

}  // namespace

LocalBox::LocalBox(const fs::path& run_dir, int rank) : run_dir_(run_dir), rank_(rank) {
  std::error_code unknown;
  const fs::path temporary = fs::temp_directory_path(unknown);
  if (unknown) throw IoError(fmt::format("TMPDIR: {}", unknown.message()));
  const fs::path user = temporary / fmt::format("muster-{}", ::geteuid());
  make_private(user);
  folder_ = user / name_of(run_dir, rank);
  std::error_code ignored;
  fs::remove_all(folder_, ignored);  // of a wrapper that was killed
  make_private(folder_);
}

LocalBox::~LocalBox() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  fs::remove(folder_.parent_path(), ignored);  // of the last one; else it is not empty
}

void LocalBox::hand_over() const {
  for (const fs::path& target : {flight_file(run_dir_, rank_), error_file(run_dir_, rank_)}) {
    const fs::path source = folder_ / target.filename();
    std::error_code failed;
    if (!fs::exists(source, failed)) continue;
    const fs::path part = part_of(target);
    fs::copy_file(source, part, fs::copy_options::overwrite_existing, failed);
    if (!failed) fs::rename(part, target, failed);
    if (failed)
      throw IoError(fmt::format("cannot copy {} to {}: {}", source.string(), target.string(),
                                failed.message()));
  }
}

}  // namespace muster::launcher
