#include "trainer/predictions.h"

#include <c10/core/GradMode.h>

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
namespace muster::trainer {

ImageDetections detect_image(const model::Detector& detector, const data::Tokenizer& tokenizer,
                             const data::ClassMap& classes, const data::SampleEncoder& encoder, const data::Image& image,
                             const std::string& name, double threshold) {
  const c10::NoGradGuard no_grad;
  ImageDetections result{name, image.width, image.height, {}, {}};
  const auto detections = detector.detect(encoder.encode_image(image, name)).at(0);
  for (LabelledDetection& d : label(detections, tokenizer, classes)) {
    result.scores.push_back(d.score);
    if (d.score >= threshold) result.kept.push_back(std::move(d));
  }
  return result;
}

std::string to_json(const std::vector<ImageDetections>& images) {
  nlohmann::json list = nlohmann::json::array();
  for (const ImageDetections& image : images) {
    nlohmann::json detections = nlohmann::json::array();
    for (const LabelledDetection& d : image.kept) {
      detections.push_back({{"box", d.box}, {"score", d.score}, {"caption", d.caption}, {"category_id", d.category_id}});
    }
    list.push_back({{"image", image.image}, {"width", image.width}, {"height", image.height}, {"detections", detections}});
  }
  return list.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void draw(const data::Image& image, const ImageDetections& found, const fs::path& png, LabelFont& font) {
  RgbImage canvas{static_cast<int>(image.width), static_cast<int>(image.height), image.rgb};
  std::vector<OverlayBox> boxes;
  for (const LabelledDetection& d : found.kept) {
    boxes.push_back({d.box, fmt::format("{} {:.2f}", d.caption, d.score), d.category_id});
  }
  draw_boxes(canvas, boxes, font);
  write_png(png, canvas);
}

std::string explain_scores(const std::vector<ImageDetections>& images, double threshold) {
  std::vector<float> scores;
  for (const ImageDetections& image : images) scores.insert(scores.end(), image.scores.begin(), image.scores.end());
  if (scores.empty()) return "the model made no query at all";
  std::sort(scores.rbegin(), scores.rend());
  const auto at_fraction = [&](double f) { return scores[static_cast<std::size_t>(f * static_cast<double>(scores.size() - 1))]; };
  return fmt::format("no detection reaches {:.3g}. Scores of {} queries: best {:.3g}, 90th percentile {:.3g}, median {:.3g}. "
                     "--threshold {:.3g} would keep the best tenth",
                     threshold, scores.size(), scores.front(), at_fraction(0.1), at_fraction(0.5), at_fraction(0.1));
}

void write_gallery(const model::Detector& detector, const data::Tokenizer& tokenizer, const data::Pack& pack,
                   const data::SampleEncoder& encoder, double threshold, std::int64_t count, const fs::path& folder) {
  fs::create_directories(folder);
  LabelFont font;
  std::vector<ImageDetections> images;
  for (std::int64_t i = 0; i < std::min(count, pack.size()); ++i) {
    const std::string& name = pack.sample(i).name;
    const data::Image image = data::decode_image(pack.image_bytes(i), name);
    images.push_back(detect_image(detector, tokenizer, pack.class_map(), encoder, image, name, threshold));
    draw(image, images.back(), folder / (fs::path(name).filename().string() + ".png"), font);
  }
  write_text(folder / "detections.json", to_json(images));
}

}  // namespace muster::trainer
