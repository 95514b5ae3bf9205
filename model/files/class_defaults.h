// What config.json leaves out: transformers (4.45 and later) may save only what differs from the
// defaults of its configuration classes, and fills in the rest when it reads.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace muster::model {

// The defaults of one family's classes, under the names that config.json uses.
struct ClassDefaults {
  std::string_view model_type;
  nlohmann::json root;    // tokens and ties
  nlohmann::json vision;  // of vision_config
  nlohmann::json text;    // of text_config, or of the file itself in the flat layout
  nlohmann::json rope;    // of rope_scaling or rope_parameters
};

// REQUIRES that model_type is one of the families (model/files/family.h).
const ClassDefaults& class_defaults(std::string_view model_type);

}  // namespace muster::model
