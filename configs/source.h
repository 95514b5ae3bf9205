// YAML files and what they extend, read and parsed but not yet understood.
#pragma once

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <string>
#include <vector>

namespace muster::configs {

struct Source {
  std::string file;  // as shown in messages
  YAML::Node root;   // a map, possibly empty
};

struct Chain {
  std::vector<Source> sources;  // what is extended comes before what extends it; each file once
  bool whole = true;  // false: some file could not be read, so keys may only seem to be missing
};

// Reads `file` and what it extends; a relative path that is not there may name what muster ships.
// Problems ("file:line: what") are appended, never thrown.
Chain read_chain(const std::filesystem::path& file, std::vector<std::string>& problems);

}  // namespace muster::configs
