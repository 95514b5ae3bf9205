#include "trainer/assembly/export_folder.h"

#include <ATen/core/grad_mode.h>
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "data/images/preprocessor_file.h"
#include "model/adapters/peft_folder.h"
#include "model/files/portable_config.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/shapes.h"
#include "model/qwen/weights.h"
#include "sharding/state/shard_store.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/modeling_file.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/files.h"
#include "trainer/checkpoint/manifest/manifest.h"
#include "trainer/checkpoint/verify.h"

namespace muster::trainer {
namespace {

std::string transformers_dtype(at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return "bfloat16";
  return dtype == at::kHalf ? "float16" : "float32";
}

void write_config(const fs::path& from, const fs::path& to, const model::QwenConfig& config,
                  at::ScalarType dtype) {
  const auto file = parse_ordered_json(read_text(from));
  write_text(to, model::portable_config(file, config, transformers_dtype(dtype)).dump(2) + "\n");
}

// With it AutoModel.from_pretrained(FOLDER, trust_remote_code=True) is the detector; every other
// class of transformers loads the language model, as without it.
void write_python(const fs::path& out) {
  write_text(out / kModelingName, std::string(kModelingText));
  auto config = parse_ordered_json(read_text(out / "config.json"));
  config["auto_map"]["AutoModel"] = "modeling_muster.MusterDetector";
  write_text(out / "config.json", config.dump(2) + "\n");
}

// Views into the mapped checkpoint: nothing is copied before it is written. With `masters` what
// trains is as the last step left it.
void write_weights(const fs::path& checkpoint, const fs::path& out, std::int64_t shard_bytes,
                   const sharding::SavedMasters* masters) {
  const model::QwenConfig config = model::read_config(checkpoint);
  model::check_weights(checkpoint, config);
  const model::SafetensorsReader reader(checkpoint);
  std::map<std::string, std::string> stored;
  for (const std::string& name : reader.names()) stored[model::published_name(name)] = name;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, shape] : model::parameter_shapes(config)) {
    const at::Tensor tensor = reader.view(stored.at(name));
    const bool raw = masters != nullptr && masters->contains(name);
    tensors.emplace_back(model::file_name(name, model::family_of(config.model_type)),
                         raw ? masters->read(name, tensor.scalar_type()) : tensor);
  }
  model::write_safetensors_folder(out, tensors, shard_bytes);
  write_config(checkpoint / "config.json", out / "config.json", config,
               tensors.front().second.scalar_type());
}

std::string as_stored(const std::string& name) { return name; }

// A file of the checkpoint that holds the running mean, with the masters in place of it.
// `parameter_of`: the parameter that a tensor of the file is.
void write_raw(const fs::path& from, const fs::path& to, const sharding::SavedMasters& masters,
               std::string (*parameter_of)(const std::string&)) {
  const model::SafetensorsReader reader(from);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const std::string& stored : reader.names()) {
    const at::Tensor tensor = reader.view(stored);
    const std::string name = parameter_of(stored);
    tensors.emplace_back(
        stored, masters.contains(name) ? masters.read(name, tensor.scalar_type()) : tensor);
  }
  model::write_safetensors(to, tensors, reader.metadata());
}

bool keeps_mean(const fs::path& checkpoint) {
  const fs::path config = checkpoint / "config.yaml";
  return fs::exists(config) && configs::load(config).ema.decay > 0;
}

// What the raw weights are read from; null where the folder's own weights are meant.
std::unique_ptr<sharding::SavedMasters> raw_masters(const fs::path& checkpoint,
                                                    ExportedWeights weights) {
  const bool mean = keeps_mean(checkpoint);
  if (weights == ExportedWeights::kEma && !mean)
    throw UsageError(fmt::format("export --weights ema: {} has no running mean (ema.decay)",
                                 checkpoint.string()));
  if (weights != ExportedWeights::kRaw || !mean) {
    log::info("weights: {}", mean ? "the running mean (ema), as evaluated; --weights raw has those "
                                    "of the last step"
                                  : "raw: the run kept no running mean (ema.decay)");
    return nullptr;
  }
  if (!fs::exists(checkpoint / kManifestFile))
    throw UsageError(fmt::format(
        "export --weights raw: {} holds the running mean alone; name a step-* folder of the run",
        checkpoint.string()));
  log::info("weights: raw, as the last step left them; evaluations measured the running mean");
  return std::make_unique<sharding::SavedMasters>(
      optimizer_files(checkpoint, read_manifest(checkpoint)));
}

