#include "launcher/look/run_view.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "configs/config.h"
#include "launcher/look/predictions_of.h"
#include "launcher/look/sample_view.h"
#include "trainer/evaluate/judgement.h"
#include "trainer/evaluate/predictions.h"

namespace muster::launcher {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kSamplesOfRun = 60;

configs::Config config_of(const fs::path& run) {
  configs::Config config = configs::load(run / "config.yaml");
  if (config.data.val.empty())
    throw UsageError(fmt::format("{}: data.val is empty, so there is no truth to look at",
                                 (run / "config.yaml").string()));
  return config;
}

// Predictions and truth of one picture of a sample.
struct JudgedPicture {
  bool asked = false;  // something was predicted of it, if only nothing
  std::vector<data::Object> truth;
  std::vector<trainer::LabelledDetection> predictions;
  std::vector<trainer::PredictedBox> boxes;  // the same, with the classes of this set
  trainer::Judgement judgement;
};

struct Tally {
  std::int64_t found = 0, wrong = 0, missed = 0;
  std::int64_t errors() const { return wrong + missed; }
  Tally& operator+=(const Tally& other) {
    found += other.found;
    wrong += other.wrong;
    missed += other.missed;
    return *this;
  }
};

struct JudgedSample {
  std::int64_t index = 0;
  bool boxed = true;
  std::vector<JudgedPicture> pictures;
  Tally tally;  // at the run's threshold
};

Tally tally_of(const JudgedPicture& picture, double threshold) {
  Tally tally;
  if (!picture.asked) return tally;
  for (std::size_t i = 0; i < picture.predictions.size(); ++i) {
    if (picture.boxes[i].score < threshold) continue;
    const trainer::Outcome outcome = picture.judgement.predictions[i].outcome;
    tally.found += outcome == trainer::Outcome::kFound ? 1 : 0;
    tally.wrong += outcome == trainer::Outcome::kFalse ? 1 : 0;
  }
  for (std::size_t t = 0; t < picture.truth.size(); ++t) {
    const std::optional<double>& score = picture.judgement.found_with[t];
    const bool found = score && *score >= threshold;
    tally.missed += picture.truth[t].crowd || found ? 0 : 1;
  }
  return tally;
}

double share(std::int64_t part, std::int64_t other) {
  return part + other == 0 ? 0 : static_cast<double>(part) / static_cast<double>(part + other);
}

class RunLook {
 public:
  RunLook(fs::path run, const LookOptions& options)
      : run_(std::move(run)),
        config_(config_of(run_)),
        threshold_(config_.detection.score_threshold),
        set_(data::open_set(configs::pack_files(config_.data.val), config_.data.limit)),
        classes_(set_) {
    choose(options);
    for (const std::int64_t index : chosen_) samples_.push_back(judged(index));
    std::ranges::stable_sort(samples_, std::greater{},
                             [](const JudgedSample& sample) { return sample.tally.errors(); });
    for (const JudgedSample& sample : samples_) total_ += sample.tally;
  }

  ordered_json facts() const {
    return {{"kind", "run"},
            {"path", run_.string()},
            {"predictions", predictions_.source},
            {"threshold", threshold_},
            {"iou", 0.5},
            {"found", total_.found},
            {"false", total_.wrong},
            {"missed", total_.missed},
            {"precision", share(total_.found, total_.wrong)},
            {"recall", share(total_.found, total_.missed)}};
  }

  std::int64_t num_samples() const { return static_cast<std::int64_t>(samples_.size()); }

  ordered_json sample(std::int64_t k) const {
    const JudgedSample& sample = samples_[static_cast<std::size_t>(k)];
    ordered_json json = sample_json(set_, sample.index, classes_);
    json["found"] = sample.tally.found;
    json["false"] = sample.tally.wrong;
    json["missed"] = sample.tally.missed;
    ordered_json predictions = ordered_json::array();
    ordered_json found_with = ordered_json::array();
    for (std::size_t p = 0; p < sample.pictures.size(); ++p) {
      add_predictions(sample.pictures[p], p, predictions);
      for (const std::optional<double>& score : sample.pictures[p].judgement.found_with)
        found_with.push_back(score ? ordered_json(*score) : ordered_json(nullptr));
    }
    json["predictions"] = std::move(predictions);
    json["found_with"] = std::move(found_with);
    return json;
  }

