// config.json for every version of transformers. 5.x writes text_config, rope_parameters and dtype;
// 4.49 reads none of them, and what it does not read becomes its class's default, the 72B model.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "model/files/config.h"

namespace muster::model {

// `file` in the layout that 4.49, 4.57 and 5.x read alike: flat as published for Qwen2-VL and
// Qwen2.5-VL, nested for Qwen3-VL (4.57 and later), with rope_scaling and rope_theta, the weights'
// dtype ("bfloat16") in both spellings, and every size explicit. Keys that muster does not know
// stay. REQUIRES that `config` was read from `file`.
nlohmann::ordered_json portable_config(nlohmann::ordered_json file, const QwenConfig& config,
                                       const std::string& dtype);

}  // namespace muster::model
