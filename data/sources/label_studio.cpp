// Label Studio's exports of tasks: JSON (a task with annotations and their results) and JSON-MIN (a
// row per annotation). Boxes are percents of the picture.
#include <fmt/core.h>

#include <array>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/geometry.h"
#include "data/sources/parse/json_text.h"
#include "data/sources/parse/numbers.h"
#include "data/sources/picture_finder.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

using nlohmann::json;

constexpr double kPercentRounding = 1e-4;  // of a side

double percent(const json& value, const char* key) {
  const auto at = value.find(key);
  const std::optional<double> number = at == value.end() ? std::nullopt : loose_number(*at);
  if (!number) throw DataError(fmt::format("a region without the number '{}'", key));
  return *number;
}

// "%20" is a blank.
std::string without_percent_codes(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string digits = text.substr(i + (text[i] == '%' ? 1 : 0), 2);
    char* end = nullptr;
    const long code = text[i] == '%' ? std::strtol(digits.c_str(), &end, 16) : -1;
    const bool coded = text[i] == '%' && digits.size() == 2 && end == digits.c_str() + 2;
    plain += coded ? static_cast<char>(code) : text[i];
    if (coded) i += 2;
  }
  return plain;
}

// The file of "/data/upload/1/abc-a.jpg", "/data/local-files/?d=set/a.jpg" or "s3://bucket/a.jpg".
std::string file_of_address(const std::string& address) {
  std::string path = address;
  if (const std::size_t at = path.find("?d="); at != std::string::npos) path = path.substr(at + 3);
  if (const std::size_t at = path.find("://"); at != std::string::npos) path = path.substr(at + 3);
  if (const std::size_t at = path.find('?'); at != std::string::npos) path.resize(at);
  path = without_percent_codes(path);
  return path.starts_with('/') ? path.substr(1) : path;
}

// An upload is stored under its name with eight digits in front.
std::string without_upload_prefix(const std::string& path) {
  constexpr std::size_t kDigits = 8;
  const std::string name = fs::path(path).filename().string();
  const bool prefixed = name.size() > kDigits + 1 && name[kDigits] == '-' &&
                        name.find_first_not_of("0123456789abcdef") == kDigits;
  return prefixed ? name.substr(kDigits + 1) : name;
}

class LabelStudioReader {
 public:
  LabelStudioReader(const fs::path& file, const ReadOptions& options)
      : options_(options),
        file_(file.string()),
        folder_(file.has_parent_path() ? file.parent_path() : fs::path(".")),
        finder_(roots(), options.images.empty() ? folder_ : options.images, options.scratch),
        drafts_(options) {
    drafts_.format = "label-studio";
    drafts_.rounding_shares = kPercentRounding;
    drafts_.whole_folders = true;
  }

  Drafts read() {
    if (options_.boxes != BoxFrame::kStored)
      throw UsageError(fmt::format(
          "{}: Label Studio's boxes are percents of the picture: leave --boxes out", file_));
    const SourceText text(file_);
    try {
      for_each_json_entry(text.view(), [this](const std::string&, std::int64_t index, json&& task) {
        where_ = fmt::format("{}[{}]", file_, index);
        try {
          add_task(task);
        } catch (const IoError&) {
          throw;  // of a full disk, not of the task
        } catch (const std::exception& error) {
          drafts_.faults.push_back({Fault::Of::kSample, where_, error.what()});
        }
      });
    } catch (const IoError&) {
      throw;
    } catch (const std::exception& error) {
      throw DataError(fmt::format("{}: {}", file_, error.what()));
    }
    finder_.tell(drafts_.warnings);
    cancelled_.tell(drafts_.warnings);
    return std::move(drafts_);
  }

 private:
  std::vector<fs::path> roots() const {
    std::vector<fs::path> all;
    if (!options_.images.empty()) all = {options_.images};
    all.insert(all.end(), {folder_, folder_ / "images"});
    return all;
  }

  void add_task(const json& task) {
    if (!task.is_object()) throw DataError("a task that is no JSON object");
    const json* results = nullptr;
    std::string address;
    if (const auto data = task.find("data"); data != task.end()) {
      address = picture_address(*data);
      results = results_of(task);
    } else {
      address = picture_address(task);
      results = regions_of(task);
    }
    Draft draft;
    draft.sample.where = where_;
    draft.sample.source_id = drafts_.size();
    Picture& picture = draft.sample.pictures.emplace_back();
    picture.path = find_picture(address);
    draft.sample.name = picture.path.stem().string();
    if (results != nullptr)
      for (const json& result : *results) add_region(draft, result);
    drafts_.add(std::move(draft));
  }

  static std::string picture_address(const json& data) {
    for (const char* key : {"image", "img", "picture", "photo", "image_url", "url", "ocr"})
      if (const auto at = data.find(key); at != data.end() && at->is_string())
        return at->get<std::string>();
    for (const auto& [key, value] : data.items())
      if (value.is_string() && may_be_picture(file_of_address(value.get<std::string>())))
        return value.get<std::string>();
    throw DataError("a task without a picture");
  }

