// Names of layers, as muster has them and as transformers' modules are called.
#pragma once

#include <string>

namespace muster::model {

// "model.layers.0.mlp.up_proj" -> "model.language_model.layers.0.mlp.up_proj", "visual.merger" ->
// "model.visual.merger": the modules of every family in transformers 4.52 and later, whatever
// their files say. model::published_name() goes the other way.
std::string module_name(const std::string& name);

std::string last_part(const std::string& name);  // "up_proj"

}  // namespace muster::model
