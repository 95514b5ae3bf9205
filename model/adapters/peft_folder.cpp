#include "model/adapters/peft_folder.h"

#include <ATen/core/grad_mode.h>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "model/adapters/layer_names.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/shapes.h"
#include "model/qwen/weights.h"

namespace muster::model {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kPrefix = "base_model.model.";

std::string peft_name(const std::string& parameter) {
  return std::string(kPrefix) + module_name(parameter);
}

std::string layer_of(const std::string& parameter) {
  const std::size_t at = parameter.find(".lora_");
  return at == std::string::npos ? parameter : parameter.substr(0, at);
}

// Is the value one that PEFT writes for "not used"?
bool is_unused(const ordered_json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty()) ||
         value == "none";
}

// Settings of PEFT that change what is computed and that muster has no counterpart for.
constexpr const char* kForeign[] = {
    "bias",           "modules_to_save",   "rank_pattern",    "alpha_pattern",
    "fan_in_fan_out", "layer_replication", "lora_bias",       "trainable_token_indices",
    "use_qalora",     "target_parameters", "megatron_config", "alora_invocation_tokens",
    "use_bdlora",     "arrow_config",      "kasa_config",     "monteclora_config",
    "velora_config"};

const char* advice_on(const std::string& key) {
  if (key == "modules_to_save")
    return "whole modules beside the adapters are not trained here: train without them";
  if (key == "rank_pattern" || key == "alpha_pattern")
    return "every adapter of a run has one rank and one alpha";
  return "muster does not compute it: merge the adapter with PEFT and start from the result";
}

ordered_json parsed_config(const fs::path& file) {
  try {
    ordered_json json = parse_ordered_json(read_text(file));
    if (json.is_object()) return json;
  } catch (const JsonError& error) {
    throw CheckpointError(fmt::format("{}: not a JSON object: {}", file.string(), error.what()));
  }
  throw CheckpointError(file.string() + ": not a JSON object");
}

void refuse_foreign(const ordered_json& json, const fs::path& file) {
  const std::string type = json.value("peft_type", ordered_json("")).dump();
  if (type != "\"LORA\"")
    throw CheckpointError(
        fmt::format("{}: peft_type is {}, and muster reads \"LORA\" alone", file.string(), type));
  for (const char* key : kForeign) {
    if (!json.contains(key) || is_unused(json[key])) continue;
    throw CheckpointError(
        fmt::format("{}: {} is {}: {}", file.string(), key, json[key].dump(), advice_on(key)));
  }
}

double number_of(const ordered_json& json, const char* key, double otherwise,
                 const fs::path& file) {
  if (!json.contains(key)) return otherwise;
  if (json[key].is_number()) return json[key].get<double>();
  throw CheckpointError(
      fmt::format("{}: {} is {}, not a number", file.string(), key, json[key].dump()));
}

bool flag_of(const ordered_json& json, const char* key) {
  return json.contains(key) && json[key] == true;
}

LoraSetup setup_of(const ordered_json& json, const fs::path& file) {
  LoraSetup setup;
  const double rank = number_of(json, "r", 8, file);  // 8 and 8: PEFT's own defaults
  if (rank < 1 || rank > 1 << 20 || rank != std::floor(rank))
    throw CheckpointError(fmt::format("{}: r is {}, not a rank", file.string(), rank));
  setup.rank = static_cast<std::int64_t>(rank);
  setup.alpha = number_of(json, "lora_alpha", 8, file);
  setup.dropout = number_of(json, "lora_dropout", 0, file);
  setup.rslora = flag_of(json, "use_rslora");
  setup.dora = flag_of(json, "use_dora");
  return setup;
}

SafetensorsReader open_tensors(const fs::path& folder) {
  if (!fs::exists(folder / kAdapterFile) && fs::exists(folder / "adapter_model.bin"))
    throw CheckpointError(
        fmt::format("{}: adapter_model.bin is a pickle, which muster does not read: save it with "
                    "save_pretrained(..., safe_serialization=True)",
                    folder.string()));
  return SafetensorsReader(folder / kAdapterFile);
}

// Every module that holds a parameter or another module: "visual", "visual.blocks", ...
std::set<std::string> modules_of(const QwenConfig& config) {
  std::set<std::string> modules;
  for (const auto& [name, shape] : parameter_shapes(config)) {
    for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      modules.insert(name.substr(0, dot));
  }
  return modules;
}

std::vector<std::string> target_modules(const std::vector<std::string>& layers,
                                        const QwenConfig& config) {
  const std::set<std::string> wanted(layers.begin(), layers.end());
  std::set<std::string> ends;
  for (const std::string& layer : layers) ends.insert(last_part(layer));
  const bool exact = std::ranges::all_of(modules_of(config), [&](const std::string& module) {
    return wanted.contains(module) == ends.contains(last_part(module));
  });
  if (exact) return {ends.begin(), ends.end()};
  std::vector<std::string> names;
  for (const std::string& layer : layers) names.push_back(module_name(layer));
  return names;
}

