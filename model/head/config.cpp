// The head's settings as json (checkpoints carry it), and what is wrong with them.
#include <fmt/core.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "model/head/detection_head.h"

namespace muster::model {
namespace {

// What heads of version 0.1 do not say.
constexpr std::array kSince0_2{"use_patches", "box_attention", "neck_layers",
                               "one_to_many", "classes",       "caption_tokens"};

// One list of the fields, for both directions.
template <typename Config, typename Field>
void each_field(Config& config, Field&& field) {
  field("proposals", config.proposals);
  field("use_language", config.use_language);
  field("use_patches", config.use_patches);
  field("box_attention", config.box_attention);
  field("neck_layers", config.neck_layers);
  field("one_to_many", config.one_to_many);
  field("num_queries", config.num_queries);
  field("hidden_size", config.hidden_size);
  field("num_layers", config.num_layers);
  field("num_heads", config.num_heads);
  field("mlp_size", config.mlp_size);
  field("caption_layers", config.caption_layers);
  field("caption_max_tokens", config.caption_max_tokens);
  field("denoising_groups", config.denoising_groups);
  field("denoising_box_noise", config.denoising_box_noise);
  field("classes", config.classes);
  field("caption_tokens", config.caption_tokens);
}

}  // namespace

nlohmann::json head_to_json(const HeadConfig& config) {
  nlohmann::json json;
  each_field(config, [&](const char* name, const auto& value) { json[name] = value; });
  return json;
}

HeadConfig head_from_json(const nlohmann::json& saved) {
  nlohmann::json json = saved;
  const nlohmann::json defaults = head_to_json({});
  if (json.is_object())
    for (const char* name : kSince0_2) json.emplace(name, defaults.at(name));
  HeadConfig config;
  std::size_t known = 0;
  try {
    each_field(config, [&](const char* name, auto& value) {
      value = json.at(name).get<std::decay_t<decltype(value)>>();
      ++known;
    });
  } catch (const nlohmann::json::exception& error) {
    throw CheckpointError(fmt::format("detection head settings: {}", error.what()));
  }
  if (json.size() != known)
    throw CheckpointError("detection head settings hold a key this version does not know: " +
                          json.dump());
  return config;
}

void check_head(const HeadConfig& config) {
  std::vector<std::string> problems;
  const auto need = [&](bool fine, std::string text) {
    if (!fine) problems.push_back(std::move(text));
  };
  need(config.num_queries > 0, fmt::format("num_queries {} must be positive", config.num_queries));
  need(config.num_layers > 0, fmt::format("num_layers {} must be positive", config.num_layers));
  need(config.mlp_size > 0, fmt::format("mlp_size {} must be positive", config.mlp_size));
  need(config.hidden_size > 0 && config.hidden_size % 4 == 0,
       fmt::format("hidden_size {} must be a positive multiple of 4", config.hidden_size));
  need(
      config.num_heads > 0 && config.hidden_size % std::max<std::int64_t>(1, config.num_heads) == 0,
      fmt::format("num_heads {} must divide hidden_size {}", config.num_heads, config.hidden_size));
  need(config.caption_layers >= 0,
       fmt::format("caption_layers {} must not be negative", config.caption_layers));
  need(config.caption_max_tokens > 0,
       fmt::format("caption_max_tokens {} must be positive", config.caption_max_tokens));
  need(config.neck_layers >= 0,
       fmt::format("neck_layers {} must not be negative", config.neck_layers));
  need(config.one_to_many >= 0,
       fmt::format("one_to_many {} must not be negative", config.one_to_many));
  need(config.one_to_many == 0 || config.proposals,
       "one_to_many trains tokens, which only queries: proposals look at; set it to 0");
  need(config.classes.empty() || config.caption_tokens.empty(),
       "caption_tokens are of open captions; this head has classes");
  need(config.denoising_groups >= 0,
       fmt::format("denoising_groups {} must not be negative", config.denoising_groups));
  need(config.denoising_box_noise >= 0,
       fmt::format("denoising_box_noise {} must not be negative", config.denoising_box_noise));
  if (!problems.empty()) throw ConfigError("detection: " + join(problems, "; "));
}

}  // namespace muster::model
