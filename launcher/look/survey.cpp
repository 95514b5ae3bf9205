#include "launcher/look/survey.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "launcher/look/near_duplicates.h"

namespace muster::launcher {
namespace {

constexpr double kTinySide = 8;       // pixels
constexpr double kBorder = 0.5;       // pixels
constexpr double kWholeShare = 0.95;  // of the picture's area
constexpr double kSameOverlap = 0.9;  // intersection over union
constexpr std::size_t kMostPerReason = 4;
constexpr std::size_t kMostClassSamples = 100;

double width_of(const data::Object& object) { return object.box[2] - object.box[0]; }
double height_of(const data::Object& object) { return object.box[3] - object.box[1]; }
double area_of(const data::Object& object) { return width_of(object) * height_of(object); }

double overlap(const data::Object& a, const data::Object& b) {
  const double width = std::min(a.box[2], b.box[2]) - std::max(a.box[0], b.box[0]);
  const double height = std::min(a.box[3], b.box[3]) - std::max(a.box[1], b.box[1]);
  if (width <= 0 || height <= 0) return 0;
  const double both = width * height;
  return both / (area_of(a) + area_of(b) - both);
}

// The samples with the largest values, the earlier first among equals.
class Largest {
 public:
  void offer(double value, std::int64_t sample) {
    least_ = std::min(least_, value);
    most_ = std::max(most_, value);
    if (best_.size() == kMostPerReason && value <= best_.back().value) return;
    const auto place = std::ranges::find_if(best_, [&](const Entry& e) { return e.value < value; });
    best_.insert(place, {value, sample});
    if (best_.size() > kMostPerReason) best_.pop_back();
  }
  // None when all values are alike: the largest of equals is not odd.
  std::vector<std::int64_t> samples() const {
    std::vector<std::int64_t> samples;
    if (!(most_ > least_)) return samples;
    for (const Entry& entry : best_)
      if (entry.value > least_) samples.push_back(entry.sample);
    return samples;
  }

 private:
  struct Entry {
    double value = 0;
    std::int64_t sample = 0;
  };
  std::vector<Entry> best_;
  double least_ = INFINITY, most_ = -INFINITY;
};

// Two boxes of one class and picture that cover the same. Sorted by their left edges, only near
// ones are compared.
bool has_twins(const data::Sample& sample) {
  std::vector<const data::Object*> sorted;
  for (const data::Object& object : sample.objects) sorted.push_back(&object);
  std::ranges::sort(sorted, {}, [](const data::Object* o) { return o->box[0]; });
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const data::Object& one = *sorted[i];
    for (std::size_t k = i + 1; k < sorted.size(); ++k) {
      const data::Object& other = *sorted[k];
      if (other.box[0] > one.box[0] + (1 - kSameOverlap) * width_of(one)) break;
      const bool same = one.category == other.category && one.picture == other.picture;
      if (same && !one.crowd && !other.crowd && overlap(one, other) >= kSameOverlap) return true;
    }
  }
  return false;
}

struct BoxFacts {
  double least_side = INFINITY;
  double most_share = 0;  // of its picture's area
  int at_border = 0;
};

BoxFacts box_facts(const data::Sample& sample) {
  BoxFacts facts;
  for (const data::Object& object : sample.objects) {
    const data::Picture& picture = sample.pictures[static_cast<std::size_t>(object.picture)];
    const auto width = static_cast<double>(picture.width);
    const auto height = static_cast<double>(picture.height);
    facts.least_side = std::min({facts.least_side, width_of(object), height_of(object)});
    facts.most_share = std::max(facts.most_share, area_of(object) / (width * height));
    const bool touches = object.box[0] <= kBorder || object.box[1] <= kBorder ||
                         object.box[2] >= width - kBorder || object.box[3] >= height - kBorder;
    if (touches) ++facts.at_border;
  }
  return facts;
}

// Takes one sample after the other.
class Surveyor {
 public:
  Surveyor(const data::SampleSet& set, std::int64_t first)
      : set_(set), first_(first), survey_(set) {}

  void run() {
    Progress progress("going through samples", set_.size());
    for (std::int64_t i = 0; i < set_.size(); ++i) {
      add(i, set_.sample(i));
      progress.add();
    }
    for (const auto& [why, largest] : largest_) note(why, largest.samples());
  }

  Survey take() { return std::move(survey_); }

 private:
  void add(std::int64_t i, const data::Sample& sample) {
    SurveyCounts& counts = survey_.counts;
    ++counts.samples;
    counts.pictures += static_cast<std::int64_t>(sample.pictures.size());
    counts.boxes += static_cast<std::int64_t>(sample.objects.size());
    survey_.boxes_per_sample.add(static_cast<double>(sample.objects.size()));
    if (i < first_) {
      survey_.shown_first.push_back(i);
      survey_.why[i].emplace_back(reason::kFirst);
    }
    add_kind(i, sample);
    for (const data::Picture& picture : sample.pictures) add_picture(i, picture);
    for (const data::Object& object : sample.objects) add_object(i, object);
    if (!sample.objects.empty()) add_boxes(i, sample);
  }

  void add_kind(std::int64_t i, const data::Sample& sample) {
    SurveyCounts& counts = survey_.counts;
    if (!sample.has_picture()) {
      ++counts.without_picture;
      offer(reason::kNoPicture, i);
    }
    if (!sample.boxed) {
      ++counts.unboxed;
      offer(reason::kUnboxed, i);
    } else if (sample.objects.empty()) {
      ++counts.empty;
      offer(reason::kEmpty, i);
    }
    if (sample.pictures.size() > 1) offer(reason::kSeveralPictures, i);
    const auto answers =
        std::ranges::count(sample.turns, data::Role::kAssistant, &data::Turn::role);
    if (answers > 1) offer(reason::kSeveralTurns, i);
  }

