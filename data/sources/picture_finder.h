// Where a picture lies that an annotation names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

namespace muster::data {

// Whether a file is a picture to this room: one that is read, or one of a kind that is refused by
// name rather than passed over (GIF, HEIC, ...).
bool may_be_picture(const std::filesystem::path& path);

// A name is tried as a path under each root in turn, then looked for by its last parts below
// `search`, whose files are listed only if that is needed. Not thread-safe.
class PictureFinder {
 public:
  PictureFinder(std::vector<std::filesystem::path> roots, std::filesystem::path search);

  // Windows' paths and file:// URLs are understood. A picture that is not found is said to be in
  // the first root.
  std::filesystem::path find(const std::string& name);
  // The picture `stem` + any suffix of pictures; empty when there is none. `stem` may have folders.
  std::filesystem::path find_stem(const std::string& stem);

  std::int64_t found_by_name() const { return found_by_name_; }
  // "N pictures were found by name below ..., first ..." when there are any.
  void tell(std::vector<std::string>& warnings) const;

 private:
  using Index = std::unordered_map<std::string, std::vector<std::filesystem::path>>;

  std::filesystem::path look_up(const std::string& name);
  std::filesystem::path by_name(const std::filesystem::path& name, bool stem_only);
  void list_pictures();

  std::vector<std::filesystem::path> roots_;
  std::filesystem::path search_;
  bool listed_ = false;
  Index by_file_name_, by_stem_;  // keys in lower case
  std::unordered_map<std::string, std::filesystem::path> found_;
  std::int64_t found_by_name_ = 0;
  std::string first_by_name_;
};

}  // namespace muster::data
