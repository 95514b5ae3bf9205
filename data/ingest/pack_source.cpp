#include "data/ingest/pack_source.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/files.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/text.h"
#include "data/ingest/classes.h"
#include "data/ingest/divide.h"
#include "data/ingest/judge.h"
#include "data/ingest/oddities.h"
#include "data/pack/pack.h"

namespace muster::data {
namespace {

using Facts = std::unordered_map<std::string, PictureFacts>;  // by path

// Every picture file once, whatever number of samples show it.
Facts examine_all(const std::vector<Sample>& samples, const PackOptions& options) {
  const Reading reading = options.check_only ? Reading::kStructure : Reading::kPixels;
  Facts facts;
  std::vector<Facts::value_type*> all;
  for (const Sample& sample : samples)
    for (const Picture& picture : sample.pictures) {
      const auto [at, added] = facts.emplace(picture.path.string(), PictureFacts{});
      if (added) all.push_back(&*at);
    }
  parallel_for("validating", static_cast<std::int64_t>(all.size()), options.threads,
               [&](std::int64_t i) {
                 auto& [path, one] = *all[static_cast<std::size_t>(i)];
                 one = examine_picture(path, reading);
               });
  return facts;
}

std::string box_text(const std::array<double, 4>& box) {
  return fmt::format("[{},{},{},{}]", box[0], box[1], box[2], box[3]);
}

// Cuts boxes to their pictures. What lies outside whole, or is no box, stays for the judge.
void clip_boxes(Sample& sample, std::vector<std::string>& clipped) {
  for (std::size_t i = 0; i < sample.objects.size(); ++i) {
    Object& object = sample.objects[i];
    const auto at = static_cast<std::size_t>(object.picture);
    if (at >= sample.pictures.size()) continue;
    const auto width = static_cast<double>(sample.pictures[at].width);
    const auto height = static_cast<double>(sample.pictures[at].height);
    const auto& [x1, y1, x2, y2] = object.box;
    const std::array<double, 4> cut{std::max(x1, 0.0), std::max(y1, 0.0), std::min(x2, width),
                                    std::min(y2, height)};
    const bool is_box = x1 < x2 && y1 < y2 && cut[0] < cut[2] && cut[1] < cut[3];
    if (!is_box || cut == object.box) continue;
    clipped.push_back(fmt::format("{}: object {} ({}): box {} cut to {}", sample.where, i,
                                  object.caption, box_text(object.box), box_text(cut)));
    const double whole = (x2 - x1) * (y2 - y1);
    const double left = (cut[2] - cut[0]) * (cut[3] - cut[1]);
    // The source's area may be that of a mask: as much of it stays as of the box.
    object.area = object.area == whole ? left : object.area * left / whole;
    object.box = cut;
  }
}

// Sorts samples and faults into what is packed, what is left out, and what is refused.
class Selection {
 public:
  Selection(Source& source, const PackOptions& options, const Facts& facts, PackReport& report)
      : source_(source), options_(options), facts_(facts), report_(report) {}

  std::vector<Sample> select() {
    std::vector<std::vector<Fault>> of_sample(source_.samples.size());
    for (Fault& fault : source_.faults) {
      if (fault.sample >= 0)
        of_sample[static_cast<std::size_t>(fault.sample)].push_back(std::move(fault));
      else
        take_lost(fault);
    }
    source_.faults.clear();
    std::vector<Sample> good;
    for (std::size_t i = 0; i < source_.samples.size(); ++i) {
      if (take(source_.samples[i], of_sample[i])) good.push_back(std::move(source_.samples[i]));
      of_sample[i] = {};
    }
    refuse(good);
    return good;
  }

 private:
  // A fault that no sample could be made of.
  void take_lost(const Fault& fault) {
    lost_ += fault.of == Fault::Of::kSample ? 1 : 0;
    if (fault.of == Fault::Of::kBox && options_.drop_bad_boxes)
      report_.dropped_boxes.push_back(fault.text());
    else
      leave_out(fault.text(), {fault.text()});
  }

