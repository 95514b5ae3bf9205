// The two answers about a run that cost more than a glance: what triage says, and the page of
// `muster look`. One of each is made at a time, and kept until the run changes.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <string>

#include "base/files.h"

namespace muster::launcher {

class Explanations {
 public:
  // `muster triage --json` of the run. Throws Error.
  std::string triage(const std::filesystem::path& run);
  // The page: pictures of data.val with the run's predictions beside the truth. `muster look` makes
  // it, in a process of its own. Throws Error with its last words.
  std::string gallery(const std::filesystem::path& run);

 private:
  struct Kept {
    std::string signature;
    std::string text;
  };
  using Made = std::map<std::filesystem::path, Kept>;

  std::mutex triage_mutex_, gallery_mutex_;
  Made triages_, galleries_;
};

}  // namespace muster::launcher