  // The results of the task's only annotation that counts.
  const json* results_of(const json& task) {
    const auto annotations = task.find("annotations");
    const auto older = task.find("completions");
    const auto& list = annotations != task.end() ? annotations : older;
    const json* taken = nullptr;
    if (list != task.end() && list->is_array())
      for (const json& annotation : *list) {
        if (annotation.contains("was_cancelled") && loose_flag(annotation.at("was_cancelled"))) {
          cancelled_.see(where_);
          continue;
        }
        if (taken != nullptr)
          throw DataError("several annotations of one task: delete all but one, or export one");
        taken = &annotation;
      }
    if (taken == nullptr) throw DataError("a task that nobody annotated");
    const auto results = taken->find("result");
    if (results == taken->end() || !results->is_array())
      throw DataError("an annotation without 'result'");
    return &*results;
  }

  // JSON-MIN: the list of regions is named as the labelling interface names its control.
  static const json* regions_of(const json& row) {
    for (const auto& [key, value] : row.items()) {
      const bool regions = value.is_array() && !value.empty() && value.front().is_object() &&
                           value.front().contains("original_width");
      if (regions) return &row.at(key);
    }
    return nullptr;
  }

  fs::path find_picture(const std::string& address) {
    const std::string path = file_of_address(address);
    fs::path found = finder_.find(path);
    std::error_code error;
    if (fs::is_regular_file(found, error)) return found;
    fs::path by_name = finder_.find(fs::path(path).filename().string());
    if (fs::is_regular_file(by_name, error)) return by_name;
    const fs::path original = finder_.find(without_upload_prefix(path));
    return fs::is_regular_file(original, error) ? original : found;
  }

  void add_region(Draft& draft, const json& result) {
    const auto nested = result.find("value");
    const json& value = nested != result.end() && nested->is_object() ? *nested : result;
    try {
      const std::optional<std::vector<std::string>> labels = labels_of(value);
      if (!labels) return ignore(result);
      if (labels->size() != 1)
        throw DataError(fmt::format("a region with {} labels", labels->size()));
      Object object;
      object.caption = labels->front();
      object.box = box_of_region(value, result);
      draft.objects.push_back({object.caption, Unit::kPercents});
      draft.sample.objects.push_back(std::move(object));
      record_size(draft.sample.pictures.front(), result);
    } catch (const DataError& error) {
      draft.faults.push_back({Fault::Of::kBox, where_, error.what()});
    }
  }

  static std::optional<std::vector<std::string>> labels_of(const json& value) {
    for (const char* key : {"rectanglelabels", "polygonlabels", "ellipselabels", "labels"})
      if (const auto at = value.find(key); at != value.end() && at->is_array()) {
        std::vector<std::string> labels;
        for (const json& label : *at)
          if (label.is_string()) labels.push_back(label.get<std::string>());
        return labels;
      }
    return std::nullopt;
  }

  // A result that is no labelled region: a choice, a text, or a region whose label another result
  // holds.
  static void ignore(const json& result) {
    const auto type = result.find("type");
    const std::string name =
        type != result.end() && type->is_string() ? type->get<std::string>() : "unknown";
    throw DataError(
        fmt::format("a result of the type '{}': rectanglelabels, polygonlabels and "
                    "ellipselabels are read",
                    name));
  }

  static Box box_of_region(const json& value, const json& result) {
    if (const auto points = value.find("points"); points != value.end() && points->is_array()) {
      std::vector<double> numbers;
      for (const json& point : *points)
        for (const json& number : point) numbers.push_back(loose_number(number).value_or(0));
      if (numbers.size() < 6 || numbers.size() % 2 != 0)
        throw DataError("a polygon of less than three points");
      return box_around(numbers);
    }
    const double x = percent(value, "x");
    const double y = percent(value, "y");
    if (value.contains("radiusX")) {
      const double rx = percent(value, "radiusX");
      const double ry = percent(value, "radiusY");
      return {x - rx, y - ry, x + rx, y + ry};
    }
    const double width = percent(value, "width");
    const double height = percent(value, "height");
    const auto rotation = value.find("rotation");
    const double degrees = rotation == value.end() ? 0 : loose_number(*rotation).value_or(0);
    if (degrees == 0) return {x, y, x + width, y + height};
    // Percents of two unlike sides do not turn; those of the same side do.
    const double aspect = percent(result, "original_height") / percent(result, "original_width");
    const Box turned = box_of_turned(x, y * aspect, width, height * aspect, degrees);
    return {turned[0], turned[1] / aspect, turned[2], turned[3] / aspect};
  }

  static void record_size(Picture& picture, const json& result) {
    if (const auto at = result.find("original_width"); at != result.end() && at->is_number())
      picture.width = at->get<std::int64_t>();
    if (const auto at = result.find("original_height"); at != result.end() && at->is_number())
      picture.height = at->get<std::int64_t>();
  }

  const ReadOptions& options_;
  std::string file_;
  fs::path folder_;
  PictureFinder finder_;
  Drafts drafts_;
  std::string where_;  // of the task that is being read
  Tally cancelled_{"annotations were cancelled by their annotators and are left out"};
};

}  // namespace

Drafts read_label_studio(const fs::path& file, const ReadOptions& options) {
  return LabelStudioReader(file, options).read();
}

}  // namespace muster::data
