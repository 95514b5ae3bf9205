// The `pack` command's work: judge every sample, say what is odd about the set, write what is good.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"
#include "data/pack/pack.h"
#include "data/sources/readers.h"
#include "data/sources/sources.h"

namespace muster::data {
namespace {

constexpr double kTinySide = 2;      // pixels
constexpr double kHugeShare = 0.95;  // of the image's area

std::vector<std::vector<std::string>> validate_all(const Source& source, int threads) {
  std::vector<std::vector<std::string>> faults(source.samples.size());
  parallel_for("validating", static_cast<std::int64_t>(faults.size()), threads,
               [&](std::int64_t i) { faults[i] = validate(source.samples[i]); });
  return faults;
}

// Good samples; with skip_bad the others are listed, without it they are the error.
std::vector<Sample> select(const Source& source,
                           const std::vector<std::vector<std::string>>& faults, bool skip_bad,
                           PackReport& report) {
  std::vector<Sample> good;
  std::string listing;
  for (std::size_t i = 0; i < source.samples.size(); ++i) {
    if (faults[i].empty()) {
      good.push_back(source.samples[i]);
      continue;
    }
    report.left_out.push_back(fmt::format("{}: {}", source.samples[i].name, join(faults[i], "; ")));
    for (const std::string& fault : faults[i]) listing += "\n  " + fault;
  }
  if (!skip_bad && !report.left_out.empty())
    throw DataError(fmt::format(
        "{} of {} samples cannot be packed:{}\nmend them, or leave them out with --skip-bad",
        report.left_out.size(), source.samples.size(), listing));
  if (good.empty())
    throw DataError(fmt::format("no sample to pack: {} read, {} bad{}", source.samples.size(),
                                report.left_out.size(), listing));
  return good;
}

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

// Counts a kind of oddity and remembers where it was first seen.
struct Oddity {
  std::int64_t count = 0;
  std::string first;
  void see(const std::string& where) {
    if (count++ == 0) first = where;
  }
  void warn(PackReport& report, const char* what) const {
    if (count > 0) report.warnings.push_back(fmt::format("{} {}, first {}", count, what, first));
  }
};

void count_objects(const Source& source, const std::vector<Sample>& samples, PackReport& report) {
  std::unordered_map<std::int64_t, std::int64_t> per_category;
  for (const Sample& sample : samples)
    for (const Object& object : sample.objects) {
      ++report.objects;
      report.crowds += object.crowd ? 1 : 0;
      ++per_category[object.category];
    }
  for (const Category& category : source.categories)
    report.objects_per_category.emplace_back(category.name, per_category[category.id]);
}

void warn_about(const std::vector<Sample>& samples, PackReport& report) {
  Oddity empty, tiny, huge, twice;
  std::unordered_map<std::string, std::int64_t> images;
  for (const Sample& sample : samples) {
    if (!sample.has_picture()) continue;
    if (sample.objects.empty()) empty.see(sample.name);
    if (images[sample.pictures[0].path.string()]++ > 0) twice.see(sample.name);
    const double image_area = static_cast<double>(sample.pictures[0].width) *
                              static_cast<double>(sample.pictures[0].height);
    for (std::size_t i = 0; i < sample.objects.size(); ++i) {
      const auto& box = sample.objects[i].box;
      const std::string where = fmt::format("{} object {}", sample.name, i);
      if (std::min(box[2] - box[0], box[3] - box[1]) < kTinySide) tiny.see(where);
      if (box_area(box) > kHugeShare * image_area) huge.see(where);
    }
  }
  const auto used =
      std::count_if(report.objects_per_category.begin(), report.objects_per_category.end(),
                    [](const auto& c) { return c.second > 0; });
  if (used == 1) report.warnings.emplace_back("only one class has objects");
  if (report.objects == 0) report.warnings.emplace_back("no sample has objects");
  empty.warn(report, "images without objects");
  tiny.warn(report, "boxes with a side under 2 pixels");
  huge.warn(report, "boxes over 95 % of their image");
  twice.warn(report, "samples of an image that is listed before");
}

}  // namespace

PackReport pack_source(const Source& source, const std::filesystem::path& out, bool skip_bad,
                       bool check_only, int threads) {
  PackReport report;
  std::vector<Sample> samples = select(source, validate_all(source, threads), skip_bad, report);
  count_objects(source, samples, report);
  make_names_unique(samples, report);
  warn_about(samples, report);
  report.packed = static_cast<std::int64_t>(samples.size());
  if (!check_only) write_pack(out, samples, source.categories);
  return report;
}

}  // namespace muster::data
