// muster predict CHECKPOINT IMAGE|DIR... -o OUT_DIR: boxes and captions as JSON and overlay PNGs. Always the detection
// pipeline, never text generation (law 13).
#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/progress.h"
#include "launcher/commands.h"
#include "launcher/run_context.h"
#include "trainer/predictions.h"

namespace muster::launcher {
namespace {

struct PredictArguments {
  std::string checkpoint, out, font;
  std::vector<std::string> inputs;
  double threshold = -1;   // below 0: the config's
};

bool is_image(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

std::vector<fs::path> list_images(const std::vector<std::string>& inputs) {
  std::vector<fs::path> images;
  for (const fs::path input : inputs) {
    if (!fs::exists(input)) throw DataError(fmt::format("{}: no such file or folder", input.string()));
    if (!fs::is_directory(input)) {
      images.push_back(input);
      continue;
    }
    const std::size_t before = images.size();
    for (const auto& entry : fs::directory_iterator(input)) {
      if (is_image(entry.path())) images.push_back(entry.path());
    }
    std::sort(images.begin() + static_cast<std::ptrdiff_t>(before), images.end());
  }
  if (images.empty()) throw DataError("predict: no .jpg, .jpeg or .png among the inputs");
  return images;
}

void predict(const PredictArguments& a) {
  const std::vector<fs::path> paths = list_images(a.inputs);
  OpenedCheckpoint opened(a.checkpoint);
  const double threshold = a.threshold >= 0 ? a.threshold : opened.config.detection.score_threshold;
  fs::create_directories(a.out);
  trainer::LabelFont font(a.font);
  std::vector<trainer::ImageDetections> found;
  Progress progress("predicting", static_cast<std::int64_t>(paths.size()));
  std::size_t kept = 0;
  for (const fs::path& path : paths) {
    const data::Image image = data::decode_image(MappedFile(path).bytes(), path.string());
    found.push_back(trainer::detect_image(opened.detector, opened.tokenizer, opened.classes, opened.encoder, image,
                                          path.string(), threshold));
    trainer::draw(image, found.back(), fs::path(a.out) / (path.stem().string() + ".png"), font);
    kept += found.back().kept.size();
    progress.add();
  }
  write_text(fs::path(a.out) / "detections.json", trainer::to_json(found));
  if (kept == 0) fmt::print(stderr, "predict: {}\n", trainer::explain_scores(found, threshold));
  fmt::print(stderr, "{} detections in {} images: {}/detections.json\n", kept, paths.size(), a.out);
}

}  // namespace

void add_predict(CommandLine& cli) {
  CLI::App* command = cli.app.add_subcommand("predict", "Boxes and captions of images, as JSON and overlay PNG");
  auto a = std::make_shared<PredictArguments>();
  command->add_option("CHECKPOINT", a->checkpoint, "step-* folder or run folder")->required();
  command->add_option("IMAGES", a->inputs, "image files or folders")->required();
  command->add_option("-o,--out", a->out, "where detections.json and the PNGs go")->required();
  command->add_option("--threshold", a->threshold, "least score shown; the config's when not given");
  command->add_option("--font", a->font, "TrueType font of the labels");
  command->callback([a] { predict(*a); });
}

}  // namespace muster::launcher
