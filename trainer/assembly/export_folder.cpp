#include "trainer/assembly/export_folder.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process/atomic_file.h"
#include "data/images/preprocessor_file.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/shapes.h"
#include "model/qwen/weights.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/files.h"

namespace muster::trainer {
namespace {

constexpr const char* kPreprocessor = "preprocessor_config.json";

std::string transformers_dtype(at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return "bfloat16";
  return dtype == at::kHalf ? "float16" : "float32";
}

// transformers loads in the dtype that config.json names, in any of the sections that name one.
void write_config(const fs::path& from, const fs::path& to, at::ScalarType dtype) {
  auto config = parse_ordered_json(read_text(from));
  const auto name = transformers_dtype(dtype);
  const auto set = [&](nlohmann::ordered_json& section) {
    for (const char* key : {"dtype", "torch_dtype"})
      if (section.contains(key)) section[key] = name;
  };
  if (!config.contains("dtype") && !config.contains("torch_dtype")) config["torch_dtype"] = name;
  set(config);
  for (const char* section : {"text_config", "vision_config"})
    if (config.contains(section)) set(config[section]);
  write_text(to, config.dump(2) + "\n");
}

// Views into the mapped checkpoint: nothing is copied before it is written.
void write_weights(const fs::path& checkpoint, const fs::path& out, std::int64_t shard_bytes) {
  const model::QwenConfig config = model::read_config(checkpoint);
  model::check_weights(checkpoint, config);
  const model::SafetensorsReader reader(checkpoint);
  std::map<std::string, std::string> stored;
  for (const std::string& name : reader.names()) stored[model::published_name(name)] = name;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, shape] : model::parameter_shapes(config))
    tensors.emplace_back(model::file_name(name, model::family_of(config.model_type)),
                         reader.view(stored.at(name)));
  model::write_safetensors_folder(out, tensors, shard_bytes);
  write_config(checkpoint / "config.json", out / "config.json",
               tensors.front().second.scalar_type());
}

void copy_small_files(const fs::path& checkpoint, const fs::path& out) {
  std::vector<std::string> names = companion_files();
  names.insert(names.end(), {kHeadFile, "class_map.json", "config.yaml"});
  for (const std::string& name : names)
    if (fs::exists(checkpoint / name)) fs::copy_file(checkpoint / name, out / name);
  if (fs::exists(out / kPreprocessor) || !fs::exists(checkpoint / "config.yaml")) return;
  configs::Config config = configs::load(checkpoint / "config.yaml");
  config.model.path = {checkpoint.string()};
  const data::EncodeOptions options = encode_options(config, model::read_config(checkpoint));
  write_text(out / kPreprocessor, data::preprocessor_json(options.patches));
}

}  // namespace

void export_folder(const fs::path& checkpoint, const fs::path& out, std::int64_t shard_bytes) {
  if (fs::exists(out))
    throw UsageError(fmt::format("export: {} exists already; name a new folder", out.string()));
  verify_checkpoint(checkpoint, /*with_optimizer=*/false);
  AtomicFolder folder(out);
  write_weights(checkpoint, folder.part(), shard_bytes);
  copy_small_files(checkpoint, folder.part());
  folder.commit();
}

}  // namespace muster::trainer
