#include "data/sources/picture_finder.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/files.h"
#include "data/images/picture_file.h"
#include "data/sources/junk.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/numbers.h"

namespace muster::data {
namespace {

// How many parts of two paths are the same, counted from their ends.
std::ptrdiff_t common_tail(const fs::path& a, const fs::path& b) {
  const std::vector<fs::path> parts_a(a.begin(), a.end());
  const std::vector<fs::path> parts_b(b.begin(), b.end());
  const auto same = [](const fs::path& x, const fs::path& y) {
    return lower_case(x.string()) == lower_case(y.string());
  };
  const auto [end, unused] =
      std::mismatch(parts_a.rbegin(), parts_a.rend(), parts_b.rbegin(), parts_b.rend(), same);
  (void)unused;
  return end - parts_a.rbegin();
}

// The path that a name means: slashes of Windows, and URLs of files.
std::string as_path(std::string name) {
  if (name.starts_with("file://")) name.erase(0, 7);
  const bool windows = name.find('\\') != std::string::npos;
  if (windows) std::replace(name.begin(), name.end(), '\\', '/');
  const bool drive = name.size() > 2 && name[1] == ':' && name[2] == '/';
  if (drive) name.erase(0, 3);
  return name;
}

bool exists_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

}  // namespace

bool may_be_picture(const fs::path& path) {
  constexpr std::array kRefused{".gif",  ".heic", ".heif", ".avif", ".jxl", ".jp2",
                                ".jfif", ".jpe",  ".mpo",  ".pgm",  ".ppm", ".dng"};
  if (is_picture_file(path)) return true;
  const std::string suffix = lower_extension(path);
  return std::find(kRefused.begin(), kRefused.end(), suffix) != kRefused.end();
}

PictureFinder::PictureFinder(std::vector<fs::path> roots, fs::path search)
    : roots_(std::move(roots)), search_(std::move(search)) {}

fs::path PictureFinder::find(const std::string& name) {
  const auto [at, added] = found_.try_emplace(name);
  if (added) at->second = look_up(name);
  return at->second;
}

fs::path PictureFinder::look_up(const std::string& name) {
  const fs::path wanted = as_path(name);
  for (const fs::path& root : roots_)
    if (exists_file(root / wanted)) return (root / wanted).lexically_normal();
  fs::path found = by_name(wanted, /*stem_only=*/false);
  if (found.empty()) return (roots_.front() / wanted).lexically_normal();
  if (found_by_name_++ == 0) first_by_name_ = fmt::format("{} at {}", name, found.string());
  return found;
}

fs::path PictureFinder::find_stem(const std::string& stem) {
  constexpr std::array kUsual{".jpg", ".png", ".jpeg", ".JPG"};
  const fs::path wanted = as_path(stem);
  for (const fs::path& root : roots_)
    for (const char* suffix : kUsual) {
      const fs::path path = root / (wanted.string() + suffix);
      if (exists_file(path)) return path.lexically_normal();
    }
  return by_name(wanted, /*stem_only=*/true);
}

void PictureFinder::tell(std::vector<std::string>& warnings) const {
  if (found_by_name_ > 0)
    warnings.push_back(
        fmt::format("{} pictures are not where the source says and were found by "
                    "name, first {}",
                    found_by_name_, first_by_name_));
}

void PictureFinder::list_pictures() {
  listed_ = true;
  if (search_.empty() || !fs::is_directory(search_)) return;
  for (const fs::path& path : list_files(search_, may_be_picture)) {
    by_file_name_[lower_case(path.filename().string())].push_back(path);
    by_stem_[lower_case(path.stem().string())].push_back(path);
  }
}

// The one file of that name that shares most folders with the name; empty when two do.
fs::path PictureFinder::by_name(const fs::path& name, bool stem_only) {
  if (!listed_) list_pictures();
  const Index& index = stem_only ? by_stem_ : by_file_name_;
  const auto at = index.find(lower_case(name.filename().string()));
  if (at == index.end()) return {};
  const auto likeness = [&](const fs::path& path) {
    return common_tail(stem_only ? path.parent_path() / path.stem() : path, name);
  };
  const fs::path* best = nullptr;
  std::ptrdiff_t most = 0;
  bool tied = false;
  for (const fs::path& path : at->second) {
    const std::ptrdiff_t like = likeness(path);
    tied = like == most || (tied && like < most);
    if (like <= most) continue;
    most = like;
    best = &path;
  }
  return best == nullptr || tied ? fs::path() : *best;
}

}  // namespace muster::data