  trainer::Gallery page() const {
    trainer::Gallery gallery;
    const fs::path whole = fs::weakly_canonical(fs::absolute(run_));
    gallery.title = whole.filename().string();
    gallery.place = fmt::format("{}: predictions of {}", whole.string(), predictions_.source);
    gallery.threshold = threshold_;
    gallery.facts = tiles();
    gallery.notes = notes();
    gallery.classes = counted_classes();
    std::int64_t pictures = 0;
    for (const JudgedSample& sample : samples_)
      pictures += static_cast<std::int64_t>(sample.pictures.size());
    const PictureRoom room = room_for(pictures);
    trainer::Section section{
        "Worst first", "Most false and missed boxes at the run's threshold come first.", {}};
    section.cards.resize(samples_.size());
    parallel_for("drawing samples", num_samples(), 0, [&](std::int64_t k) {
      const auto at = static_cast<std::size_t>(k);
      section.cards[at] = card_of(samples_[at], room);
    });
    gallery.sections.push_back(std::move(section));
    return gallery;
  }

 private:
  bool covers(const Predictions& predictions, std::int64_t index) const {
    const data::Sample sample = set_.sample(index);
    return sample.has_picture() && predictions.of_picture.contains(sample.name);
  }

  // Which samples, and whose predictions.
  void choose(const LookOptions& options) {
    const bool by_default = options.first < 0 && options.samples.empty();
    chosen_ = find_samples(set_, options.samples);
    if (options.samples.empty()) {
      const std::int64_t first = options.first >= 0 ? options.first : kSamplesOfRun;
      chosen_.resize(static_cast<std::size_t>(std::min(first, set_.size())));
      std::iota(chosen_.begin(), chosen_.end(), std::int64_t{0});
    }
    const fs::path file = run_ / "predictions" / "detections.json";
    if (fs::exists(file)) {
      Predictions left = read_predictions(file, threshold_);
      if (by_default) keep_covered(left);
      const bool all =
          std::ranges::all_of(chosen_, [&](std::int64_t index) { return covers(left, index); });
      if (all && !chosen_.empty()) {
        predictions_ = std::move(left);
        return;
      }
    }
    predictions_ = predict_now(run_, set_, chosen_);
  }

  // Without a wish, what the run left is what is shown.
  void keep_covered(const Predictions& left) {
    std::vector<std::int64_t> covered;
    for (std::int64_t i = 0; i < set_.size(); ++i) {
      if (covers(left, i)) covered.push_back(i);
    }
    if (!covered.empty()) chosen_ = std::move(covered);
  }

  JudgedSample judged(std::int64_t index) const {
    const data::Sample sample = set_.sample(index);
    const std::vector<std::string> names = trainer::picture_names(sample);
    JudgedSample result{.index = index, .boxed = sample.boxed, .pictures = {}, .tally = {}};
    for (std::size_t p = 0; p < sample.pictures.size(); ++p) {
      JudgedPicture& picture = result.pictures.emplace_back();
      for (const data::Object& object : sample.objects) {
        if (object.picture == static_cast<std::int64_t>(p)) picture.truth.push_back(object);
      }
      const auto found = predictions_.of_picture.find(names[p]);
      picture.asked = found != predictions_.of_picture.end();
      if (picture.asked) picture.predictions = found->second;
      judge_picture(picture);
      if (sample.boxed) result.tally += tally_of(picture, threshold_);
    }
    return result;
  }

  // Classes are compared by name: the run's numbers and the pack's need not agree.
  void judge_picture(JudgedPicture& picture) const {
    std::vector<trainer::TrueBox> truth;
    for (const data::Object& object : picture.truth)
      truth.push_back({object.box, classes_.place(object.category), object.crowd});
    for (const trainer::LabelledDetection& d : picture.predictions) {
      trainer::PredictedBox& box = picture.boxes.emplace_back();
      std::ranges::copy(d.box, box.box.begin());
      box.category = set_.class_map().find_name(d.caption);
      box.score = double{d.score};
    }
    picture.judgement = trainer::judge(truth, picture.boxes);
  }

  void add_predictions(const JudgedPicture& picture, std::size_t p, ordered_json& all) const {
    constexpr std::array<const char*, 3> kWords{"found", "false", "in crowd"};
    for (std::size_t i = 0; i < picture.predictions.size(); ++i) {
      if (picture.boxes[i].score < threshold_) continue;
      const trainer::Judgement::Of& judgement = picture.judgement.predictions[i];
      all.push_back({{"box", picture.boxes[i].box},
                     {"score", picture.boxes[i].score},
                     {"label", picture.predictions[i].caption},
                     {"image", p},
                     {"verdict", kWords[static_cast<std::size_t>(judgement.outcome)]},
                     {"iou", judgement.overlap}});
    }
  }

