#include <fmt/core.h>

#include "base/error.h"
#include "data/pack.h"
#include "launcher/preflight.h"

namespace muster::launcher {

std::vector<Finding> examine_data(const configs::Config& config) {
  std::vector<Finding> found;
  for (const std::string& path : {config.data.train, config.data.val}) {
    try {
      const data::Pack pack(path);
      found.push_back({"D-003", Level::kOk, fmt::format("{}: {} samples", path, pack.size()), ""});
    } catch (const Error& error) {
      found.push_back({"D-003", Level::kFail, error.what(), fmt::format("make it: `muster pack SOURCE -o {}`", path)});
    }
  }
  return found;
}

}  // namespace muster::launcher
