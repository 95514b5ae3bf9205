#include <fmt/core.h>

#include "base/error.h"
#include "data/pack/pack.h"
#include "launcher/doctor/judgements.h"

namespace muster::launcher {

std::vector<Finding> examine_data(const configs::Config& config) {
  std::vector<Finding> found;
  for (const auto& [path, identity] : pack_facts(config)) {
    const bool broken = identity.starts_with("error: ");
    found.push_back({"D-003", broken ? Level::kFail : Level::kOk,
                     broken ? identity.substr(7) : fmt::format("{} opens", path),
                     broken ? fmt::format("make it: `muster pack SOURCE -o {}`", path) : "", ""});
  }
  return found;
}

std::map<std::string, std::string> pack_facts(const configs::Config& config) {
  std::map<std::string, std::string> facts;
  for (const std::string& path : {config.data.train, config.data.val}) {
    if (path.empty()) continue;
    try {
      facts[path] = data::Pack(path).fingerprint();
    } catch (const Error& error) {
      facts[path] = std::string("error: ") + error.what();
    }
  }
  return facts;
}

}  // namespace muster::launcher
