// Where a picture lies that an annotation names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/pack/digest_map.h"
#include "data/pack/spool.h"
#include "data/sources/file_list.h"

namespace muster::data {

// Whether a file is a picture to this room: one that is read, or one of a kind that is refused by
// name rather than passed over (GIF, HEIC, ...).
bool may_be_picture(const std::filesystem::path& path);

// A name is tried as a path under each root in turn, then looked for by its last parts below
// `search`, whose files are listed only if that is needed. Not thread-safe.
class PictureFinder {
 public:
  // `scratch`: where the paths lie that were found.
  PictureFinder(std::vector<std::filesystem::path> roots, std::filesystem::path search,
                const std::filesystem::path& scratch);

  // Windows' paths and file:// URLs are understood. A picture that is not found is said to be in
  // the first root.
  std::filesystem::path find(const std::string& name);
  // The picture `stem` + any suffix of pictures; empty when there is none. `stem` may have folders.
  std::filesystem::path find_stem(const std::string& stem);

  std::int64_t found_by_name() const { return found_by_name_; }
  // "N pictures were found by name below ..., first ..." when there are any.
  void tell(std::vector<std::string>& warnings) const;

 private:
  // Files of `listed_` by a name in lower case.
  struct Names {
    void add(const std::string& name, std::uint32_t file);

    DigestMap last;                     // of that name
    std::vector<std::uint32_t> before;  // the file of the same name before each, or kNone
  };

  std::filesystem::path look_up(const std::string& name);
  std::filesystem::path by_name(const std::filesystem::path& name, bool stem_only);
  void list_pictures();

  std::vector<std::filesystem::path> roots_;
  std::filesystem::path search_;
  std::optional<FileList> listed_;
  Names by_file_name_, by_stem_;
  DigestMap found_;  // by name: which of paths_
  TextSpool paths_;
  std::int64_t found_by_name_ = 0;
  std::string first_by_name_;
};

}  // namespace muster::data
