#include "launcher/commands/generation_settings.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

using Json = nlohmann::json;

// A setting that changes the text, with the value that changes nothing. null always does so.
struct Setting {
  const char* key;
  Json neutral;
};

// Those that `generate` does not know. The first three matter only when tokens are drawn.
const std::vector<Setting>& not_applied() {
  static const std::vector<Setting> settings = {{"do_sample", false},
                                                {"temperature", 1.0},
                                                {"top_p", 1.0},
                                                {"min_p", 0.0},
                                                {"typical_p", 1.0},
                                                {"num_beams", 1},
                                                {"no_repeat_ngram_size", 0},
                                                {"encoder_repetition_penalty", 1.0},
                                                {"epsilon_cutoff", 0.0},
                                                {"eta_cutoff", 0.0},
                                                {"penalty_alpha", 0.0},
                                                {"guidance_scale", 1.0},
                                                {"min_length", 0},
                                                {"min_new_tokens", 0},
                                                {"max_new_tokens", nullptr},
                                                {"max_length", 20},
                                                {"bad_words_ids", nullptr},
                                                {"suppress_tokens", nullptr},
                                                {"sequence_bias", nullptr},
                                                {"forced_bos_token_id", nullptr},
                                                {"forced_eos_token_id", nullptr}};
  return settings;
}

Json read_settings(const fs::path& file) {
  if (!fs::exists(file)) return Json::object();
  Json settings = parse_json_or_null(read_text(file));
  if (!settings.is_object()) throw CheckpointError(file.string() + ": not a JSON object");
  return settings;
}

template <typename T>
std::optional<T> given(const Json& settings, const char* key) {
  const auto found = settings.find(key);
  if (found == settings.end() || found->is_null()) return std::nullopt;
  return found->get<T>();
}

template <typename T>
std::vector<T> one_or_several(const Json& settings, const char* key) {
  const auto found = settings.find(key);
  if (found == settings.end() || found->is_null()) return {};
  return found->is_array() ? found->get<std::vector<T>>() : std::vector<T>{found->get<T>()};
}

std::string named(const Json& settings, const char* key) {
  return fmt::format("{} {}", key, settings.at(key).dump());
}

// What the command line decides whenever it asks for drawing.
bool is_decided(const std::string& key, const GenerationFlags& flags) {
  return flags.sampling.temperature > 0 && (key == "do_sample" || key == "temperature");
}

std::vector<std::string> unapplied(const Json& settings, const GenerationFlags& flags) {
  std::vector<std::string> names;
  for (const Setting& setting : not_applied()) {
    const auto found = settings.find(setting.key);
    if (found == settings.end() || found->is_null() || *found == setting.neutral) continue;
    if (!is_decided(setting.key, flags)) names.push_back(named(settings, setting.key));
  }
  return names;
}

std::string told(const std::vector<std::string>& applied, const std::vector<std::string>& left) {
  if (applied.empty() && left.empty()) return "";
  std::string text = "generation_config.json: ";
  if (!applied.empty()) text += "applied " + join(applied, ", ");
  if (!applied.empty() && !left.empty()) text += "; ";
  if (!left.empty())
    text += "not applied " + join(left, ", ") +
            " (--temperature, --top-p and --max-tokens are the command line's)";
  return text;
}

GenerationSettings combine(const Json& settings, const GenerationFlags& flags) {
  GenerationSettings result;
  std::vector<std::string> applied;
  result.sampling = flags.sampling;
  result.eos = one_or_several<std::int64_t>(settings, "eos_token_id");
  const auto penalty = given<double>(settings, "repetition_penalty");
  if (!flags.repetition_penalty && penalty.value_or(1) != 1)
    applied.push_back(named(settings, "repetition_penalty"));
  result.sampling.repetition_penalty = flags.repetition_penalty.value_or(penalty.value_or(1));
  const auto top_k = given<std::int64_t>(settings, "top_k");
  if (!flags.top_k && top_k && flags.sampling.temperature > 0)
    applied.push_back(named(settings, "top_k"));
  result.sampling.top_k = flags.top_k.value_or(top_k.value_or(0));
  result.stop = one_or_several<std::string>(settings, "stop_strings");
  if (!result.stop.empty()) applied.push_back(named(settings, "stop_strings"));
  result.stop.insert(result.stop.end(), flags.stop.begin(), flags.stop.end());
  result.told = told(applied, unapplied(settings, flags));
  return result;
}

}  // namespace

GenerationSettings generation_settings(const fs::path& file, const GenerationFlags& flags) {
  try {
    return combine(read_settings(file), flags);
  } catch (const Json::exception& error) {
    throw CheckpointError(fmt::format("{}: {}", file.string(), json_fault(error)));
  }
}

}  // namespace muster::launcher
