#include "launcher/look/pack_view.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/parallel.h"
#include "launcher/look/survey.h"

namespace muster::launcher {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kSamplesOfPack = 24;
constexpr std::size_t kGroupsShown = 8;
constexpr std::size_t kMembersShown = 4;
constexpr std::size_t kFaultsListed = 10;

// Cards to make: sample and the words on it.
struct Wanted {
  std::string title, note;
  std::vector<std::int64_t> samples;
};

class PackLook {
 public:
  PackLook(const fs::path& path, const LookOptions& options)
      : set_({std::make_shared<const data::Pack>(path)}),
        path_(path),
        asked_(find_samples(set_, options.samples)),
        in_json_(options.first >= 0 ? std::min(options.first, set_.size()) : set_.size()),
        survey_(survey(set_, shown_first(options), options.duplicates && asked_.empty())),
        compared_(options.duplicates && asked_.empty()) {}

  ordered_json facts() const {
    const SurveyCounts& counts = survey_.counts;
    ordered_json facts{{"kind", "pack"},
                       {"path", path_.string()},
                       {"num_samples", counts.samples},
                       {"num_pictures", set_.packs().front()->num_pictures()},
                       {"num_boxes", counts.boxes},
                       {"num_crowds", counts.crowds},
                       {"unboxed", counts.unboxed},
                       {"empty", counts.empty},
                       {"without_picture", counts.without_picture},
                       {"with_tiny_boxes", counts.with_tiny},
                       {"with_boxes_at_border", counts.at_border},
                       {"with_boxes_twice", counts.with_twins}};
    facts["classes"] = classes_json();
    facts["odd"] = survey_.odd;
    if (compared_) facts["look_alike"] = survey_.alike;
    facts["unreadable"] = survey_.unreadable;
    return facts;
  }

  std::int64_t num_samples() const {
    return asked_.empty() ? in_json_ : static_cast<std::int64_t>(asked_.size());
  }

  ordered_json sample(std::int64_t k) const {
    const std::int64_t index = asked_.empty() ? k : asked_[static_cast<std::size_t>(k)];
    ordered_json json = sample_json(set_, index, survey_.classes);
    if (const auto why = survey_.why.find(index); why != survey_.why.end())
      json["why"] = why->second;
    return json;
  }

  trainer::Gallery page() const {
    trainer::Gallery gallery;
    gallery.title = path_.filename().string();
    gallery.place = fs::absolute(path_).lexically_normal().string();
    gallery.facts = tiles();
    gallery.notes = notes();
    gallery.classes = survey_.classes.classes();
    gallery.histograms = {
        survey_.picture_sides.histogram("Pictures by side (root of width x height), pixels"),
        survey_.box_sides.histogram("Boxes by side (root of area), pixels"),
        survey_.boxes_per_sample.histogram("Samples by number of boxes")};
    const std::vector<Wanted> wanted = sections();
    std::int64_t cards = 0;
    for (const Wanted& section : wanted) cards += static_cast<std::int64_t>(section.samples.size());
    for (const Wanted& section : wanted) gallery.sections.push_back(made(section, room_for(cards)));
    return gallery;
  }

 private:
  // Samples that were asked for are all that is shown.
  std::int64_t shown_first(const LookOptions& options) const {
    if (!asked_.empty()) return 0;
    return options.first >= 0 ? options.first : kSamplesOfPack;
  }

  ordered_json classes_json() const {
    ordered_json classes = ordered_json::array();
    for (const trainer::ClassCount& one : survey_.classes.classes())
      classes.push_back({{"name", one.name}, {"boxes", one.boxes}});
    return classes;
  }

