// One reader per annotation format, and what they share. Readers parse; validate() judges boxes and
// images.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/sources/source.h"

namespace muster::data {

Source read_voc(const std::filesystem::path& folder, const std::string& split);
Source read_coco(const std::filesystem::path& json);
Source read_yolo(const std::filesystem::path& folder, const std::string& split);
Source read_jsonl(const std::filesystem::path& file);

// The whole text as a number, or nothing.
std::optional<double> parse_number(std::string_view text);

// Files directly in or below `folder` for which `wanted` holds, sorted.
std::vector<std::filesystem::path> list_files(const std::filesystem::path& folder,
                                              bool (*wanted)(const std::filesystem::path&));

// Stored width and height from the image's header; stays 0 x 0 when the file cannot be read, which
// validate() then reports.
void record_stored_size(Sample& sample);

// Annotation tools round: an overshoot of at most the tolerance (pixels) is put back on the border.
void snap_to_border(std::array<double, 4>& box, double width, double height, double tolerance_x,
                    double tolerance_y);

double box_area(const std::array<double, 4>& box);

// Sets category ids 1..K in the order of the sorted names; `names[i][k]` is the category of
// samples[i].objects[k], `also` are names that occur elsewhere in the set.
void number_categories(Source& source, const std::vector<std::vector<std::string>>& names,
                       const std::vector<std::string>& also = {});

}  // namespace muster::data
