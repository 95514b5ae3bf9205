// YAML from outside, bounded: yaml-cpp's nodes refer to each other, so that a few lines of aliases
// can stand for more values than there is memory, or for themselves.
#pragma once

#include <yaml-cpp/yaml.h>

#include <string>
#include <vector>

namespace muster {

inline constexpr std::size_t kMaxYamlDepth = 100;
inline constexpr std::size_t kMaxYamlValues =
    10'000'000;  // with every alias counted as what it names

// All documents of a text. Throws YAML::ParserException, with its place, for what is no YAML, for
// more than kMaxYamlDepth levels or kMaxYamlValues values, and for an alias inside of what it
// names.
std::vector<YAML::Node> parse_yaml(const std::string& text);

}  // namespace muster
