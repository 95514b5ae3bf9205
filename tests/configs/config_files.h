// Config files in a temporary folder, and what load() says about them.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "configs/config.h"
#include "support/test_paths.h"

namespace muster::configs::test {

inline fs::path shipped(const std::string& name) {
  return muster::test::source_dir() / "configs" / name;
}

// A folder with complete.yaml, in which every key has a valid value.
class ConfigFiles {
 public:
  ConfigFiles() { write("complete.yaml", to_yaml(load(shipped("demo.yaml")))); }

  fs::path path(const std::string& name) const { return folder_.path() / name; }
  fs::path write(const std::string& name, std::string_view text) const {
    fs::create_directories(path(name).parent_path());
    write_text(path(name), text);
    return path(name);
  }
  // Writes run.yaml, which extends complete.yaml on line 1; `text` starts on line 2.
  fs::path write_run(const std::string& text) const {
    return write("run.yaml", "extends: complete.yaml\n" + text);
  }

  // Every line of the ConfigError, without the folder's name; empty when the config loads.
  std::vector<std::string> problems(const fs::path& file,
                                    const std::vector<std::string>& overrides = {}) const {
    try {
      load(file, overrides);
    } catch (const ConfigError& error) {
      return without_folder(split(error.what(), '\n'));
    }
    return {};
  }
  std::vector<std::string> problems_of_run(const std::string& text) const {
    return problems(write_run(text));
  }

 private:
  std::vector<std::string> without_folder(std::vector<std::string> lines) const {
    const std::string prefix = folder_.path().string() + "/";
    for (std::string& line : lines) {
      for (std::size_t at; (at = line.find(prefix)) != std::string::npos;)
        line.erase(at, prefix.size());
    }
    return lines;
  }

  TempDir folder_{"configs"};
};

using Lines = std::vector<std::string>;

}  // namespace muster::configs::test
