#include "data/sources/file_list.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace muster::data {
namespace {

// Paths are compared folder by folder: a slash, where a folder's name ends, comes before all that
// may follow in a longer name.
int rank(char letter) {
  if (letter == '\0') return 0;
  return letter == '/' ? 1 : 1 + static_cast<unsigned char>(letter);
}

bool is_before(const char* a, const char* b) {
  while (*a == *b && *a != '\0') {
    ++a;
    ++b;
  }
  return rank(*a) < rank(*b);
}

}  // namespace

FileList::FileList(std::filesystem::path folder)
    : folder_(std::move(folder)), prefix_((folder_ / "").native().size()) {}

void FileList::add(const std::filesystem::path& file) {
  begin_.push_back(names_.size());
  names_.append(file.native(), prefix_).push_back('\0');
}

void FileList::sort() {
  std::ranges::sort(begin_, [this](std::size_t a, std::size_t b) {
    return is_before(names_.data() + a, names_.data() + b);
  });
}

std::vector<std::filesystem::path> FileList::paths() const {
  std::vector<std::filesystem::path> all;
  for (const std::filesystem::path& file : *this) all.push_back(file);
  return all;
}

bool there_is(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

bool there_is_file(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

}  // namespace muster::data
