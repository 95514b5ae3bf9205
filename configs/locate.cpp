#include "configs/locate.h"

#include <algorithm>

#include "base/text.h"
#include "configs/source.h"

namespace muster::configs {
namespace {

std::string as_flow(const YAML::Node& node) {
  if (node.IsScalar()) return node.Scalar();
  YAML::Emitter out;
  out.SetMapFormat(YAML::Flow);
  out.SetSeqFormat(YAML::Flow);
  out << node;
  return out.c_str();
}

std::optional<Place> locate_in(const Source& source, const std::string& key) {
  YAML::Node node;
  node.reset(source.root);
  for (const std::string& part : split(key, '.')) {
    if (!node.IsMap() || !node[part]) return std::nullopt;
    node.reset(node[part]);
  }
  return Place{source.file, node.Mark().line + 1, as_flow(node)};
}

}  // namespace

std::optional<Place> locate(const std::filesystem::path& config, const std::string& key) {
  std::vector<std::string> ignored;
  const Chain chain = read_chain(config, ignored);
  for (auto source = chain.sources.rbegin(); source != chain.sources.rend(); ++source)
    if (auto place = locate_in(*source, key)) return place;
  return std::nullopt;
}

}  // namespace muster::configs
