#include "data/sources/yolo_label.h"

#include <fmt/core.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/error.h"
#include "data/sources/parse/geometry.h"
#include "data/sources/parse/numbers.h"

namespace muster::data {
namespace {

constexpr std::size_t kBoxNumbers = 5;    // class cx cy w h
constexpr std::size_t kLeastPolygon = 7;  // class and three corners

std::vector<double> numbers_in_line(std::string_view line) {
  constexpr const char* kBetween = " \t\r,";
  std::vector<double> numbers;
  std::size_t at = 0;
  while ((at = line.find_first_not_of(kBetween, at)) != std::string_view::npos) {
    const std::size_t end = std::min(line.find_first_of(kBetween, at), line.size());
    const std::string_view word = line.substr(at, end - at);
    const std::optional<double> value = parse_number(word);
    if (!value) throw DataError(fmt::format("'{}' is no number", word));
    numbers.push_back(*value);
    at = end;
  }
  return numbers;
}

}  // namespace

Object read_yolo_label(std::string_view line, const ClassNames& names,
                       std::int64_t keypoint_numbers) {
  const std::vector<double> values = numbers_in_line(line);
  const std::size_t count = values.size();
  const bool pose =
      keypoint_numbers > 0 && count >= kBoxNumbers + static_cast<std::size_t>(keypoint_numbers);
  const bool box = count == kBoxNumbers || count == kBoxNumbers + 1 || pose;
  const bool polygon = !box && count >= kLeastPolygon && count % 2 == 1;
  if (!box && !polygon)
    throw DataError(
        fmt::format("{} numbers, expected 5: class cx cy w h, or a class and the "
                    "corners of a polygon",
                    count));
  Object object;
  object.category = values[0] >= 0 && values[0] < 1e9 ? static_cast<std::int64_t>(values[0]) : -1;
  const auto name = names.find(object.category);
  if (name == names.end() || static_cast<double>(object.category) != values[0])
    throw DataError(fmt::format("class {} is not among the {} names", values[0], names.size()));
  object.caption = name->second;
  if (box)
    object.box = {values[1] - values[3] / 2, values[2] - values[4] / 2, values[1] + values[3] / 2,
                  values[2] + values[4] / 2};
  else
    object.box = box_around(std::span(values).subspan(1));
  return object;
}

}  // namespace muster::data
