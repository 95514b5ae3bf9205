#include "trainer/checkpoint/files.h"

#include <c10/core/GradMode.h>
#include <fmt/ranges.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "model/adapters/peft_folder.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "model/head/detection_head.h"
#include "model/qwen/weights.h"
#include "sharding/state/shard_store.h"
#include "trainer/checkpoint/lora_run.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/checkpoint/shares.h"

namespace muster::trainer {
namespace {

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

bool in_head(const std::string& name) { return name.starts_with("detection_head."); }

std::string stored_name(const std::string& name, const model::Detector& detector) {
  return model::file_name(name, model::family_of(detector.backbone().config().model_type));
}

at::Tensor host_copy(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
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

// A weight that lies whole in this rank's shard of masters: no copy of its own is needed.
struct MasteredWeight {
  std::string name;
  sharding::Slot slot;
  std::int64_t shard_begin = 0;
  at::ScalarType dtype = at::kFloat;
};

// What a rank copies and writes. The tensors are the training's own until copy().
struct Part {
  std::shared_ptr<sharding::ShardSnapshot> shard;
  std::string shard_file;
  Tensors weights;
  std::vector<MasteredWeight> mastered;
  std::string weights_file;                                // "" when this rank has no share
  Tensors adapters, head;                                  // of rank 0
  std::vector<std::pair<std::string, std::string>> index;  // tensor and file; of rank 0
  std::int64_t weights_bytes = 0;                          // of all ranks
};

std::map<std::string, sharding::Slot> slots_by_name(const sharding::FlatSpace& space) {
  std::map<std::string, sharding::Slot> slots;
  for (const sharding::Slot& slot : space.slots()) slots[slot.name] = slot;
  return slots;
}

// Deals the backbone's tensors to the ranks. A rank that owns all of a tensor's master writes it.
void share_weights(Part& part, const model::Detector& detector) {
  const sharding::ShardFile& header = part.shard->header;
  const auto slots = slots_by_name(header.space);
  std::vector<model::NamedParam> params;
  std::vector<std::int64_t> bytes;
  std::vector<int> wishes;
  for (const model::NamedParam& p : detector.parameters()) {
    if (in_head(p.name)) continue;
    const auto slot = slots.find(p.name);
    const auto owner =
        slot == slots.end() ? std::nullopt : sharding::sole_owner(header.layout, slot->second);
    params.push_back(p);
    bytes.push_back(static_cast<std::int64_t>(p.tensor.nbytes()));
    wishes.push_back(owner ? owner->rank : kAnyRank);
    part.weights_bytes += bytes.back();
  }
  const std::vector<int> owners = even_shares(bytes, header.layout.world_size(), wishes);
  const std::set<int> writers(owners.begin(), owners.end());
  std::map<int, std::string> files;
  for (const int rank : writers)
    files[rank] = model::shard_file_name(files.size() + 1, writers.size());
  for (std::size_t i = 0; i < params.size(); ++i) {
    const std::string name = stored_name(params[i].name, detector);
    part.index.emplace_back(name, files[owners[i]]);
    if (owners[i] != header.rank) continue;
    part.weights_file = files[owners[i]];
    if (wishes[i] == kAnyRank) {
      part.weights.emplace_back(name, params[i].tensor);
      continue;
    }
    const sharding::Slot& slot = slots.at(params[i].name);
    part.mastered.push_back({.name = name,
                             .slot = slot,
                             .shard_begin = sharding::sole_owner(header.layout, slot)->shard_begin,
                             .dtype = params[i].tensor.scalar_type()});
  }
}

Part make_part(const model::Detector& detector, const sharding::ZeroEngine& engine, bool lora) {
  const int rank = engine.collective().rank();
  Part part;
  part.shard = engine.begin_snapshot();
  part.shard_file = fmt::format("optimizer-{:05d}-of-{:05d}.h5", rank, engine.collective().size());
  if (!lora) share_weights(part, detector);
  if (rank != 0) return part;
  for (const model::NamedParam& p : detector.parameters()) {
    if (in_head(p.name))
      part.head.emplace_back(p.name, p.tensor);
    else if (lora && model::is_adapter(p.name))
      part.adapters.emplace_back(p.name, p.tensor);
  }
  return part;
}

void write_weights(const Part& part, const fs::path& folder, std::vector<std::string>& names) {
  if (part.weights_file.empty()) return;
  Tensors tensors = part.weights;
  for (const MasteredWeight& w : part.mastered)
    tensors.emplace_back(
        w.name, sharding::parameter_in(part.shard->tensors, w.slot, w.shard_begin, w.dtype));
  model::write_safetensors(folder / part.weights_file, tensors, {{"format", "pt"}});
  names.push_back(part.weights_file);
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
    } else if (part.weights_file != model::shard_file_name(1, 1)) {
      model::write_safetensors_index(folder, part.index, part.weights_bytes);
      names.emplace_back(model::kWeightsIndexFile);
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
                                    const std::optional<BaseModel>& base) {
  const bool first = engine.collective().rank() == 0;
  const auto part = std::make_shared<Part>(make_part(detector, engine, base.has_value()));
  return {.copy =
              [part, &engine] {
                engine.fill_snapshot(*part->shard);
                for (Tensors* tensors : {&part->weights, &part->adapters, &part->head})
                  copy_to_host(*tensors);
              },
          .write =
              [part, first,
               files = FirstRankFiles{.config = config,
                                      .base = base,
                                      .head = detector.head_config(),
                                      .class_map = classes.to_json()}](const fs::path& folder) {
                std::vector<std::string> names;
                if (first) files.write(*part, folder, names);
                write_weights(*part, folder, names);
                sharding::ZeroEngine::write(*part->shard, folder / part->shard_file);
                names.push_back(part->shard_file);
                return names;
              }};
}

void load_parameters(model::Detector& detector, const fs::path& checkpoint) {
  const c10::NoGradGuard no_grad;
  const bool lora = model::is_adapter_folder(checkpoint);
  if (lora) model::load_adapter(checkpoint, detector.parameters());
  const model::SafetensorsReader head(checkpoint / kHeadFile),
      backbone(lora ? checkpoint / kHeadFile : checkpoint);
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

std::vector<fs::path> optimizer_files(const fs::path& checkpoint, const Manifest& manifest) {
  std::vector<fs::path> files;
  for (const auto& [name, file] : manifest.files) {
    if (name.starts_with("optimizer-")) files.push_back(checkpoint / name);
  }
  return files;
}

}  // namespace muster::trainer
