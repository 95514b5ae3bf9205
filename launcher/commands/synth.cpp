// muster synth OUT_DIR draws a deterministic dataset of shapes, so that the demo needs no download.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "data/synth/synth.h"
#include "launcher/commands/command_table.h"

namespace muster::launcher {

namespace {

struct SynthOptions {
  std::string out;
  data::SynthOptions scenes;
};

void synth(const SynthOptions& options) {
  data::synthesise(options.out, options.scenes);
  fmt::print(stderr, "{}: {} images of {} px, seed {}\n", options.out, options.scenes.images,
             options.scenes.size, options.scenes.seed);
}

void add_shapes(CLI::App& command, data::SynthOptions& scenes) {
  command.add_option("--min-shapes", scenes.min_shapes, "fewest shapes in an image")
      ->capture_default_str();
  command.add_option("--max-shapes", scenes.max_shapes, "most shapes in an image")
      ->capture_default_str();
  command
      .add_option("--min-extent", scenes.min_extent,
                  "least width and height of a shape, pixels at size 168")
      ->capture_default_str();
  command
      .add_option("--max-extent", scenes.max_extent,
                  "greatest width and height of a shape, pixels at size 168")
      ->capture_default_str();
  const auto small = [&scenes](std::int64_t) {
    scenes.min_extent = 3;
    scenes.max_extent = 10;
  };
  command.add_flag("--small", small, "shapes of 3 to 10 pixels at size 168, 6 to 20 at 336")
      ->excludes("--min-extent")
      ->excludes("--max-extent");
}

}  // namespace

void add_synth(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "synth", "draw a deterministic dataset of captioned shapes (COCO form)",
                  {"muster synth shapes --images 2000 --size 168 --seed 1"});
  const auto options = std::make_shared<SynthOptions>();
  command
      .add_option("OUT_DIR", options->out, "gets images/*.jpg, annotations.json, tokenizer.json")
      ->required();
  data::SynthOptions& scenes = options->scenes;
  command.add_option("--images", scenes.images, "number of images")->required();
  command.add_option("--size", scenes.size, "side of an image in pixels")->required();
  command.add_option("--seed", scenes.seed, "equal seeds give equal bytes")->required();
  add_shapes(command, scenes);
  command.callback([options] { synth(*options); });
}

}  // namespace muster::launcher
