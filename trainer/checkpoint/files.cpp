#include "trainer/checkpoint/files.h"

#include <c10/core/GradMode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "model/adapters/peft_folder.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "model/head/detection_head.h"
#include "model/qwen/weights.h"
#include "trainer/checkpoint/lora_run.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::trainer {
namespace {

constexpr const char* kModelFile = "model.safetensors";
using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

bool in_head(const std::string& name) { return name.starts_with("detection_head."); }

std::string stored_name(const std::string& name, const model::Detector& detector) {
  return model::file_name(name, model::family_of(detector.backbone().config().model_type));
}

// Copies on the host, split into the files they go to. A LoRA run has adapters instead of a
// backbone.
struct HostCopy {
  Tensors backbone, adapters, head;
};

at::Tensor host_copy(const at::Tensor& tensor) { return tensor.detach().to(at::kCPU).clone(); }

HostCopy copy_parameters(const model::Detector& detector, bool lora) {
  HostCopy copy;
  for (const model::NamedParam& p : detector.parameters()) {
    if (in_head(p.name))
      copy.head.emplace_back(p.name, host_copy(p.tensor));
    else if (model::is_adapter(p.name))
      copy.adapters.emplace_back(p.name, host_copy(p.tensor));
    else if (!lora)
      copy.backbone.emplace_back(stored_name(p.name, detector), host_copy(p.tensor));
  }
  return copy;
}

// Small files that make the folder usable by itself: predict, export and Hugging Face tools need no
// other path.
std::vector<std::string> copy_companions(const configs::Config& config, const fs::path& folder) {
  std::vector<std::string> names;
  const auto take = [&](const fs::path& source, const std::string& name) {
    if (!fs::exists(source)) return;
    fs::copy_file(source, folder / name, fs::copy_options::overwrite_existing);
    names.push_back(name);
  };
  const fs::path model = find_model(config.model);
  take(fs::is_directory(model) ? model / "config.json" : model, "config.json");
  const fs::path tokenizer = config.tokens.tokenizer;
  const fs::path tokenizer_dir = fs::is_directory(tokenizer) ? tokenizer : tokenizer.parent_path();
  for (const std::string& name : companion_files())
    take(fs::exists(tokenizer_dir / name) ? tokenizer_dir / name : model / name, name);
  return names;
}

void write_adapters(const configs::Config& config, const BaseModel& base, const Tensors& adapters,
                    const fs::path& folder) {
  const model::QwenConfig sizes = model::read_config(base.path);
  model::write_adapter(folder,
                       {.setup = lora_setup(config, sizes),
                        .base_model = base.path,
                        .metadata = base_metadata(base)},
                       sizes, adapters);
}

std::vector<std::string> write_model(const configs::Config& config, const HostCopy& copy,
                                     const std::optional<BaseModel>& base,
                                     const model::HeadConfig& head, const std::string& class_map,
                                     const fs::path& folder) {
  std::vector<std::string> names = copy_companions(config, folder);
  if (base) {
    write_adapters(config, *base, copy.adapters, folder);
    names.insert(names.end(), {model::kAdapterConfigFile, model::kAdapterFile});
  } else {
    model::write_safetensors(folder / kModelFile, copy.backbone, {{"format", "pt"}});
    names.push_back(kModelFile);
  }
  model::write_safetensors(folder / kHeadFile, copy.head,
                           {{"config", model::head_to_json(head).dump()}});
  write_text(folder / "config.yaml", configs::to_yaml(config));
  write_text(folder / "class_map.json", class_map);
  names.insert(names.end(), {kHeadFile, "config.yaml", "class_map.json"});
  return names;
}

}  // namespace

const std::vector<std::string>& companion_files() {
  static const std::vector<std::string> kFiles{"tokenizer.json",
                                               "tokenizer_config.json",
                                               "vocab.json",
                                               "merges.txt",
                                               "added_tokens.json",
                                               "special_tokens_map.json",
                                               "chat_template.json",
                                               "chat_template.jinja",
                                               "generation_config.json",
                                               "processor_config.json",
                                               "preprocessor_config.json",
                                               "video_preprocessor_config.json"};
  return kFiles;
}

CheckpointStore::Job checkpoint_job(const configs::Config& config, const model::Detector& detector,
                                    const sharding::ZeroEngine& engine,
                                    const data::ClassMap& classes,
                                    const std::optional<BaseModel>& base) {
  const int rank = engine.collective().rank();
  const std::string shard_name =
      fmt::format("optimizer-{:05d}-of-{:05d}.h5", rank, engine.collective().size());
  auto shard = engine.snapshot();
  HostCopy copy = rank == 0 ? copy_parameters(detector, base.has_value()) : HostCopy{};
  return [=, copy = std::move(copy), head = detector.head_config(),
          class_map = classes.to_json()](const fs::path& folder) {
    std::vector<std::string> names;
    if (rank == 0) names = write_model(config, copy, base, head, class_map, folder);
    sharding::ZeroEngine::write(*shard, folder / shard_name);
    names.push_back(shard_name);
    return names;
  };
}

void load_parameters(model::Detector& detector, const fs::path& checkpoint) {
  const c10::NoGradGuard no_grad;
  const bool lora = model::is_adapter_folder(checkpoint);
  if (lora) model::load_adapter(checkpoint, detector.parameters());
  const model::SafetensorsReader head(checkpoint / kHeadFile),
      backbone(checkpoint / (lora ? kHeadFile : kModelFile));
  std::string problems;
  for (const model::NamedParam& p : detector.parameters()) {
    if (lora && !in_head(p.name)) continue;
    const model::SafetensorsReader& reader = in_head(p.name) ? head : backbone;
    const std::string name = stored_name(p.name, detector);
    if (!reader.contains(name)) {
      problems += "\n  missing " + name;
    } else if (reader.shape(name) != p.tensor.sizes().vec()) {
      problems +=
          fmt::format("\n  {}: found [{}], expected [{}]", name,
                      fmt::join(reader.shape(name), ", "), fmt::join(p.tensor.sizes(), ", "));
    } else {
      at::Tensor target = p.tensor;
      target.copy_(reader.view(name));
      reader.forget(name);
    }
  }
  if (!problems.empty()) {
    throw CheckpointError(
        fmt::format("{} does not fit this config's model:{}", checkpoint.string(), problems));
  }
}

std::vector<fs::path> optimizer_files(const fs::path& checkpoint) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    if (entry.path().filename().string().starts_with("optimizer-")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace muster::trainer
