#include "model/files/config.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <type_traits>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "model/files/class_defaults.h"
#include "model/files/family.h"
#include "model/files/foreign_model.h"

namespace muster::model {
namespace {

using Json = nlohmann::json;

struct Problems {
  std::vector<std::string> unread;       // missing, or of the wrong type or range
  std::vector<std::string> unsupported;  // read, but this program computes something else
  std::vector<std::string> defaulted;    // left out by the file: the class's default holds
};

// One JSON object being read over the defaults of its class; what is missing or of the wrong type
// is noted, not thrown, so that all is reported at once.
class Section {
 public:
  Section(const Json& json, const Json& defaults, std::string path, Problems& problems)
      : json_(json), defaults_(defaults), path_(std::move(path)), problems_(problems) {}

  bool has(const std::string& key) const { return json_.contains(key) && !json_[key].is_null(); }
  bool says_null(const std::string& key) const {
    return json_.contains(key) && json_[key].is_null();
  }
  const Json& json() const { return json_; }
  const std::string& path() const { return path_; }

  // The first of `keys` that is there: layouts of different age name some values differently.
  template <typename T>
  T get(const std::vector<std::string>& keys, T missing = T{}) {
    for (const std::string& key : keys)
      if (has(key)) return convert(key, json_[key], missing);
    for (const std::string& key : keys) {
      if (!defaults_.contains(key)) continue;
      problems_.defaulted.push_back(path_ + key + " " + defaults_[key].dump());
      return defaults_[key].get<T>();
    }
    problems_.unread.push_back(path_ + join(keys, " or ") + ": missing");
    return missing;
  }
  std::int64_t size(const std::vector<std::string>& keys) {
    const auto value = get<std::int64_t>(keys, 1);
    if (value < 1)
      problems_.unread.push_back(path_ + keys.front() + ": must be at least 1, is " +
                                 std::to_string(value));
    return std::max<std::int64_t>(value, 1);
  }
  // What this program computes, where the file says anything about it.
  template <typename T>
  void expect_if_given(const std::string& key, const T& value) {
    if (!has(key)) return;
    if (convert(key, json_[key], value) != value)
      unsupported(key, json_[key].dump() + " is not supported, only " + Json(value).dump());
  }
  void unsupported(const std::string& key, const std::string& what) {
    problems_.unsupported.push_back(path_ + key + ": " + what);
  }
  // The first of `keys` that is an object, else an empty one: then all its values are defaults.
  Section child(const std::vector<std::string>& keys, const Json& defaults) {
    static const Json kEmpty = Json::object();
    for (const std::string& key : keys)
      if (has(key) && json_[key].is_object())
        return {json_[key], defaults, path_ + key + ".", problems_};
    return {kEmpty, defaults, path_ + keys.front() + ".", problems_};
  }

 private:
  // A list of equal numbers stands for the number: patch_size may be [14, 14] in transformers 5.
  static const Json* without_list(const Json* value) {
    const auto other = [&](const Json& item) { return item != value->front(); };
    const bool repeated = value->is_array() && !value->empty() && value->front().is_number() &&
                          std::none_of(value->begin(), value->end(), other);
    return repeated ? &value->front() : value;
  }
  template <typename T>
  T convert(const std::string& key, const Json& value, const T& otherwise) {
    try {
      if constexpr (std::is_arithmetic_v<T>) return without_list(&value)->template get<T>();
      return value.get<T>();
    } catch (const Json::exception&) {
      problems_.unread.push_back(path_ + key + ": unexpected value " + value.dump());
      return otherwise;
    }
  }