  std::vector<trainer::Fact> tiles() const {
    const auto number = [](std::int64_t n) { return fmt::format("{}", n); };
    return {{"pictures from data.val", fmt::format("{} of {}", num_samples(), set_.size())},
            {"score at least", fmt::format("{:.2f}", threshold_)},
            {"found (IoU at least 0.5)", number(total_.found)},
            {"false", number(total_.wrong)},
            {"missed", number(total_.missed)},
            {"precision", fmt::format("{:.3f}", share(total_.found, total_.wrong))},
            {"recall", fmt::format("{:.3f}", share(total_.found, total_.missed))}};
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> notes;
    if (predictions_.least_score >= threshold_)
      notes.push_back(
          fmt::format("the run kept no prediction below a score of {:.2f}; `muster "
                      "look {} -n {}` asks its checkpoint anew",
                      predictions_.least_score, run_.string(), kSamplesOfRun));
    return notes;
  }

  std::vector<trainer::ClassCount> counted_classes() const {
    ClassList counted = classes_;
    for (const JudgedSample& sample : samples_) {
      for (const JudgedPicture& picture : sample.pictures)
        for (const data::Object& object : picture.truth) counted.count(object.category);
    }
    return counted.classes();
  }

  trainer::Card card_of(const JudgedSample& sample, const PictureRoom& room) const {
    trainer::Card card = sample_card(set_, sample.index, classes_, room);
    const Tally& tally = sample.tally;
    card.note =
        fmt::format("{} found, {} false, {} missed", tally.found, tally.wrong, tally.missed);
    if (!sample.boxed) card.note = "nobody annotated boxes: predictions are not judged";
    for (std::size_t p = 0; p < card.pictures.size(); ++p) {
      const JudgedPicture& picture = sample.pictures[p];
      if (!picture.asked) card.note += "; over the vision-token budget, so nothing was predicted";
      draw_truth(picture, card.pictures[p]);
      for (std::size_t i = 0; i < picture.predictions.size(); ++i)
        card.pictures[p].boxes.push_back(predicted_box(picture, i, sample.boxed));
    }
    if (tally.wrong > 0) card.tags.emplace_back("false boxes");
    if (tally.missed > 0) card.tags.emplace_back("missed boxes");
    if (tally.errors() == 0 && sample.boxed) card.tags.emplace_back("all right");
    return card;
  }

  // The card's boxes are the picture's objects, in their order.
  static void draw_truth(const JudgedPicture& picture, trainer::ShownPicture& shown) {
    for (std::size_t t = 0; t < shown.boxes.size(); ++t) {
      if (picture.truth[t].crowd) continue;
      shown.boxes[t].verdict = trainer::Verdict::kTruth;
      shown.boxes[t].score = picture.judgement.found_with[t];
    }
  }

  trainer::ShownBox predicted_box(const JudgedPicture& picture, std::size_t i, bool judged) const {
    const trainer::Judgement::Of& judgement = picture.judgement.predictions[i];
    trainer::ShownBox box;
    box.box = picture.boxes[i].box;
    box.label = picture.predictions[i].caption;
    box.category = picture.boxes[i].category;
    box.score = picture.boxes[i].score;
    if (!judged) return box;
    box.verdict = judgement.outcome == trainer::Outcome::kFound ? trainer::Verdict::kFound
                                                                : trainer::Verdict::kFalse;
    if (judgement.truth >= 0) {
      const data::Object& truth = picture.truth[static_cast<std::size_t>(judgement.truth)];
      box.note = fmt::format("IoU {:.2f} with {}", judgement.overlap, truth.caption);
    }
    if (judgement.outcome == trainer::Outcome::kInCrowd) {
      box.verdict = trainer::Verdict::kNone;
      box.note = "in a crowd, counts neither way";
    }
    return box;
  }

  fs::path run_;
  configs::Config config_;
  double threshold_;
  data::SampleSet set_;
  ClassList classes_;
  std::vector<std::int64_t> chosen_;
  Predictions predictions_;
  std::vector<JudgedSample> samples_;
  Tally total_;
};

}  // namespace

View look_at_run(const fs::path& run, const LookOptions& options) {
  const auto look = std::make_shared<const RunLook>(run, options);
  return {.facts = look->facts(),
          .num_samples = look->num_samples(),
          .sample = [look](std::int64_t k) { return look->sample(k); },
          .page = [look] { return look->page(); }};
}

}  // namespace muster::launcher
