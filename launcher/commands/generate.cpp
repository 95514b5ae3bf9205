// muster generate CHECKPOINT --image I --prompt TEXT: text from the language model, greedily. For boxes use `predict`.
#include <c10/core/GradMode.h>
#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "launcher/commands.h"
#include "launcher/run_context.h"

namespace muster::launcher {
namespace {

struct GenerateArguments {
  std::string checkpoint, image, prompt;
  std::int64_t max_new_tokens = 256;
};

void generate(const GenerateArguments& a) {
  const c10::NoGradGuard no_grad;
  OpenedCheckpoint opened(a.checkpoint);
  data::EncodeOptions options = opened.encoder.options();
  options.prompt = a.prompt;
  const data::SampleEncoder encoder(opened.tokenizer, options);
  const MicroBatch prompt =
      a.image.empty() ? encoder.encode_prompt(a.prompt)
                      : encoder.encode_image(data::decode_image(MappedFile(a.image).bytes(), a.image), a.image);
  const std::int64_t stop[] = {opened.tokenizer.token_id("<|im_end|>").value_or(-1),
                               opened.tokenizer.token_id("<|endoftext|>").value_or(-1)};
  const auto ids = opened.detector.backbone().generate(prompt, a.max_new_tokens, stop);
  fmt::print("{}\n", opened.tokenizer.decode(ids));
}

}  // namespace

void add_generate(CommandLine& cli) {
  CLI::App* command = cli.app.add_subcommand("generate", "Text from the language model (boxes come from predict)");
  auto a = std::make_shared<GenerateArguments>();
  command->add_option("CHECKPOINT", a->checkpoint, "step-* folder or run folder")->required();
  command->add_option("--image", a->image, "JPEG or PNG; text only when not given");
  command->add_option("--prompt", a->prompt, "the user's turn")->required();
  command->add_option("--max-new-tokens", a->max_new_tokens, "of the answer")->check(CLI::PositiveNumber);
  command->callback([a] { generate(*a); });
}

}  // namespace muster::launcher