  const Json& json_;
  const Json& defaults_;
  std::string path_;
  Problems& problems_;
};

// Qwen2-VL calls the tower's width embed_dim and its output's hidden_size, and gives the MLP's
// width as a multiple.
void read_vision_widths(Section& s, VisionConfig& v, bool ratio) {
  v.hidden_size = s.size({ratio ? "embed_dim" : "hidden_size"});
  v.out_hidden_size = s.size({ratio ? "hidden_size" : "out_hidden_size"});
  if (!ratio) {
    v.intermediate_size = s.size({"intermediate_size"});
    return;
  }
  const double width = static_cast<double>(v.hidden_size) * s.get<double>({"mlp_ratio"});
  v.intermediate_size = static_cast<std::int64_t>(width);
}

const char* activation_name(Activation activation) {
  switch (activation) {
    case Activation::kSilu: return "silu";
    case Activation::kQuickGelu: return "quick_gelu";
    case Activation::kGeluTanh: return "gelu_pytorch_tanh";
  }
  return "";
}

constexpr double kVisionRopeTheta = 10000.0;

// Another rope would turn every head otherwise: it is refused by name, not computed as plain rope.
void expect_plain_rope(Section& rope, const std::vector<std::string>& plain) {
  for (const char* key : {"rope_type", "type"}) {
    if (!rope.has(key)) continue;
    const Json& type = rope.json()[key];
    const auto is_type = [&](const std::string& known) { return type == known; };
    if (std::ranges::none_of(plain, is_type))
      rope.unsupported(key, "the rope " + type.dump() + " is not computed, only \"" +
                                plain.front() +
                                "\"; take the published config.json if it was set for longer "
                                "texts only");
    return;
  }
}

VisionConfig read_vision(Section s, const VisionFamily& family) {
  VisionConfig v{};
  v.depth = s.size({"depth"});
  read_vision_widths(s, v, family.width_by_ratio);
  v.num_heads = s.size({"num_heads"});
  v.in_channels = s.size({"in_channels", "in_chans"});
  v.patch_size = s.size({"patch_size", "spatial_patch_size"});
  v.temporal_patch_size = s.size({"temporal_patch_size"});
  v.spatial_merge_size = s.size({"spatial_merge_size"});
  if (family.windows) {
    v.window_size = s.size({"window_size"});
    v.full_attention_blocks = s.get<std::vector<std::int64_t>>({"fullatt_block_indexes"});
  }
  if (family.learned_positions) v.num_positions = s.size({"num_position_embeddings"});
  if (family.deepstack)
    v.deepstack_blocks = s.get<std::vector<std::int64_t>>({"deepstack_visual_indexes"});
  s.expect_if_given<std::string>("hidden_act", activation_name(family.activation));
  Section rope = s.child({"rope_parameters"}, Json::object());
  rope.expect_if_given("rope_theta", kVisionRopeTheta);
  expect_plain_rope(rope, {"axial", "default"});
  return v;
}

// The rope section is rope_scaling (with rope_theta beside it) in published files, rope_parameters
// in transformers 5.
void read_rope(Section& text, TextConfig& t, const TextFamily& family, const Json& defaults) {
  Section rope = text.child({"rope_parameters", "rope_scaling"}, defaults);
  t.rope_theta =
      rope.has("rope_theta") ? rope.get<double>({"rope_theta"}) : text.get<double>({"rope_theta"});
  t.mrope_section = rope.get<std::vector<std::int64_t>>({"mrope_section"});
  rope.expect_if_given("mrope_interleaved", family.interleaved_mrope);
  rope.expect_if_given("partial_rotary_factor", 1.0);
  expect_plain_rope(rope, {"default", "mrope"});
}

void expect_whole_attention(Section& text) {
  text.expect_if_given("use_sliding_window", false);
  if (!text.has("layer_types") || !text.json()["layer_types"].is_array()) return;
  for (const Json& type : text.json()["layer_types"]) {
    if (type == "full_attention") continue;
    text.unsupported("layer_types", type.dump() + " is not supported, only \"full_attention\"");
    return;
  }
}

TextConfig read_text_config(Section s, const TextFamily& family, const ClassDefaults& defaults) {
  TextConfig t{};
  t.vocab_size = s.size({"vocab_size"});
  t.hidden_size = s.size({"hidden_size"});
  t.intermediate_size = s.size({"intermediate_size"});
  t.num_layers = s.size({"num_hidden_layers"});
  t.num_heads = s.size({"num_attention_heads"});
  t.num_kv_heads =
      s.says_null("num_key_value_heads") ? t.num_heads : s.size({"num_key_value_heads"});
  t.head_dim = s.has("head_dim") || defaults.text.contains("head_dim")
                   ? s.size({"head_dim"})
                   : t.hidden_size / t.num_heads;
  t.rms_norm_eps = s.get<double>({"rms_norm_eps"});
  read_rope(s, t, family, defaults.rope);
  s.expect_if_given<std::string>("hidden_act", "silu");
  s.expect_if_given("attention_bias", family.qkv_bias);
  expect_whole_attention(s);
  return t;
}

// transformers 5 ties when either place says so; 4.x writes the one that its class reads.
bool read_tie(Section& root, Section& text) {
  const bool of_root = root.has("tie_word_embeddings") && root.get<bool>({"tie_word_embeddings"});
  return of_root || text.get<bool>({"tie_word_embeddings"});
}

// transformers notes here how it packed the weights.
void expect_no_quantisation(Section& section) {
  if (!section.has("quantization_config")) return;
  const Json& how = section.json()["quantization_config"];
  const Json method = how.is_object() ? how.value("quant_method", Json("unnamed method")) : how;
  section.unsupported(
      "quantization_config",
      quantised_advice(method.is_string() ? method.get<std::string>() : method.dump()));
}

// Relations between sizes that the forward pass relies on.
void check_vision_sizes(const VisionConfig& v, std::vector<std::string>& problems) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) problems.push_back("vision_config." + what);
  };
  require(v.hidden_size % (4 * v.num_heads) == 0,
          "hidden_size: must be a multiple of 4 * num_heads");
  require(v.window_size % (v.patch_size * v.spatial_merge_size) == 0,
          "window_size: must be a multiple of patch_size * spatial_merge_size");
  const auto side =
      static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(v.num_positions))));
  require(side * side == v.num_positions, "num_position_embeddings: must be a square number");
  for (const std::int64_t block : v.full_attention_blocks)
    require(block >= 0 && block < v.depth,
            "fullatt_block_indexes: no block " + std::to_string(block));
  for (const std::int64_t block : v.deepstack_blocks)
    require(block >= 0 && block < v.depth,
            "deepstack_visual_indexes: no block " + std::to_string(block));
  require(std::adjacent_find(v.deepstack_blocks.begin(), v.deepstack_blocks.end(),
                             std::greater_equal<>()) == v.deepstack_blocks.end(),
          "deepstack_visual_indexes: must grow");
}

