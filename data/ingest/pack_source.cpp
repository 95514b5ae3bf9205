#include "data/ingest/pack_source.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/files.h"
#include "base/progress.h"
#include "base/text.h"
#include "data/ingest/classes.h"
#include "data/ingest/divide.h"
#include "data/ingest/judge.h"
#include "data/ingest/oddities.h"
#include "data/ingest/picture_facts.h"
#include "data/pack/digest_map.h"
#include "data/pack/pack.h"

namespace muster::data {
namespace {

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

// A name is how messages point at a sample, so a second 'a' becomes 'a#2'.
class UniqueNames {
 public:
  void make_unique(std::string& name) {
    const std::string own = name;
    const Digest key = digest_of(own);
    while (seen_.emplace(digest_of(name), 0).first++ > 0)
      name = fmt::format("{}#{}", own, seen_.find(key));
    if (name != own && renamed_++ == 0) first_ = name;
  }

  void tell(std::vector<std::string>& warnings) const {
    if (renamed_ > 0)
      warnings.push_back(fmt::format("{} samples share another's name and are numbered, e.g. {}",
                                     renamed_, first_));
  }

 private:
  DigestMap seen_;  // how often each name came up
  std::int64_t renamed_ = 0;
  std::string first_;
};

// Counts what is packed, as its samples come.
class Census {
 public:
  Census(const SampleStore& samples, const FactsTable& facts, PackReport& report)
      : pictures_(samples.pictures()),
        facts_(facts),
        report_(report),
        packed_(static_cast<std::size_t>(pictures_.size()), false) {}

  void see(const Sample& sample) {
    report_.unboxed += sample.boxed ? 0 : 1;
    for (const Object& object : sample.objects) {
      ++report_.objects;
      report_.crowds += object.crowd ? 1 : 0;
      ++per_category_[object.category];
    }
    for (const Picture& picture : sample.pictures) see_picture(picture);
  }

  // What the pictures have to say, each once, goes to the report's warnings.
  void tell(const std::vector<Category>& categories) {
    for (const Category& category : categories)
      report_.objects_per_category.emplace_back(category.name, per_category_[category.id]);
    std::ranges::move(warnings_, std::back_inserter(report_.warnings));
    report_.pictures = num_contents();
  }

 private:
  void see_picture(const Picture& picture) {
    const auto index = static_cast<std::size_t>(picture.index);
    if (packed_[index]) return;
    packed_[index] = true;
    for (const std::string& warning : facts_.warnings(picture.index))
      warnings_.push_back(fmt::format("{}: {}", pictures_.path(picture.index), warning));
    if (picture.orientation != 1)
      report_.turned.push_back(fmt::format("{}: EXIF orientation {}", pictures_.path(picture.index),
                                           picture.orientation));
  }

  // Two files may hold the same bytes.
  std::int64_t num_contents() const {
    std::vector<Digest> contents;
    contents.reserve(static_cast<std::size_t>(std::ranges::count(packed_, true)));
    for (std::size_t i = 0; i < packed_.size(); ++i)
      if (packed_[i]) contents.push_back(facts_.checksum(static_cast<std::int64_t>(i)));
    std::ranges::sort(contents);
    const auto twice = std::ranges::unique(contents);
    return static_cast<std::int64_t>(contents.size() - twice.size());
  }

  const PictureTable& pictures_;
  const FactsTable& facts_;
  PackReport& report_;
  std::vector<bool> packed_;  // pictures
  std::unordered_map<std::int64_t, std::int64_t> per_category_;
  std::vector<std::string> warnings_;
};

// Sorts samples and faults into what is packed, what is left out, and what is refused.
class Selection {
 public:
  Selection(Source& source, const PackOptions& options, ClassChoice& classes,
            const FactsTable& facts, PackReport& report)
      : source_(source),
        options_(options),
        classes_(classes),
        facts_(facts),
        report_(report),
        oddities_(source.samples.pictures().size()),
        bad_(source.samples.pictures().size()),
        census_(source.samples, facts, report) {}

