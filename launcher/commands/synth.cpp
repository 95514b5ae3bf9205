// muster synth: a deterministic dataset of shapes, so the demo needs no download.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "data/synth/synth.h"
#include "launcher/commands/command_table.h"

namespace muster::launcher {

void add_synth(CommandLine& cli) {
  struct Flags {
    std::string out;
    data::SynthOptions options;
  };
  auto* command = cli.app.add_subcommand(
      "synth", "Draw a deterministic dataset of captioned shapes (COCO form)");
  const auto flags = std::make_shared<Flags>();
  data::SynthOptions& options = flags->options;
  command->add_option("OUT_DIR", flags->out, "Gets images/*.jpg, annotations.json, tokenizer.json")
      ->required();
  command->add_option("--images", options.images, "Number of images")->required();
  command->add_option("--size", options.size, "Side of an image in pixels")->required();
  command->add_option("--seed", options.seed, "Equal seeds give equal bytes")->required();
  command->add_option("--min-shapes", options.min_shapes, "Fewest shapes in an image")
      ->capture_default_str();
  command->add_option("--max-shapes", options.max_shapes, "Most shapes in an image")
      ->capture_default_str();
  command
      ->add_option("--min-extent", options.min_extent,
                   "Least width and height of a shape, pixels at size 168")
      ->capture_default_str();
  command
      ->add_option("--max-extent", options.max_extent,
                   "Greatest width and height of a shape, pixels at size 168")
      ->capture_default_str();
  command->callback([flags] {
    data::synthesise(flags->out, flags->options);
    fmt::print(stderr, "{}: {} images of {} px, seed {}\n", flags->out, flags->options.images,
               flags->options.size, flags->options.seed);
  });
}

}  // namespace muster::launcher
