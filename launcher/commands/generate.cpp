// muster generate CHECKPOINT --prompt TEXT [--image I]... prints text from the language model.
// Boxes come from `predict` (law 13).
#include <c10/core/GradMode.h>
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "data/images/codec.h"
#include "data/images/preprocessor_file.h"
#include "launcher/commands/asked_samples.h"
#include "launcher/commands/checkpoint_arguments.h"
#include "launcher/commands/command_table.h"
#include "launcher/commands/generation_settings.h"
#include "model/files/family.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/manifest/step_folders.h"
#include "trainer/checkpoint/verify.h"

namespace muster::launcher {
namespace {

struct GenerateOptions {
  std::string checkpoint;
  std::vector<std::string> images;
  std::string prompt;
  std::optional<std::string> system_prompt;
  std::optional<std::string> dtype;
  std::int64_t max_tokens = 256;
  GenerationFlags generation;
  bool json = false;
};

// Holds what text needs of a checkpoint; the detection head is not read.
struct TextModel {
  data::Tokenizer tokenizer;
  model::QwenVL qwen;
  data::EncodeOptions encode;
  GenerationSettings generation;
};

// Returns the dtype of the stored weights, by config.json, unless the command line names one.
at::ScalarType text_dtype(const GenerateOptions& options, const nlohmann::json& config) {
  std::string name = options.dtype.value_or("float32");
  for (const char* key : {"torch_dtype", "dtype"})
    for (const auto& section : {config.value("text_config", nlohmann::json::object()), config})
      if (!options.dtype && section.contains(key) && section[key].is_string())
        name = section[key].get<std::string>();
  if (const auto ours = configs::from_name<configs::Dtype>(name))
    return trainer::scalar_type(*ours);
  if (name == "bfloat16") return at::kBFloat16;
  return name == "float16" ? at::kHalf : at::kFloat;
}

// A turn ends with the tokens of the chat template and those that generation_config.json lists.
GenerationSettings settings_of(const fs::path& folder, const data::Tokenizer& tokenizer,
                               const GenerationFlags& flags) {
  GenerationSettings settings = generation_settings(folder / "generation_config.json", flags);
  for (const char* token : {"<|im_end|>", "<|endoftext|>"})
    if (const auto id = tokenizer.token_id(token)) settings.eos.push_back(*id);
  if (!settings.told.empty()) fmt::print(stderr, "{}\n", settings.told);
  return settings;
}

// Images and prompts enter as in the run that wrote the folder, or else as the published files say.
data::EncodeOptions text_encoding(const fs::path& folder, const model::QwenConfig& model) {
  if (fs::exists(folder / "config.yaml")) {
    configs::Config config = configs::load(folder / "config.yaml");
    config.model.path = {folder.string()};
    return trainer::encode_options(config, model);
  }
  data::EncodeOptions encode;
  if (const auto file = data::preprocessor_in(folder))
    encode.patches = data::read_preprocessor(*file);
  encode.system_prompt = model::family_of(model.model_type).system_prompt;
  encode.max_vision_tokens = std::numeric_limits<std::int64_t>::max();
  encode.vocab_size = model.text.vocab_size;
  return encode;
}

TextModel open_text_model(const GenerateOptions& options) {
  const fs::path folder = trainer::resolve_checkpoint(options.checkpoint);
  trainer::verify_checkpoint(folder, /*with_optimizer=*/false);
  const model::QwenConfig config = model::read_config(folder);
  const auto file = parse_json(read_text(folder / "config.json"));
  data::EncodeOptions encode = text_encoding(folder, config);
  if (!options.images.empty() && encode.patches.max_pixels == 0)
    throw CheckpointError(
        folder.string() +
        ": neither preprocessor_config.json nor processor_config.json says how an image enters "
        "the model");
  encode.prompt = "";
  encode.answer = data::AnswerFormat::kNone;
  if (options.system_prompt) encode.system_prompt = *options.system_prompt;
  data::Tokenizer tokenizer(folder);
  GenerationSettings generation = settings_of(folder, tokenizer, options.generation);
  return {std::move(tokenizer),
          trainer::load_backbone(folder, {.dtype = text_dtype(options, file)}), std::move(encode),
          std::move(generation)};
}

// Prints text as it grows, and never half a character: ids wait until their bytes decode.
class TextStream {
 public:
  explicit TextStream(const data::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void add(std::int64_t id) {
    pending_.push_back(id);
    constexpr std::size_t kLongestCharacter = 4;  // bytes; a token has at least one
    const std::string text = tokenizer_.decode(pending_);
    if (!text.ends_with("\xEF\xBF\xBD") || pending_.size() >= kLongestCharacter) flush();
  }
  void flush() {
    fmt::print("{}", tokenizer_.decode(pending_));
    std::fflush(stdout);
    pending_.clear();
  }

 private:
  const data::Tokenizer& tokenizer_;
  std::vector<std::int64_t> pending_;
};

// True where one of the texts that end the answer is in it.
bool has_stop_text(const TextModel& opened, const std::vector<std::int64_t>& ids) {
  const std::string text = opened.tokenizer.decode(ids);
  return std::ranges::any_of(opened.generation.stop, [&](const std::string& stop) {
    return text.find(stop) != std::string::npos;
  });
}

std::string_view stopped_by(const TextModel& opened, const std::vector<std::int64_t>& ids) {
  const auto& eos = opened.generation.eos;
  if (!ids.empty() && std::ranges::find(eos, ids.back()) != eos.end()) return "token";
  return has_stop_text(opened, ids) ? "text" : "length";
}

void print_json(const TextModel& opened, const MicroBatch& prompt,
                const std::vector<std::int64_t>& ids, double seconds) {
  const nlohmann::ordered_json result{{"text", opened.tokenizer.decode(ids)},
                                      {"ids", ids},
                                      {"prompt_tokens", prompt.input_ids.size(0)},
                                      {"stopped_by", stopped_by(opened, ids)},
                                      {"seconds", seconds}};
  fmt::print("{}\n", result.dump());
}

// Encodes the user's turn, with the pictures where <image> stands, else before it.
MicroBatch encode_turn(const data::SampleEncoder& encoder, const GenerateOptions& options) {
  std::vector<data::Image> images;
  for (const std::string& path : options.images)
    images.push_back(data::decode_image(MappedFile(path).bytes(), path));
  const std::string name = images.empty() ? "the prompt" : join(options.images, ", ");
  const std::string prompt =
      images.empty() ? options.prompt : trainer::mark_pictures(options.prompt);
  data::BatchBuilder batch;
  encoder.add_question(batch, -1, data::SampleEncoder::question(name, prompt, images), images,
                       name);
  return batch.finish();
}

void generate(const GenerateOptions& options) {
  const c10::NoGradGuard no_grad;
  const TextModel opened = open_text_model(options);
  const data::SampleEncoder encoder(opened.tokenizer, opened.encode);
  const MicroBatch prompt = encode_turn(encoder, options);
  TextStream stream(opened.tokenizer);
  model::GenerateOptions request{.max_new_tokens = options.max_tokens,
                                 .stop = opened.generation.eos,
                                 .sampling = opened.generation.sampling};
  if (!opened.generation.stop.empty())
    request.stop_when = [&](const auto& ids) { return has_stop_text(opened, ids); };
  if (!options.json) request.on_token = [&](std::int64_t id) { stream.add(id); };
  const auto start = std::chrono::steady_clock::now();
  const auto ids = opened.qwen.generate(prompt, request);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (options.json) return print_json(opened, prompt, ids, seconds.count());
  stream.flush();
  fmt::print("\n");
}

// These options say how long the answer may be, and how its tokens are drawn.
void add_sampling(CLI::App& command, GenerateOptions& options) {
  model::Sampling& sampling = options.generation.sampling;
  command.add_option("--max-tokens", options.max_tokens, "longest answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--temperature", sampling.temperature, "0: always the most probable token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--top-p", sampling.top_p, "draw among the most probable tokens that sum to this")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--top-k", options.generation.top_k,
                  "draw among so many most probable tokens, 0: all; generation_config.json's when "
                  "not given")
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--repetition-penalty", options.generation.repetition_penalty,
                  "above 1: what was there before becomes less probable; generation_config.json's "
                  "when not given")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--stop", options.generation.stop,
                  "a text that ends the answer, any number of times; with generation_config.json's")
      ->allow_extra_args(false);
  command.add_option("--seed", sampling.seed, "equal seeds draw equal texts")
      ->capture_default_str();
}

}  // namespace

void add_generate(CommandLine& cli) {
  CLI::App& command = add_command(
      cli, "generate", "text from the language model (boxes come from predict)",
      {"muster generate runs/demo --image photo.jpg --prompt 'What is in the picture?'",
       "muster generate Qwen3-VL-4B-Instruct --prompt 'Why?' --temperature 0.7 --top-p 0.9 --seed "
       "1 --json"});
  const auto options = std::make_shared<GenerateOptions>();
  command.add_option("CHECKPOINT", options->checkpoint, kCheckpointHelp)->required();
  command
      .add_option("--image", options->images,
                  "a picture, any number of times; each stands where the prompt has <image>, else "
                  "before it")
      ->allow_extra_args(false);
  command.add_option("--prompt", options->prompt, "the user's turn")->required();
  command.add_option("--system", options->system_prompt,
                     "the system turn, \"\" for none; else the run's, or the published");
  add_sampling(command, *options);
  command
      .add_option("--dtype", options->dtype,
                  "dtype of the weights; the checkpoint's when not given")
      ->check(CLI::IsMember(configs::names<configs::Dtype>()));
  command.add_flag("--json", options->json, "one JSON object on stdout, at the end");
  command.callback([options] { generate(*options); });
}

}  // namespace muster::launcher
