// The guard before every YAML: what it lets through can be walked to its end.
#include "base/yaml/yaml.h"
#include "fuzz.h"

using namespace muster;

namespace {

std::size_t count(const YAML::Node& node) {
  std::size_t values = 1;
  if (node.IsSequence())
    for (const YAML::Node& item : node) values += count(item);
  if (node.IsMap())
    for (const auto& entry : node) values += count(entry.first) + count(entry.second);
  return values;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    for (const YAML::Node& document : parse_yaml(std::string(fuzz::as_text(data, size))))
      if (count(document) > 2 * kMaxYamlValues) __builtin_trap();
  } catch (const YAML::Exception&) {
  }
  return 0;
}
