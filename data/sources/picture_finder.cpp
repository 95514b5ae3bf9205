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

}  // namespace

bool may_be_picture(const fs::path& path) {
  constexpr std::array kRefused{".gif",  ".heic", ".heif", ".avif", ".jxl", ".jp2",
                                ".jfif", ".jpe",  ".mpo",  ".pgm",  ".ppm", ".dng"};
  if (is_picture_file(path)) return true;
  const std::string suffix = lower_extension(path);
  return std::find(kRefused.begin(), kRefused.end(), suffix) != kRefused.end();
}

PictureFinder::PictureFinder(std::vector<fs::path> roots, fs::path search, const fs::path& scratch)
    : roots_(std::move(roots)), search_(std::move(search)), paths_(scratch) {}

fs::path PictureFinder::find(const std::string& name) {
  const Digest key = digest_of(name);
  if (const std::uint32_t known = found_.find(key); known != DigestMap::kNone)
    return paths_.at(known);
  fs::path path = look_up(name);
  found_.emplace(key, static_cast<std::uint32_t>(paths_.add(path.native())));
  return path;
}

fs::path PictureFinder::look_up(const std::string& name) {
  const fs::path wanted = as_path(name);
  for (const fs::path& root : roots_)
    if (there_is_file(root / wanted)) return (root / wanted).lexically_normal();
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
      if (there_is_file(path)) return path.lexically_normal();
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

void PictureFinder::Names::add(const std::string& name, std::uint32_t file) {
  const auto [number, is_first] = last.emplace(digest_of(lower_case(name)), file);
  before.push_back(is_first ? DigestMap::kNone : number);
  number = file;
}

void PictureFinder::list_pictures() {
  listed_.emplace(search_);
  if (search_.empty() || !fs::is_directory(search_)) return;
  listed_ = list_files(search_, may_be_picture);
  for (std::size_t i = 0; i < listed_->size(); ++i) {
    const fs::path name = fs::path(listed_->name(i)).filename();
    by_file_name_.add(name.string(), static_cast<std::uint32_t>(i));
    by_stem_.add(name.stem().string(), static_cast<std::uint32_t>(i));
  }
}

// The one file of that name that shares most folders with the name; empty when two do.
fs::path PictureFinder::by_name(const fs::path& name, bool stem_only) {
  if (!listed_) list_pictures();
  const Names& names = stem_only ? by_stem_ : by_file_name_;
  fs::path best;
  std::ptrdiff_t most = 0;
  bool tied = false;
  for (std::uint32_t at = names.last.find(digest_of(lower_case(name.filename().string())));
       at != DigestMap::kNone; at = names.before[at]) {
    fs::path path = (*listed_)[at];
    const std::ptrdiff_t like =
        common_tail(stem_only ? path.parent_path() / path.stem() : path, name);
    tied = like == most || (tied && like < most);
    if (like <= most) continue;
    most = like;
    best = std::move(path);
  }
  return tied ? fs::path() : best;
}

}  // namespace muster::data
