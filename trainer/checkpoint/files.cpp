#include "trainer/checkpoint/files.h"

#include <c10/core/GradMode.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "model/adapters/peft_folder.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "model/head/detection_head.h"
#include "model/head/files.h"
#include "model/qwen/weights.h"
#include "sharding/state/shard_store.h"
#include "trainer/checkpoint/lora_run.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/checkpoint/weight_share.h"

namespace muster::trainer {
namespace {

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

bool in_head(const std::string& name) { return name.starts_with("detection_head."); }

std::string stored_name(const std::string& name, const model::Detector& detector) {
  return model::file_name(name, model::family_of(detector.backbone().config().model_type));
}

void copy_to_host(Tensors& tensors) {
  for (auto& [name, tensor] : tensors) tensor = host_copy(tensor);
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

// What a rank copies and writes. The tensors are the training's own until they are copied.
struct Part {
  std::shared_ptr<sharding::ShardSnapshot> shard;
  std::string shard_file;
  std::optional<WeightShare> weights;  // none in a LoRA run
  Tensors adapters, head;              // of rank 0
};

Part make_part(const model::Detector& detector, const sharding::ZeroEngine& engine, bool lora) {
  const int rank = engine.collective().rank();
  Part part;
  part.shard = engine.begin_snapshot();
  part.shard_file = fmt::format("optimizer-{:05d}-of-{:05d}.h5", rank, engine.collective().size());
  std::vector<WeightShare::Weight> weights;
  for (const model::NamedParam& p : detector.parameters()) {
    if (in_head(p.name))
      part.head.emplace_back(p.name, p.tensor);
    else if (!lora)
      weights.push_back({stored_name(p.name, detector), p.name, p.tensor});
    else if (model::is_adapter(p.name))
      part.adapters.emplace_back(p.name, p.tensor);
  }
  if (!lora) part.weights.emplace(weights, part.shard->header);
  if (rank == 0) return part;
  part.adapters.clear();
  part.head.clear();
  return part;
}

// What rank 0 writes besides its share.
struct FirstRankFiles {
  configs::Config config;
  std::optional<BaseModel> base;
  model::HeadConfig head;
  std::string class_map;

  void write(const Part& part, const fs::path& folder, std::vector<std::string>& names) const {
    const std::vector<std::string> companions = copy_companions(config, folder);
    names.insert(names.end(), companions.begin(), companions.end());
    if (base) {
      write_adapters(config, *base, part.adapters, folder);
      names.insert(names.end(), {model::kAdapterConfigFile, model::kAdapterFile});
    }
    model::write_safetensors(folder / kHeadFile, part.head,
                             {{"config", model::head_to_json(head).dump()}});
    write_text(folder / kConfigFile, configs::to_yaml(config));
    write_text(folder / "class_map.json", class_map);
    names.insert(names.end(), {kHeadFile, kConfigFile, "class_map.json"});
  }
};

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
                                    const std::optional<BaseModel>& base, Afterwards afterwards) {
  const bool first = engine.collective().rank() == 0;
  const auto part = std::make_shared<Part>(make_part(detector, engine, base.has_value()));
  return {.copy =
              [part, &engine, afterwards] {
                if (afterwards == Afterwards::kEnds) {
                  engine.lend_snapshot(*part->shard);
                  return;  // the writer of safetensors takes tensors from where they lie
                }
                engine.fill_snapshot(*part->shard);
                if (part->weights) part->weights->copy();
                copy_to_host(part->adapters);
                copy_to_host(part->head);
              },
          .write =
              [part, first,
               files = FirstRankFiles{.config = config,
                                      .base = base,
                                      .head = detector.head_config(),
                                      .class_map = classes.to_json()}](const fs::path& folder) {
                std::vector<std::string> names;
                if (first) files.write(*part, folder, names);
                if (part->weights) part->weights->write(folder, part->shard->tensors, names);
                sharding::ZeroEngine::write(*part->shard, folder / part->shard_file);
                names.push_back(part->shard_file);
                return names;
              }};
}

void load_parameters(model::Detector& detector, const fs::path& checkpoint,
                     const std::set<std::string>& mastered) {
  const c10::NoGradGuard no_grad;
  const bool lora = model::is_adapter_folder(checkpoint);
  if (lora) model::load_adapter(checkpoint, detector.parameters());
  const model::SafetensorsReader head(checkpoint / kHeadFile),
      backbone(lora ? checkpoint / kHeadFile : checkpoint);
  std::string problems;
  for (const std::string& problem : model::differing_words(
           model::read_head_config(checkpoint / kHeadFile), detector.head_config()))
    problems += "\n  " + problem;
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
    } else if (!p.tensor.requires_grad() || !mastered.contains(p.name)) {
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

std::vector<fs::path> optimizer_files(const fs::path& checkpoint, const Manifest& manifest) {
  std::vector<fs::path> files;
  for (const auto& [name, file] : manifest.files) {
    if (name.starts_with("optimizer-")) files.push_back(checkpoint / name);
  }
  return files;
}

}  // namespace muster::trainer