  void leave_out(const std::string& line, const std::vector<std::string>& faults) {
    report_.left_out.push_back(line);
    refused_.insert(refused_.end(), faults.begin(), faults.end());
  }

  bool take(Sample& sample, const std::vector<Fault>& parsed) {
    if (sample.where.empty()) sample.where = sample.name;
    if (options_.clip) clip_boxes(sample, report_.clipped);
    std::vector<const PictureFacts*> facts;
    for (const Picture& picture : sample.pictures)
      facts.push_back(&facts_.at(picture.path.string()));
    const Judgement judgement = judge(sample, facts);
    std::vector<std::string> faults;
    std::vector<std::string> boxes;
    for (const Fault& fault : parsed)
      (fault.of == Fault::Of::kBox ? boxes : faults).push_back(fault.text());
    for (const std::string& fault : judgement.faults)
      faults.push_back(fmt::format("{}: {}", sample.where, fault));
    for (const BoxFault& fault : judgement.boxes)
      boxes.push_back(fmt::format("{}: {}", sample.where, box_fault_text(sample, fault)));
    if (!options_.drop_bad_boxes) {
      faults.insert(faults.end(), boxes.begin(), boxes.end());
      boxes.clear();
    }
    if (!faults.empty()) {
      leave_out(fmt::format("{}: {}", sample.name, join(faults, "; ")), faults);
      return false;
    }
    report_.dropped_boxes.insert(report_.dropped_boxes.end(), boxes.begin(), boxes.end());
    for (auto fault = judgement.boxes.rbegin(); !boxes.empty() && fault != judgement.boxes.rend();
         ++fault)
      sample.objects.erase(sample.objects.begin() + static_cast<std::ptrdiff_t>(fault->object));
    return true;
  }

  void refuse(const std::vector<Sample>& good) {
    constexpr std::size_t kListed = 100;
    std::string listing;
    for (std::size_t i = 0; i < std::min(kListed, refused_.size()); ++i)
      listing += "\n  " + refused_[i];
    if (refused_.size() > kListed)
      listing += fmt::format("\n  and {} more (--json lists all)", refused_.size() - kListed);
    const std::int64_t read = static_cast<std::int64_t>(source_.samples.size()) + lost_;
    report_.read = read;
    const std::int64_t bad = read - static_cast<std::int64_t>(good.size());
    if (!options_.skip_bad && !refused_.empty()) {
      const std::string hint = source_.pixels ? frame_hint(source_.samples, good) : "";
      throw PackError(
          fmt::format("{} of {} samples cannot be packed:{}\nmend them, or leave them out with "
                      "--skip-bad{}",
                      bad, read, listing, hint.empty() ? "" : "\n" + hint),
          refused_);
    }
    if (good.empty())
      throw PackError(fmt::format("no sample to pack: {} read, {} bad{}", read, bad, listing),
                      refused_);
  }