ordered_json as_number(double value) {
  const auto whole = static_cast<std::int64_t>(value);
  return static_cast<double>(whole) == value ? ordered_json(whole) : ordered_json(value);
}

std::string config_text(const PeftAdapter& adapter, const QwenConfig& config) {
  const LoraSetup& setup = adapter.setup;
  ordered_json json;
  json["peft_type"] = "LORA";
  json["task_type"] = "CAUSAL_LM";
  json["base_model_name_or_path"] = adapter.base_model;
  json["r"] = setup.rank;
  json["lora_alpha"] = as_number(setup.alpha);
  json["lora_dropout"] = setup.dropout;
  json["use_rslora"] = setup.rslora;
  json["use_dora"] = setup.dora;
  json["target_modules"] = target_modules(setup.layers, config);
  json["bias"] = "none";
  json["fan_in_fan_out"] = false;
  json["init_lora_weights"] = true;
  json["inference_mode"] = true;
  json["modules_to_save"] = nullptr;
  json["rank_pattern"] = ordered_json::object();
  json["alpha_pattern"] = ordered_json::object();
  return json.dump(2) + "\n";
}

}  // namespace

std::string adapter_parameter(const std::string& stored) {
  return published_name(stored.starts_with(kPrefix) ? stored.substr(kPrefix.size()) : stored);
}

bool is_adapter_folder(const fs::path& folder) { return fs::exists(folder / kAdapterConfigFile); }

PeftAdapter read_adapter(const fs::path& folder) {
  const fs::path file = folder / kAdapterConfigFile;
  if (!fs::exists(file))
    throw CheckpointError(
        fmt::format("{}: no {}: not a folder of PEFT's", folder.string(), kAdapterConfigFile));
  const ordered_json json = parsed_config(file);
  refuse_foreign(json, file);
  const SafetensorsReader reader = open_tensors(folder);
  PeftAdapter adapter{.setup = setup_of(json, file), .metadata = reader.metadata()};
  if (json.contains("base_model_name_or_path") && json["base_model_name_or_path"].is_string())
    adapter.base_model = json["base_model_name_or_path"];
  for (const std::string& stored : reader.names()) {
    const std::string parameter = adapter_parameter(stored);
    const std::string layer = layer_of(parameter);
    if (is_adapter(parameter) && !std::ranges::count(adapter.setup.layers, layer))
      adapter.setup.layers.push_back(layer);
  }
  return adapter;
}

void load_adapter(const fs::path& folder, const std::vector<NamedParam>& parameters) {
  const SafetensorsReader reader = open_tensors(folder);
  std::map<std::string, std::string> stored;  // muster's name -> the file's
  for (const std::string& name : reader.names()) stored[adapter_parameter(name)] = name;
  std::vector<std::string> problems;
  std::vector<std::pair<at::Tensor, std::string>> copies;
  for (const NamedParam& param : parameters) {
    if (!is_adapter(param.name)) continue;
    const auto found = stored.extract(param.name);
    if (found.empty()) {
      problems.push_back("missing " + param.name);
    } else if (param.tensor.sizes() != reader.shape(found.mapped())) {
      problems.push_back(fmt::format("{} is [{}] in the file, [{}] here", param.name,
                                     fmt::join(reader.shape(found.mapped()), ", "),
                                     fmt::join(param.tensor.sizes().vec(), ", ")));
    } else {
      copies.emplace_back(param.tensor, found.mapped());
    }
  }
  for (const auto& [name, in_file] : stored) problems.push_back("unexpected " + in_file);
  if (!problems.empty()) {
    constexpr std::size_t kShown = 10;
    const std::size_t all = problems.size();
    problems.resize(std::min(all, kShown));
    throw CheckpointError(fmt::format("{}: the adapter does not fit ({} tensors): {}",
                                      (folder / kAdapterFile).string(), all, join(problems, "; ")));
  }
  const at::NoGradGuard no_graph;
  for (auto& [target, name] : copies) target.copy_(reader.view(name));
}

void write_adapter(const fs::path& folder, const PeftAdapter& adapter, const QwenConfig& config,
                   const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (const auto& [name, tensor] : tensors) named.emplace_back(peft_name(name), tensor);
  std::map<std::string, std::string> metadata = adapter.metadata;
  metadata["format"] = "pt";
  write_safetensors(folder / kAdapterFile, named, metadata);
  write_text(folder / kAdapterConfigFile, config_text(adapter, config));
}

}  // namespace muster::model
