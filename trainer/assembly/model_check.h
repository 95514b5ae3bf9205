// What can be known of the model before it is loaded.
#pragma once

#include <string>

#include "configs/config.h"
#include "model/files/config.h"

namespace muster::trainer {

// Each on one line for people, without what is wrong: that throws.
struct ModelCheck {
  std::string config;     // what config.json leaves to its class, "" for nothing
  std::string weights;    // names, shapes and dtypes, from the files' headers
  std::string processor;  // the image processor's file and how the run differs from it
};

// Only headers are read, and an embedding that is stored twice. Throws ConfigError, and DataError
// for weights that are not those of config.json, or a model.adapter that is not of this config.
ModelCheck check_model(const configs::Config& config, const model::QwenConfig& model);

}  // namespace muster::trainer
