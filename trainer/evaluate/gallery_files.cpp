#include "trainer/evaluate/gallery_files.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "data/images/codec.h"
#include "data/images/resize.h"
#include "trainer/evaluate/judgement.h"
#include "trainer/evaluate/predictions.h"
#include "trainer/show/judged_pictures.h"

namespace muster::trainer {
namespace {

// As large as a page shows it.
std::string page_jpeg(const data::Image& image) {
  constexpr double kLongest = 640;  // pixels
  constexpr int kQuality = 85;
  const double longer = static_cast<double>(std::max(image.width, image.height));
  const double scale = std::min(1.0, kLongest / std::max(1.0, longer));
  const auto side = [&](std::int64_t pixels) {
    return std::max<std::int64_t>(1, std::llround(static_cast<double>(pixels) * scale));
  };
  const std::vector<std::byte> jpeg =
      scale == 1
          ? data::encode_jpeg(image, kQuality)
          : data::encode_jpeg(data::resize_bicubic(image, side(image.width), side(image.height)),
                              kQuality);
  return {reinterpret_cast<const char*>(jpeg.data()), jpeg.size()};
}

std::array<double, 4> wide(const std::array<float, 4>& box) {
  return {box[0], box[1], box[2], box[3]};
}

BoxVerdict verdict_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kFound: return BoxVerdict::kFound;
    case Outcome::kInCrowd: return BoxVerdict::kCrowd;
    default: return BoxVerdict::kFalse;
  }
}

// The truth about one picture of a sample beside what was found in it.
JudgedPicture judged(const data::Sample& sample, std::int64_t picture,
                     const ImageDetections& found) {
  JudgedPicture result{.name = found.image, .width = found.width, .height = found.height};
  std::vector<TrueBox> truth;
  for (const data::Object& object : sample.objects) {
    if (object.picture != picture) continue;
    truth.push_back({object.box, object.category, object.crowd});
    result.truth.push_back({.box = object.box, .label = object.caption});
  }
  std::vector<PredictedBox> predicted;
  for (const LabelledDetection& d : found.kept) {
    predicted.push_back({wide(d.box), d.category_id, double{d.score}});
    result.predicted.push_back({.box = wide(d.box), .label = d.caption, .score = double{d.score}});
  }
  result.annotated = sample.boxed;
  if (!sample.boxed) return result;
  const Judgement judgement = judge(truth, predicted);
  for (std::size_t i = 0; i < predicted.size(); ++i)
    result.predicted[i].verdict = verdict_of(judgement.predictions[i].outcome);
  for (std::size_t t = 0; t < truth.size(); ++t) {
    const bool found_it = judgement.found_with[t].has_value();
    result.truth[t].verdict = found_it ? BoxVerdict::kFound : BoxVerdict::kMissed;
    if (truth[t].crowd) result.truth[t].verdict = BoxVerdict::kCrowd;
  }
  return result;
}

}  // namespace

std::vector<std::int64_t> worst_samples(std::span<const std::int64_t> samples,
                                        std::span<const std::int64_t> errors, std::size_t count) {
  std::vector<std::size_t> order(samples.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (errors.size() == samples.size())
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return errors[i]; });
  order.resize(std::min(count, order.size()));
  std::vector<std::int64_t> worst;
  for (const std::size_t i : order) worst.push_back(samples[i]);
  return worst;
}

void write_gallery(const model::Detector& detector, const data::Tokenizer& tokenizer,
                   const data::SampleSet& set, const data::SampleEncoder& encoder, double threshold,
                   std::span<const std::int64_t> samples, const fs::path& folder) {
  fs::create_directories(folder / "pictures");
  LabelFont font;
  const Predictor predictor(detector, tokenizer, set.class_map(), encoder);
  DetectionsFile file(folder / "detections.json");
  JudgedPictures all{.threshold = threshold};
  ScoreHistogram scores;
  for (const std::int64_t i : samples) {
    const Shown shown = shown_sample(set, i);
    if (shown.pictures.empty() || encoder.measure(shown.sample).dropped) continue;
    std::vector<ImageDetections> found = predictor.predict({&shown, 1}, {.all = threshold}, scores);
    for (std::size_t k = 0; k < found.size(); ++k) {
      const std::string name = fs::path(shown.names[k]).filename().string();
      found[k].overlay = name + ".png";
      draw(shown.pictures[k], found[k], folder / found[k].overlay, font);
      file.add(found[k]);
      JudgedPicture& one =
          all.pictures.emplace_back(judged(shown.sample, static_cast<std::int64_t>(k), found[k]));
      one.file = "pictures/" + name + ".jpg";
      write_text(folder / one.file, page_jpeg(shown.pictures[k]));
    }
  }
  file.commit();
  write_text(folder / "judged.json", judged_to_json(all));
}

std::vector<PngPicture> drawn_samples(const model::Detector& detector,
                                      const data::Tokenizer& tokenizer, const data::SampleSet& set,
                                      const data::SampleEncoder& encoder, double threshold,
                                      std::span<const std::int64_t> samples) {
  LabelFont font;
  const Predictor predictor(detector, tokenizer, set.class_map(), encoder);
  ScoreHistogram scores;
  std::vector<PngPicture> pictures;
  for (const std::int64_t i : samples) {
    const Shown shown = shown_sample(set, i);
    if (shown.pictures.empty() || encoder.measure(shown.sample).dropped) continue;
    const auto found = predictor.predict({&shown, 1}, {.all = threshold}, scores);
    for (std::size_t k = 0; k < found.size(); ++k)
      pictures.push_back(drawn(shown.pictures[k], found[k], font));
  }
  return pictures;
}

}  // namespace muster::trainer