  void add_picture(std::int64_t i, const data::Picture& picture) {
    const auto width = static_cast<double>(picture.width);
    const auto height = static_cast<double>(picture.height);
    survey_.picture_sides.add(std::sqrt(width * height));
    largest_[reason::kLargest].offer(width * height, i);
    largest_[reason::kSmallest].offer(-width * height, i);
    largest_[reason::kLongest].offer(std::max(width / height, height / width), i);
  }

  void add_object(std::int64_t i, const data::Object& object) {
    survey_.classes.count(object.category);
    survey_.box_sides.add(std::sqrt(std::max(0.0, area_of(object))));
    if (object.crowd) ++survey_.counts.crowds;
    if (!seen_.insert(object.category).second || i < first_) return;
    if (survey_.of_classes.size() == kMostClassSamples) return;
    if (survey_.of_classes.empty() || survey_.of_classes.back() != i)
      survey_.of_classes.push_back(i);
    survey_.why[i].push_back("class " + survey_.classes.name(object.category));
  }

  void add_boxes(std::int64_t i, const data::Sample& sample) {
    SurveyCounts& counts = survey_.counts;
    const BoxFacts facts = box_facts(sample);
    largest_[reason::kMostBoxes].offer(static_cast<double>(sample.objects.size()), i);
    largest_[reason::kSmallestBox].offer(-facts.least_side, i);
    if (facts.least_side < kTinySide) ++counts.with_tiny;
    if (facts.most_share >= kWholeShare) offer(reason::kWholePicture, i);
    if (facts.at_border > 0) {
      ++counts.at_border;
      offer(reason::kBorder, i);
    }
    if (!has_twins(sample)) return;
    ++counts.with_twins;
    offer(reason::kTwice, i);
  }

  void offer(const std::string& why, std::int64_t sample) {
    std::vector<std::int64_t>& samples = survey_.odd[why];
    if (samples.size() == kMostPerReason) return;
    samples.push_back(sample);
    survey_.why[sample].emplace_back(why);
  }

  void note(const std::string& why, const std::vector<std::int64_t>& samples) {
    for (const std::int64_t sample : samples) {
      std::vector<std::string>& words = survey_.why[sample];
      if (std::ranges::find(words, why) == words.end()) offer(why, sample);
    }
  }

  const data::SampleSet& set_;
  std::int64_t first_;
  Survey survey_;
  std::map<std::string, Largest> largest_;
  std::set<std::int64_t> seen_;  // categories
};

// One sketch per stored picture, and a sample that shows it.
struct Sketches {
  std::vector<PictureSketch> sketches;
  std::vector<std::int64_t> sample;
};

// A sample that is the first to show some pictures.
struct FirstShown {
  std::int64_t sample = 0;
  std::vector<std::pair<std::size_t, std::size_t>> pictures;  // of the sample; place among sketches
};

std::vector<FirstShown> first_shown(const data::SampleSet& set, Sketches& all) {
  std::vector<FirstShown> firsts;
  std::set<std::pair<std::size_t, std::int64_t>> known;  // pack, picture
  for (std::int64_t i = 0; i < set.size(); ++i) {
    const data::Sample sample = set.sample(i);
    FirstShown first{i, {}};
    for (std::size_t p = 0; p < sample.pictures.size(); ++p) {
      if (!known.emplace(set.locate(i).first, sample.pictures[p].index).second) continue;
      first.pictures.emplace_back(p, all.sample.size());
      all.sample.push_back(i);
    }
    if (!first.pictures.empty()) firsts.push_back(std::move(first));
  }
  all.sketches.resize(all.sample.size());
  return firsts;
}

Sketches sketch_all(const data::SampleSet& set, Survey& survey) {
  Sketches all;
  const std::vector<FirstShown> firsts = first_shown(set, all);
  std::mutex mutex;
  const auto sketch_one = [&](std::int64_t k) {
    const FirstShown& first = firsts[static_cast<std::size_t>(k)];
    try {
      const auto images = set.pictures(first.sample, set.sample(first.sample));
      for (const auto& [picture, place] : first.pictures)
        all.sketches[place] = sketch(images[picture]);
    } catch (const DataError& error) {
      const std::lock_guard lock(mutex);
      survey.unreadable.emplace_back(error.what());
    }
  };
  parallel_for("comparing pictures", static_cast<std::int64_t>(firsts.size()), 0, sketch_one);
  std::ranges::sort(survey.unreadable);
  return all;
}

void find_alike(const data::SampleSet& set, Survey& survey) {
  const Sketches all = sketch_all(set, survey);
  for (const std::vector<std::int64_t>& group : near_duplicates(all.sketches)) {
    std::set<std::int64_t> samples;
    for (const std::int64_t picture : group)
      samples.insert(all.sample[static_cast<std::size_t>(picture)]);
    if (samples.size() > 1) survey.alike.emplace_back(samples.begin(), samples.end());
  }
  std::ranges::stable_sort(survey.alike, std::greater{}, &std::vector<std::int64_t>::size);
}

}  // namespace

Survey survey(const data::SampleSet& set, std::int64_t first, bool find_duplicates) {
  Surveyor surveyor(set, first);
  surveyor.run();
  Survey result = surveyor.take();
  if (find_duplicates) find_alike(set, result);
  return result;
}

}  // namespace muster::launcher
