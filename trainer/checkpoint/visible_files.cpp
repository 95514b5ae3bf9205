#include "trainer/checkpoint/visible_files.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"

namespace muster::trainer {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kUnseen = -1;

// The size that this machine sees. The file is opened: NFS asks its server then, and for a stat
// alone it may not.
std::int64_t seen_size(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return kUnseen;
  struct stat info {};
  const bool known = ::fstat(fd, &info) == 0;
  ::close(fd);
  return known ? static_cast<std::int64_t>(info.st_size) : kUnseen;
}

struct Unseen {
  std::string name;
  std::int64_t bytes = 0, seen = kUnseen;
};

std::string describe(const std::vector<Unseen>& files) {
  const Unseen& first = files.front();
  const std::string seen =
      first.seen == kUnseen ? "not there" : fmt::format("{} of {} bytes", first.seen, first.bytes);
  const std::string others =
      files.size() == 1 ? "" : fmt::format(", and {} more", files.size() - 1);
  return fmt::format("{} ({}){}", first.name, seen, others);
}

}  // namespace

void wait_for_files(const fs::path& folder, const std::map<std::string, Manifest::File>& files,
                    std::chrono::duration<double> patience) {
  constexpr std::chrono::seconds kQuiet{3}, kLongestPause{2};
  const auto start = Clock::now();
  std::chrono::milliseconds pause{10};
  bool said = false;
  std::vector<Unseen> unseen;
  for (const auto& [name, file] : files) unseen.push_back({name, file.bytes});
  for (;;) {
    std::erase_if(unseen, [&](Unseen& file) {
      file.seen = seen_size(folder / file.name);
      return file.seen == file.bytes;
    });
    if (unseen.empty()) return;
    const auto waited = Clock::now() - start;
    if (waited > patience) {
      throw IoError(fmt::format(
          "{}: after {:.0f} s this machine still does not see what other ranks wrote: {}. The "
          "shared file system lags, or run.dir is not the same folder on every machine",
          folder.string(), patience.count(), describe(unseen)));
    }
    if (!said && waited > kQuiet) {
      log::info(
          "{}: waiting up to {:.0f} s for files of other ranks that this machine does not "
          "see yet: {}",
          folder.string(), patience.count(), describe(unseen));
      said = true;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::milliseconds>(2 * pause, kLongestPause);
  }
}

}  // namespace muster::trainer