// Interleaved sections are how often height and width take a frequency, cut at the head's width by
// the reference; the others are runs, which must cover the head.
bool sections_fit(const TextConfig& t, bool interleaved) {
  const auto& section = t.mrope_section;
  const auto sum = std::accumulate(section.begin(), section.end(), std::int64_t{0});
  const bool counts = section.size() == 3 && std::ranges::min(section) >= 0;
  return counts && (interleaved || 2 * sum == t.head_dim);
}

void check_sizes(const QwenConfig& c, std::vector<std::string>& problems) {
  const VisionConfig& v = c.vision;
  const TextConfig& t = c.text;
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) problems.push_back(what);
  };
  require(sections_fit(t, family_of(c.model_type).text.interleaved_mrope),
          "mrope_section: must be three numbers, with sum head_dim / 2 = " +
              std::to_string(t.head_dim / 2) + " unless they are interleaved");
  require(t.num_heads % t.num_kv_heads == 0,
          "num_attention_heads: must be a multiple of num_key_value_heads");
  require(v.out_hidden_size == t.hidden_size,
          "vision_config.out_hidden_size: " + std::to_string(v.out_hidden_size) +
              " must equal the text hidden_size " + std::to_string(t.hidden_size));
  check_vision_sizes(v, problems);
  require(static_cast<std::int64_t>(v.deepstack_blocks.size()) <= t.num_layers,
          "vision_config.deepstack_visual_indexes: more entries than the decoder has layers");
  for (const std::int64_t id : {c.image_token_id, c.vision_start_token_id})
    require(id >= 0 && id < t.vocab_size,
            "special token id " + std::to_string(id) + " is outside the vocabulary");
}

Json parse(const fs::path& file) {
  const std::string text = read_text(file);
  if (is_lfs_pointer(text)) throw ConfigError(file.string() + ": " + kLfsAdvice);
  try {
    return parse_json(text);
  } catch (const Json::exception& error) {
    throw ConfigError(file.string() + ": not valid JSON: " + json_fault(error));
  }
}

const Family& find_family(const fs::path& file, const std::string& model_type) {
  try {
    return family_of(model_type);
  } catch (const ConfigError& error) {
    throw ConfigError(file.string() + ": " + error.what());
  }
}

}  // namespace

QwenConfig read_config(const fs::path& path) {
  const fs::path file = fs::is_directory(path) ? path / "config.json" : path;
  if (!fs::exists(file))
    throw ConfigError(file.string() + ": no such file; a model folder holds a config.json" +
                      with_semicolon(foreign_model(file.parent_path())));
  const Json json = parse(file);
  if (!json.is_object()) throw ConfigError(file.string() + ": must be a JSON object");
  QwenConfig config{};
  config.model_type = json.value("model_type", Json("")).is_string() ? json.value("model_type", "")
                                                                     : json["model_type"].dump();
  const Family& family = find_family(file, config.model_type);
  const ClassDefaults& defaults = class_defaults(config.model_type);
  Problems problems;
  Section root(json, defaults.root, "", problems);
  const bool nested = root.has("text_config");
  Section text = nested ? root.child({"text_config"}, defaults.text)
                        : Section(json, defaults.text, "", problems);
  config.vision = read_vision(root.child({"vision_config"}, defaults.vision), family.vision);
  config.text = read_text_config(text, family.text, defaults);
  config.text.tie_word_embeddings = read_tie(root, text);
  config.image_token_id = root.get<std::int64_t>({"image_token_id"});
  config.vision_start_token_id = root.get<std::int64_t>({"vision_start_token_id"});
  config.initializer_range = text.get<double>({"initializer_range"});
  expect_no_quantisation(root);
  if (nested) expect_no_quantisation(text);
  std::vector<std::string> all = problems.unread;
  all.insert(all.end(), problems.unsupported.begin(), problems.unsupported.end());
  if (problems.unread.empty()) check_sizes(config, all);
  if (!all.empty()) throw ConfigError(file.string() + ":\n  " + join(all, "\n  "));
  config.defaulted = std::move(problems.defaulted);
  return config;
}

}  // namespace muster::model