  Source& source_;
  const PackOptions& options_;
  const Facts& facts_;
  PackReport& report_;
  std::vector<std::string> refused_;  // fault by fault
  std::int64_t lost_ = 0;             // samples that could not be made
};

// A name is how messages point at a sample, so a second 'a' becomes 'a#2'.
void make_names_unique(std::vector<Sample>& samples, PackReport& report) {
  std::unordered_map<std::string, std::int64_t> seen;
  std::int64_t renamed = 0;
  std::string first;
  for (Sample& sample : samples) {
    const std::string name = sample.name;
    while (seen[sample.name]++ > 0) sample.name = fmt::format("{}#{}", name, seen[name]);
    if (sample.name == name) continue;
    if (renamed++ == 0) first = sample.name;
  }
  if (renamed > 0)
    report.warnings.push_back(
        fmt::format("{} samples share another's name and are numbered, e.g. {}", renamed, first));
}

void count_objects(const Source& source, const std::vector<Sample>& samples, PackReport& report) {
  std::unordered_map<std::int64_t, std::int64_t> per_category;
  for (const Sample& sample : samples) {
    report.unboxed += sample.boxed ? 0 : 1;
    for (const Object& object : sample.objects) {
      ++report.objects;
      report.crowds += object.crowd ? 1 : 0;
      ++per_category[object.category];
    }
  }
  for (const Category& category : source.categories)
    report.objects_per_category.emplace_back(category.name, per_category[category.id]);
}

// What the pictures that are packed have to say, each once.
void report_pictures(const std::vector<Sample>& samples, const Facts& facts, PackReport& report) {
  std::unordered_set<const PictureFacts*> seen;
  std::unordered_set<std::string_view> contents;  // views of the facts' checksums
  for (const Sample& sample : samples)
    for (const Picture& picture : sample.pictures) {
      const std::string path = picture.path.string();
      const PictureFacts& one = facts.at(path);
      if (!seen.insert(&one).second) continue;
      contents.insert(one.checksum);
      for (const std::string& warning : one.warnings)
        report.warnings.push_back(fmt::format("{}: {}", path, warning));
      if (picture.orientation != 1)
        report.turned.push_back(fmt::format("{}: EXIF orientation {}", path, picture.orientation));
    }
  report.pictures = static_cast<std::int64_t>(contents.size());
}

std::vector<bool> validation_part(const std::vector<Sample>& samples, const Facts& facts,
                                  const PackOptions& options) {
  if (options.val_fraction <= 0) return std::vector<bool>(samples.size(), false);
  std::vector<std::vector<std::string>> pictures(samples.size());
  for (std::size_t i = 0; i < samples.size(); ++i)
    for (const Picture& picture : samples[i].pictures)
      pictures[i].push_back(facts.at(picture.path.string()).checksum);
  return draw_validation(pictures, options.val_fraction, options.seed);
}

// Writes the samples of one side as they come; a picture's bytes are read once.
void write_side(const fs::path& out, std::vector<Sample>& samples, const std::vector<bool>& part,
                bool side, const std::vector<Category>& categories, const Facts& facts,
                Progress& progress) {
  PackBuilder builder(out);
  std::unordered_map<const PictureFacts*, std::int64_t> index_of;  // one orientation each
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (part[i] != side) continue;
    for (Picture& picture : samples[i].pictures) {
      const auto [at, added] = index_of.emplace(&facts.at(picture.path.string()), -1);
      if (added) {
        const MappedFile file(picture.path);
        at->second = builder.add_picture(file.bytes(), picture);
      }
      picture.index = at->second;
    }
    builder.add_sample(samples[i]);
    samples[i] = {};
    progress.add();
  }
  builder.finish(categories);
}

void check_options(const PackOptions& options) {
  if (options.val_fraction < 0 || options.val_fraction >= 1)
    throw UsageError("--val-fraction: a share over 0 and under 1 is expected");
}

}  // namespace

fs::path val_pack_path(const fs::path& out) {
  fs::path val = out;
  return val.replace_extension(".val" + out.extension().string());
}

PackReport pack_source(Source source, const fs::path& out, const PackOptions& options) {
  check_options(options);
  PackReport report;
  rename_classes(source, options.rename);
  report.other_classes = keep_classes(source, options.classes);
  report.warnings = std::move(source.warnings);
  report.repaired = std::move(source.repaired);
  const Facts facts = examine_all(source.samples, options);
  std::vector<Sample> samples = Selection(source, options, facts, report).select();
  count_objects(source, samples, report);
  make_names_unique(samples, report);
  report_pictures(samples, facts, report);
  for (std::string& line : oddities(samples, source.pixels))
    report.warnings.push_back(std::move(line));
  const std::vector<bool> validation = validation_part(samples, facts, options);
  report.val_packed = std::count(validation.begin(), validation.end(), true);
  report.packed = static_cast<std::int64_t>(samples.size()) - report.val_packed;
  if (options.val_fraction > 0 && report.val_packed == 0)
    throw DataError("--val-fraction: there is one picture only, which cannot be divided");
  if (options.check_only) return report;
  Progress progress("packing", static_cast<std::int64_t>(samples.size()));
  write_side(out, samples, validation, false, source.categories, facts, progress);
  if (options.val_fraction > 0)
    write_side(val_pack_path(out), samples, validation, true, source.categories, facts, progress);
  return report;
}

}  // namespace muster::data
