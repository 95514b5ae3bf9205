#include "model/head/files.h"

#include <ATen/core/grad_mode.h>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "model/head/detection_head.h"

namespace muster::model {
namespace {

nlohmann::json saved_config(const SafetensorsReader& reader, const std::filesystem::path& file) {
  const auto entry = reader.metadata().find("config");
  if (entry == reader.metadata().end())
    throw CheckpointError(file.string() + ": no \"config\" in the metadata: not a detection head");
  const nlohmann::json json = parse_json_or_null(entry->second);
  if (!json.is_object())
    throw CheckpointError(file.string() + ": the \"config\" in the metadata is not json");
  return json;
}

// Settings that shape no tensor may differ: they belong to training. What captions tell apart has
// sentences of its own.
std::vector<std::string> differing_settings(const HeadConfig& saved_config,
                                            const HeadConfig& wanted_config) {
  static const std::set<std::string> kApart{"denoising_groups", "denoising_box_noise", "classes",
                                            "caption_tokens"};
  const nlohmann::json saved = head_to_json(saved_config);
  const nlohmann::json wanted = head_to_json(wanted_config);
  std::vector<std::string> problems;
  for (const auto& [key, value] : wanted.items()) {
    if (kApart.contains(key) || saved.at(key) == value) continue;
    problems.push_back(
        fmt::format("{} is {} in the file, {} here", key, saved.at(key).dump(), value.dump()));
  }
  return problems;
}

std::string words_text(const std::vector<std::int64_t>& tokens) {
  return tokens.empty() ? "all of the vocabulary" : fmt::format("{} token ids", tokens.size());
}

}  // namespace

std::vector<std::string> differing_words(const HeadConfig& saved, const HeadConfig& wanted) {
  std::vector<std::string> problems;
  if (saved.classes != wanted.classes)
    problems.push_back("the class names differ (detection.labels)");
  if (saved.caption_tokens != wanted.caption_tokens) {
    problems.push_back(fmt::format(
        "the words of captions differ: {} in the file, {} here (detection.caption_words; with "
        "pack they are those of data.train)",
        words_text(saved.caption_tokens), words_text(wanted.caption_tokens)));
  }
  return problems;
}

HeadConfig read_head_config(const std::filesystem::path& file) {
  return head_from_json(saved_config(SafetensorsReader(file), file));
}

void save_head(const std::filesystem::path& file, const std::vector<NamedParam>& parameters,
               const HeadConfig& config) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const NamedParam& param : parameters)
    tensors.emplace_back(param.name, param.tensor.detach().cpu());
  write_safetensors(file, tensors, {{"config", head_to_json(config).dump()}});
}

void load_head(const std::filesystem::path& file, const std::vector<NamedParam>& parameters,
               const HeadConfig& config) {
  const SafetensorsReader reader(file);
  const HeadConfig saved = head_from_json(saved_config(reader, file));
  std::vector<std::string> problems = differing_settings(saved, config);
  for (std::string& problem : differing_words(saved, config))
    problems.push_back(std::move(problem));
  const std::vector<std::string> names = reader.names();
  std::set<std::string> unexpected(names.begin(), names.end());
  for (const NamedParam& param : parameters) {
    if (unexpected.erase(param.name) == 0) {
      problems.push_back("missing " + param.name);
    } else if (const std::vector<std::int64_t> shape = reader.shape(param.name);
               param.tensor.sizes() != shape) {
      problems.push_back(fmt::format("{} is [{}] in the file, [{}] here", param.name,
                                     fmt::join(shape, ", "),
                                     fmt::join(param.tensor.sizes().vec(), ", ")));
    }
  }
  for (const std::string& name : unexpected) problems.push_back("unexpected " + name);
  if (!problems.empty())
    throw CheckpointError(fmt::format("{}: {}", file.string(), join(problems, "; ")));
  const at::NoGradGuard no_grad;
  for (const NamedParam& param : parameters)
    at::Tensor(param.tensor).copy_(reader.view(param.name));
}

}  // namespace muster::model
