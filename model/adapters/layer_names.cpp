#include "model/adapters/layer_names.h"

namespace muster::model {

std::string module_name(const std::string& name) {
  if (name.starts_with("visual.")) return "model." + name;
  if (name.starts_with("model.")) return "model.language_model." + name.substr(6);
  return name;
}

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

}  // namespace muster::model