// transformers 5 writes one file of processors and a template as text; 4.49 reads neither. All
// versions read the files of 4.
void make_portable(const fs::path& out) {
  const fs::path whole = out / data::kProcessorFile;
  if (data::preprocessor_in(out) == whole) {
    const data::ProcessorParts parts = data::processor_parts(read_text(whole));
    write_text(out / data::kPreprocessorFile, parts.images);
    if (!parts.videos.empty()) write_text(out / "video_preprocessor_config.json", parts.videos);
    fs::remove(whole);
  }
  const fs::path text = out / "chat_template.jinja", json = out / "chat_template.json";
  if (fs::exists(text) && !fs::exists(json))
    write_text(json, nlohmann::json{{"chat_template", read_text(text)}}.dump(2) + "\n");
}

// The image processor's file says what the run did with its images, whatever the model that it
// started from was published with.
void write_processors(const fs::path& checkpoint, const fs::path& out) {
  make_portable(out);
  if (!fs::exists(checkpoint / "config.yaml")) return;
  configs::Config config = configs::load(checkpoint / "config.yaml");
  config.model.path = {checkpoint.string()};
  const data::PatchOptions patches = encode_options(config, model::read_config(checkpoint)).patches;
  const fs::path images = out / data::kPreprocessorFile;
  write_text(images, fs::exists(images) ? data::preprocessor_with(read_text(images), patches)
                                        : data::preprocessor_json(patches));
}

// Of a LoRA run what trains there is the adapters.
void take_masters(const model::QwenVL& backbone, const sharding::SavedMasters& masters) {
  const at::NoGradGuard no_graph;
  for (model::NamedParam& p : backbone.parameters())
    if (masters.contains(p.name)) p.tensor.copy_(masters.read(p.name, p.tensor.scalar_type()));
}

// The weights with the adapters in them, with `masters` as the last step left those.
void write_merged(const fs::path& checkpoint, const fs::path& out, std::int64_t shard_bytes,
                  const sharding::SavedMasters* masters) {
  const at::ScalarType dtype = scalar_type(configs::load(checkpoint / "config.yaml").model.dtype);
  const model::QwenVL backbone = load_backbone(checkpoint, {.dtype = dtype});
  if (masters != nullptr) take_masters(backbone, *masters);
  const model::Family& family = model::family_of(backbone.config().model_type);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const model::NamedParam& p : backbone.merged_parameters())
    tensors.emplace_back(model::file_name(p.name, family), p.tensor.detach());
  model::write_safetensors_folder(out, tensors, shard_bytes);
  write_config(checkpoint / "config.json", out / "config.json", backbone.config(), dtype);
}

void write_adapters(const fs::path& checkpoint, const fs::path& out,
                    const sharding::SavedMasters* masters) {
  for (const char* name : {model::kAdapterConfigFile, "config.json"})
    fs::copy_file(checkpoint / name, out / name);
  const fs::path from = checkpoint / model::kAdapterFile;
  const fs::path to = out / model::kAdapterFile;
  if (masters == nullptr)
    fs::copy_file(from, to);
  else
    write_raw(from, to, *masters, model::adapter_parameter);
}

void copy_small_files(const fs::path& checkpoint, const fs::path& out) {
  std::vector<std::string> names = companion_files();
  names.insert(names.end(), {kHeadFile, "class_map.json", "config.yaml"});
  for (const std::string& name : names)
    if (fs::exists(checkpoint / name)) fs::copy_file(checkpoint / name, out / name);
  write_processors(checkpoint, out);
}

}  // namespace

void export_folder(const fs::path& checkpoint, const fs::path& out, const ExportOptions& options) {
  if (fs::exists(out))
    throw UsageError(fmt::format("export: {} exists already; name a new folder", out.string()));
  verify_checkpoint(checkpoint, /*with_optimizer=*/options.weights == ExportedWeights::kRaw);
  const bool lora = model::is_adapter_folder(checkpoint);
  if (options.merge && !lora)
    throw UsageError(
        fmt::format("export --merge: {} has no adapters; leave --merge out", checkpoint.string()));
  const auto masters = raw_masters(checkpoint, options.weights);
  AtomicFolder folder(out);
  if (options.merge)
    write_merged(checkpoint, folder.part(), options.shard_bytes, masters.get());
  else if (lora)
    write_adapters(checkpoint, folder.part(), masters.get());
  else
    write_weights(checkpoint, folder.part(), options.shard_bytes, masters.get());
  copy_small_files(checkpoint, folder.part());
  const bool head = fs::exists(folder.part() / kHeadFile);
  if (head && masters != nullptr)
    write_raw(checkpoint / kHeadFile, folder.part() / kHeadFile, *masters, as_stored);
  if ((options.merge || !lora) && head) write_python(folder.part());
  folder.commit();
}

}  // namespace muster::trainer