  SampleStore select() {
    for (const Fault& fault : source_.faults)
      if (fault.sample < 0) take_lost(fault);
    std::ranges::stable_sort(source_.faults, {}, &Fault::sample);
    auto fault =
        std::ranges::find_if(source_.faults, [](const Fault& one) { return one.sample >= 0; });
    SampleStore good = source_.samples.sibling();
    std::int64_t at = 0;
    for (SampleStore::Pass pass(source_.samples); pass.next(); ++at) {
      std::vector<Fault> parsed;
      for (; fault != source_.faults.end() && fault->sample == at; ++fault)
        parsed.push_back(std::move(*fault));
      if (take(pass.sample(), parsed))
        keep(pass.sample(), good);
      else
        bad_.see(pass.sample());
    }
    refuse(good.size());
    report_.other_classes = classes_.left_out();
    names_.tell(report_.warnings);
    census_.tell(source_.categories);
    std::ranges::move(oddities_.lines(source_.pixels), std::back_inserter(report_.warnings));
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

  void keep(Sample& sample, SampleStore& good) {
    names_.make_unique(sample.name);
    census_.see(sample);
    oddities_.see(sample);
    good.add(sample);
  }

  bool take(Sample& sample, const std::vector<Fault>& parsed) {
    classes_.apply(sample);
    if (sample.where.empty()) sample.where = sample.name;
    if (options_.clip) clip_boxes(sample, report_.clipped);
    const Judgement judgement = judged(sample);
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

  Judgement judged(Sample& sample) {
    facts_of_sample_.clear();
    for (const Picture& picture : sample.pictures)
      facts_of_sample_.push_back(facts_.at(picture.index));
    Judgement judgement = judge(sample, facts_of_sample_);
    if (judgement.faults.empty()) return judgement;
    source_.samples.set_paths(sample);  // which only the texts of faults need
    return judge(sample, facts_of_sample_);
  }

  void refuse(std::int64_t good) {
    constexpr std::size_t kListed = 100;
    std::string listing;
    for (std::size_t i = 0; i < std::min(kListed, refused_.size()); ++i)
      listing += "\n  " + refused_[i];
    if (refused_.size() > kListed)
      listing += fmt::format("\n  and {} more (--json lists all)", refused_.size() - kListed);
    const std::int64_t read = source_.samples.size() + lost_;
    report_.read = read;
    const std::int64_t bad = read - good;
    if (!options_.skip_bad && !refused_.empty()) {
      const std::string hint = source_.pixels ? frame_hint(bad_, oddities_.reach()) : "";
      throw PackError(
          fmt::format("{} of {} samples cannot be packed:{}\nmend them, or leave them out with "
                      "--skip-bad{}",
                      bad, read, listing, hint.empty() ? "" : "\n" + hint),
          refused_);
    }
    if (good == 0)
      throw PackError(fmt::format("no sample to pack: {} read, {} bad{}", read, bad, listing),
                      refused_);
  }

  Source& source_;
  const PackOptions& options_;
  ClassChoice& classes_;
  const FactsTable& facts_;
  PackReport& report_;
  UniqueNames names_;
  Oddities oddities_;
  Reach bad_;
  Census census_;
  std::vector<PictureFacts> facts_of_sample_;
  std::vector<std::string> refused_;  // fault by fault
  std::int64_t lost_ = 0;             // samples that could not be made
};

std::vector<bool> validation_part(const SampleStore& samples, const FactsTable& facts,
                                  const PackOptions& options) {
  const auto count = static_cast<std::size_t>(samples.size());
  if (options.val_fraction <= 0) return std::vector<bool>(count, false);
  ValidationDraw draw(count);
  std::size_t at = 0;
  for (SampleStore::Pass pass(samples); pass.next(); ++at)
    for (const Picture& picture : pass.sample().pictures)
      draw.show(at, facts.checksum(picture.index));
  return draw.draw(options.val_fraction, options.seed);
}

// Writes the samples of one side as they come; a picture's bytes are read once.
void write_side(const fs::path& out, const SampleStore& samples, const std::vector<bool>& part,
                bool side, const std::vector<Category>& categories, Progress& progress) {
  const PictureTable& pictures = samples.pictures();
  PackBuilder builder(out);
  // In the pack, by number in the table: one orientation each.
  std::vector<std::int64_t> index_of(static_cast<std::size_t>(pictures.size()), -1);
  std::size_t at = 0;
  for (SampleStore::Pass pass(samples); pass.next(); ++at) {
    if (part[at] != side) continue;
    for (Picture& picture : pass.sample().pictures) {
      std::int64_t& index = index_of[static_cast<std::size_t>(picture.index)];
      if (index < 0) {
        picture.path = pictures.path(picture.index);
        const MappedFile file(picture.path);
        index = builder.add_picture(file.bytes(), picture);
      }
      picture.index = index;
    }
    builder.add_sample(pass.sample());
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
  const PictureTable& pictures = source.samples.pictures();
  report.warnings = std::move(source.warnings);
  report.repaired = std::move(source.repaired);
  const Reading reading = options.check_only ? Reading::kStructure : Reading::kPixels;
  ClassChoice classes(source.categories, options.rename, options.classes);
  std::optional<FactsTable> facts(std::in_place, pictures, reading, options.threads);
  source.samples = Selection(source, options, classes, *facts, report).select();
  const SampleStore& samples = source.samples;
  const std::vector<bool> validation = validation_part(samples, *facts, options);
  facts.reset();
  report.val_packed = std::count(validation.begin(), validation.end(), true);
  report.packed = samples.size() - report.val_packed;
  if (options.val_fraction > 0 && report.val_packed == 0)
    throw DataError("--val-fraction: there is one picture only, which cannot be divided");
  if (options.check_only) return report;
  Progress progress("packing", samples.size());
  write_side(out, samples, validation, false, source.categories, progress);
  if (options.val_fraction > 0)
    write_side(val_pack_path(out), samples, validation, true, source.categories, progress);
  return report;
}

}  // namespace muster::data
