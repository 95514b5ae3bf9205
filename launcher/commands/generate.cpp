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

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "data/images/codec.h"
#include "data/images/preprocessor_file.h"
#include "launcher/commands/asked_samples.h"
#include "launcher/commands/checkpoint_arguments.h"
#include "launcher/commands/command_table.h"
#include "model/files/family.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/checkpoint.h"

namespace muster::launcher {
namespace {

struct GenerateOptions {
  std::string checkpoint;
  std::vector<std::string> images;
  std::string prompt;
  std::optional<std::string> system_prompt;
  std::optional<std::string> dtype;
  std::int64_t max_tokens = 256;
  model::Sampling sampling;
  bool json = false;
};

// Holds what text needs of a checkpoint; the detection head is not read.
struct TextModel {
  data::Tokenizer tokenizer;
  model::QwenVL qwen;
  data::EncodeOptions encode;
  std::vector<std::int64_t> stop;
};

// Returns the dtype of the stored weights, by config.json, unless the command line names one.
at::ScalarType text_dtype(const GenerateOptions& options, const nlohmann::json& config) {
  std::string name = options.dtype.value_or("float32");
  for (const char* key : {"torch_dtype", "dtype"})
    if (!options.dtype && config.contains(key) && config[key].is_string())
      name = config[key].get<std::string>();
  if (const auto ours = configs::from_name<configs::Dtype>(name))
    return trainer::scalar_type(*ours);
  if (name == "bfloat16") return at::kBFloat16;
  return name == "float16" ? at::kHalf : at::kFloat;
}

// A turn ends with the tokens of the chat template and those that generation_config.json lists.
std::vector<std::int64_t> stop_tokens(const fs::path& folder, const data::Tokenizer& tokenizer) {
  std::vector<std::int64_t> stop;
  for (const char* token : {"<|im_end|>", "<|endoftext|>"})
    if (const auto id = tokenizer.token_id(token)) stop.push_back(*id);
  const fs::path file = folder / "generation_config.json";
  if (!fs::exists(file)) return stop;
  const auto settings = parse_json_or_null(read_text(file));
  if (!settings.is_object()) throw CheckpointError(file.string() + ": not a JSON object");
  const nlohmann::json eos = settings.value("eos_token_id", nlohmann::json());
  for (const auto& id : eos.is_array() ? eos : nlohmann::json::array({eos}))
    if (id.is_number_integer()) stop.push_back(id.get<std::int64_t>());
  return stop;
}

// Images and prompts enter as in the run that wrote the folder, or else as the published files say.
data::EncodeOptions text_encoding(const fs::path& folder, const model::QwenConfig& model) {
  if (fs::exists(folder / "config.yaml")) {
    configs::Config config = configs::load(folder / "config.yaml");
    config.model.path = {folder.string()};
    return trainer::encode_options(config, model);
  }
  data::EncodeOptions encode;
  const fs::path preprocessor = folder / "preprocessor_config.json";
  if (fs::exists(preprocessor)) encode.patches = data::read_preprocessor(preprocessor);
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
        ": no preprocessor_config.json, which says how an image enters the model");
  encode.prompt = "";
  encode.answer = data::AnswerFormat::kNone;
  if (options.system_prompt) encode.system_prompt = *options.system_prompt;
  data::Tokenizer tokenizer(folder);
  std::vector<std::int64_t> stop = stop_tokens(folder, tokenizer);
  return {std::move(tokenizer), model::QwenVL::load(folder, {.dtype = text_dtype(options, file)}),
          std::move(encode), std::move(stop)};
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

void print_json(const TextModel& opened, const MicroBatch& prompt,
                const std::vector<std::int64_t>& ids, double seconds) {
  const bool stopped = !ids.empty() && std::find(opened.stop.begin(), opened.stop.end(),
                                                 ids.back()) != opened.stop.end();
  const nlohmann::ordered_json result{{"text", opened.tokenizer.decode(ids)},
                                      {"ids", ids},
                                      {"prompt_tokens", prompt.input_ids.size(0)},
                                      {"stopped_by", stopped ? "token" : "length"},
                                      {"seconds", seconds}};
  fmt::print("{}\n", result.dump());
}

// Encodes the user's turn, with the pictures where <image> stands, else before it.
MicroBatch encode_turn(const data::SampleEncoder& encoder, const GenerateOptions& options) {
  std::vector<data::Image> images;
  for (const std::string& path : options.images)
    images.push_back(data::decode_image(MappedFile(path).bytes(), path));
  const std::string name = images.empty() ? "the prompt" : join(options.images, ", ");
  const std::string prompt = images.empty() ? options.prompt : mark_pictures(options.prompt);
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
  model::GenerateOptions request{
      .max_new_tokens = options.max_tokens, .stop = opened.stop, .sampling = options.sampling};
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
  model::Sampling& sampling = options.sampling;
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