  std::vector<trainer::Fact> tiles() const {
    const SurveyCounts& counts = survey_.counts;
    const auto number = [](std::int64_t n) { return fmt::format("{}", n); };
    std::vector<trainer::Fact> tiles = {
        {"samples", number(counts.samples)},
        {"pictures", number(set_.packs().front()->num_pictures())},
        {"boxes", number(counts.boxes)},
        {"classes with boxes", fmt::format("{} of {}", set_.class_map().size(),
                                           set_.packs().front()->categories().size())},
        {"annotated, nothing there", number(counts.empty)},
        {"not annotated", number(counts.unboxed)}};
    const auto add_some = [&](const char* name, std::int64_t n) {
      if (n > 0) tiles.push_back({name, number(n)});
    };
    add_some("without a picture", counts.without_picture);
    add_some("crowds", counts.crowds);
    add_some("with a box under 8 px", counts.with_tiny);
    add_some("with a box at the border", counts.at_border);
    add_some("with a box twice", counts.with_twins);
    if (compared_)
      tiles.push_back(
          {"groups that look alike", number(static_cast<std::int64_t>(survey_.alike.size()))});
    return tiles;
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> notes;
    const std::vector<std::string>& faults = survey_.unreadable;
    for (std::size_t i = 0; i < std::min(faults.size(), kFaultsListed); ++i)
      notes.push_back(faults[i]);
    if (faults.size() > kFaultsListed)
      notes.push_back(
          fmt::format("and {} more pictures that cannot be read", faults.size() - kFaultsListed));
    if (!compared_ && asked_.empty())
      notes.emplace_back("pictures were not compared with each other (--no-duplicates)");
    return notes;
  }

  std::vector<Wanted> sections() const {
    if (!asked_.empty()) return {{"Samples asked for", "", asked_}};
    std::set<std::int64_t> taken;
    const auto fresh = [&](const std::vector<std::int64_t>& samples) {
      std::vector<std::int64_t> left;
      std::ranges::copy_if(samples, std::back_inserter(left),
                           [&](std::int64_t sample) { return taken.insert(sample).second; });
      return left;
    };
    std::vector<std::int64_t> odd;
    for (const auto& [why, samples] : survey_.odd) {
      const std::vector<std::int64_t> more = fresh(samples);
      odd.insert(odd.end(), more.begin(), more.end());
    }
    std::vector<Wanted> sections{{"The odd ones", "Up to four of each kind.", odd}};
    add_groups(sections);
    sections.push_back({"Every class", "A sample of each class that is not seen elsewhere here.",
                        fresh(survey_.of_classes)});
    sections.push_back({"From the start", "", fresh(survey_.shown_first)});
    return sections;
  }

  // Samples that look alike stand side by side, also when they are shown elsewhere.
  void add_groups(std::vector<Wanted>& sections) const {
    for (std::size_t g = 0; g < std::min(survey_.alike.size(), kGroupsShown); ++g) {
      std::vector<std::int64_t> members = survey_.alike[g];
      const std::string note = members.size() > kMembersShown
                                   ? fmt::format("{} of {} samples", kMembersShown, members.size())
                                   : "";
      members.resize(std::min(members.size(), kMembersShown));
      const std::string title =
          fmt::format("Look alike, group {} of {}", g + 1, survey_.alike.size());
      sections.push_back({title, note, members});
    }
  }

  trainer::Section made(const Wanted& wanted, const PictureRoom& room) const {
    trainer::Section section{wanted.title, wanted.note, {}};
    section.cards.resize(wanted.samples.size());
    parallel_for("drawing samples", static_cast<std::int64_t>(wanted.samples.size()), 0,
                 [&](std::int64_t k) {
                   const auto at = static_cast<std::size_t>(k);
                   const std::int64_t sample = wanted.samples[at];
                   trainer::Card card = sample_card(set_, sample, survey_.classes, room);
                   if (const auto why = survey_.why.find(sample); why != survey_.why.end())
                     card.tags = why->second;
                   if (wanted.title.starts_with("Look alike"))
                     card.tags.emplace_back(reason::kAlike);
                   section.cards[at] = std::move(card);
                 });
    return section;
  }

  data::SampleSet set_;
  fs::path path_;
  std::vector<std::int64_t> asked_;
  std::int64_t in_json_;
  Survey survey_;
  bool compared_;  // pictures with each other
};

}  // namespace

View look_at_pack(const fs::path& pack, const LookOptions& options) {
  const auto look = std::make_shared<const PackLook>(pack, options);
  return {.facts = look->facts(),
          .num_samples = look->num_samples(),
          .sample = [look](std::int64_t k) { return look->sample(k); },
          .page = [look] { return look->page(); }};
}

}  // namespace muster::launcher
