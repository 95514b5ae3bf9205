// muster generate CHECKPOINT --prompt TEXT [--image I]: text from the language model. For boxes use
// `predict` (law 13).
#include <c10/core/GradMode.h>
#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "data/images/preprocessor_file.h"
#include "launcher/commands/command_table.h"
#include "model/files/family.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/checkpoint.h"

namespace muster::launcher {
namespace {

struct GenerateArguments {
  std::string checkpoint, image, prompt;
  std::optional<std::string> system_prompt, dtype;
  std::int64_t max_tokens = 256;
  model::Sampling sampling;
  bool json = false;
};

// What text needs of a checkpoint; the detection head is not read.
struct TextModel {
  data::Tokenizer tokenizer;
  model::QwenVL qwen;
  data::EncodeOptions encode;
  std::vector<std::int64_t> stop;
};

// The stored weights' dtype, by config.json, unless the command line names one.
at::ScalarType text_dtype(const GenerateArguments& a, const nlohmann::json& config) {
  std::string name = a.dtype.value_or("float32");
  for (const char* key : {"torch_dtype", "dtype"})
    if (!a.dtype && config.contains(key) && config[key].is_string())
      name = config[key].get<std::string>();
  if (const auto ours = configs::from_name<configs::Dtype>(name))
    return trainer::scalar_type(*ours);
  if (name == "bfloat16") return at::kBFloat16;
  return name == "float16" ? at::kHalf : at::kFloat;
}

// Ends of a turn: the chat template's, and what generation_config.json lists.
std::vector<std::int64_t> stop_tokens(const fs::path& folder, const data::Tokenizer& tokenizer) {
  std::vector<std::int64_t> stop;
  for (const char* token : {"<|im_end|>", "<|endoftext|>"})
    if (const auto id = tokenizer.token_id(token)) stop.push_back(*id);
  const fs::path file = folder / "generation_config.json";
  if (!fs::exists(file)) return stop;
  const auto settings = nlohmann::json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (!settings.is_object()) throw CheckpointError(file.string() + ": not a JSON object");
  const nlohmann::json eos = settings.value("eos_token_id", nlohmann::json());
  for (const auto& id : eos.is_array() ? eos : nlohmann::json::array({eos}))
    if (id.is_number_integer()) stop.push_back(id.get<std::int64_t>());
  return stop;
}

// How images and prompts enter: as the run that wrote the folder had it, or as the published files
// say.
data::EncodeOptions text_encoding(const fs::path& folder, const model::QwenConfig& model) {
  if (fs::exists(folder / "config.yaml")) {
    configs::Config config = configs::load(folder / "config.yaml");
    config.model.path = {folder.string()};
    return trainer::encode_options(config, model);
  }
  data::EncodeOptions options;
  const fs::path preprocessor = folder / "preprocessor_config.json";
  if (fs::exists(preprocessor)) options.patches = data::read_preprocessor(preprocessor);
  options.system_prompt = model::family_of(model.model_type).system_prompt;
  options.max_vision_tokens = std::numeric_limits<std::int64_t>::max();
  options.vocab_size = model.text.vocab_size;
  return options;
}

TextModel open_text_model(const GenerateArguments& a) {
  const fs::path folder = trainer::resolve_checkpoint(a.checkpoint);
  trainer::verify_checkpoint(folder, /*with_optimizer=*/false);
  const model::QwenConfig config = model::read_config(folder);
  const auto file = nlohmann::json::parse(read_text(folder / "config.json"));
  data::EncodeOptions encode = text_encoding(folder, config);
  if (!a.image.empty() && encode.patches.max_pixels == 0)
    throw CheckpointError(
        folder.string() +
        ": no preprocessor_config.json, which says how an image enters the model");
  encode.prompt = a.prompt;
  encode.answer = data::AnswerFormat::kNone;
  if (a.system_prompt) encode.system_prompt = *a.system_prompt;
  data::Tokenizer tokenizer(folder);
  std::vector<std::int64_t> stop = stop_tokens(folder, tokenizer);
  return {std::move(tokenizer), model::QwenVL::load(folder, {.dtype = text_dtype(a, file)}),
          std::move(encode), std::move(stop)};
}

// Prints text as it grows, never half a character: ids wait until their bytes decode.
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

void generate(const GenerateArguments& a) {
  const c10::NoGradGuard no_grad;
  const TextModel opened = open_text_model(a);
  const data::SampleEncoder encoder(opened.tokenizer, opened.encode);
  const MicroBatch prompt =
      a.image.empty()
          ? encoder.encode_prompt(a.prompt)
          : encoder.encode_image(data::decode_image(MappedFile(a.image).bytes(), a.image), a.image);
  TextStream stream(opened.tokenizer);
  model::GenerateOptions options{
      .max_new_tokens = a.max_tokens, .stop = opened.stop, .sampling = a.sampling};
  if (!a.json) options.on_token = [&](std::int64_t id) { stream.add(id); };
  const auto start = std::chrono::steady_clock::now();
  const auto ids = opened.qwen.generate(prompt, options);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (a.json) return print_json(opened, prompt, ids, seconds.count());
  stream.flush();
  fmt::print("\n");
}

}  // namespace

void add_generate(CommandLine& cli) {
  CLI::App* command =
      cli.app.add_subcommand("generate", "Text from the language model (boxes come from predict)");
  auto a = std::make_shared<GenerateArguments>();
  command
      ->add_option("CHECKPOINT", a->checkpoint, "step-* folder, run folder or Hugging Face folder")
      ->required();
  command->add_option("--image", a->image, "JPEG or PNG; text only when not given");
  command->add_option("--prompt", a->prompt, "the user's turn")->required();
  command->add_option("--system", a->system_prompt,
                      "the system turn, \"\" for none; else the run's, or the published");
  command->add_option("--max-tokens", a->max_tokens, "longest answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--temperature", a->sampling.temperature, "0: always the most probable token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--top-p", a->sampling.top_p,
                   "draw among the most probable tokens that sum to this")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", a->sampling.seed, "of the draws")->capture_default_str();
  command->add_option("--dtype", a->dtype, "fp32, bf16 or fp16; the checkpoint's when not given")
      ->check(CLI::IsMember(configs::names<configs::Dtype>()));
  command->add_flag("--json", a->json, "one JSON object on stdout, at the end");
  command->callback([a] { generate(*a); });
}

}  // namespace muster::launcher
