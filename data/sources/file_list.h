// Files below one folder, sorted as paths are: some ten bytes a file beside its name.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace muster::data {

class FileList {
 public:
  explicit FileList(std::filesystem::path folder);

  void add(const std::filesystem::path& file);  // REQUIRES a path that begins with the folder's
  void sort();

  std::size_t size() const { return begin_.size(); }
  bool empty() const { return begin_.empty(); }
  std::string_view name(std::size_t i) const { return names_.data() + begin_[i]; }  // below folder
  std::filesystem::path operator[](std::size_t i) const { return folder_ / name(i); }
  std::vector<std::filesystem::path> paths() const;  // of a few files

  // for (const fs::path& file : list)
  class Iterator {
   public:
    Iterator(const FileList& list, std::size_t at) : list_(&list), at_(at) {}
    std::filesystem::path operator*() const { return (*list_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    const FileList* list_;
    std::size_t at_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

 private:
  std::filesystem::path folder_;
  std::size_t prefix_ = 0;          // bytes of the folder in front of each file's name
  std::string names_;               // each ends with a zero
  std::vector<std::size_t> begin_;  // of each in names_
};

// No error is an answer, too.
bool there_is(const std::filesystem::path& path);
bool there_is_file(const std::filesystem::path& path);

}  // namespace muster::data
