#include <fmt/core.h>

#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/pack/pack.h"
#include "launcher/doctor/judgements.h"

namespace muster::launcher {

std::vector<Finding> examine_data(const configs::Config& config) {
  std::vector<Finding> found;
  for (const auto& [path, identity] : pack_facts(config)) {
    if (identity.starts_with(kBrokenPack))
      found.push_back(fail("D-003", identity.substr(kBrokenPack.size()),
                           fmt::format("make it: `muster pack SOURCE -o {}`", path)));
    else
      found.push_back(ok("D-003", fmt::format("{} opens", path)));
  }
  return found;
}

std::map<std::string, std::string> pack_facts(const configs::Config& config) {
  std::map<std::string, std::string> facts;
  std::vector<fs::path> paths = configs::pack_files(config.data.train);
  for (const fs::path& path : configs::pack_files(config.data.val)) paths.push_back(path);
  for (const fs::path& path : paths) {
    try {
      facts[path.string()] = data::Pack(path).fingerprint();
    } catch (const Error& error) {
      facts[path.string()] = std::string(kBrokenPack) + error.what();
    }
  }
  return facts;
}

}  // namespace muster::launcher
