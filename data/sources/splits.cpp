#include "data/sources/splits.h"

#include <algorithm>
#include <array>

namespace muster::data {

std::vector<std::string> split_names(const std::string& split) {
  constexpr std::array kSame{"val", "valid", "validation"};
  std::vector<std::string> names{split};
  if (std::find(kSame.begin(), kSame.end(), split) == kSame.end()) return names;
  for (const char* name : kSame)
    if (name != split) names.emplace_back(name);
  return names;
}

std::string matching_split(const std::vector<std::string>& there, const std::string& asked) {
  for (const std::string& name : split_names(asked))
    if (std::find(there.begin(), there.end(), name) != there.end()) return name;
  return "";
}

}  // namespace muster::data
