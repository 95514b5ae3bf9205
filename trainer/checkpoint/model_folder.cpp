#include "trainer/checkpoint/model_folder.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "base/source_files.h"
#include "model/files/foreign_model.h"

namespace muster::trainer {

namespace fs = std::filesystem;

fs::path find_model(const configs::Model& model) {
  std::vector<std::string> tried;
  for (const std::string& candidate : model.path) {
    const fs::path path = given_or_shipped(candidate);
    if (fs::exists(path / "config.json") ||
        (fs::is_regular_file(path) && path.extension() == ".json"))
      return path;
    tried.push_back(candidate + model::with_semicolon(model::foreign_model(path)));
  }
  std::string list;
  for (const std::string& path : tried) list += "\n  " + path;
  throw ConfigError("model.path: no config.json in any of the candidates:" + list);
}

}  // namespace muster::trainer
