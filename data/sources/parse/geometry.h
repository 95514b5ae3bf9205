// Boxes x1, y1, x2, y2 of the shapes that annotations hold.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace muster::data {

using Box = std::array<double, 4>;

double box_area(const Box& box);

// The box around points x, y, x, y, ... REQUIRES at least one point and an even count.
Box box_around(std::span<const double> points);

// The box around a rectangle of `width` x `height` whose top left corner is at (x, y) before it is
// turned around that corner by `degrees`, clockwise.
Box box_of_turned(double x, double y, double width, double height, double degrees);

// The same turned around its centre.
Box box_of_turned_about_centre(double cx, double cy, double width, double height, double degrees);

// Annotation tools round: an overshoot of at most the tolerance is put back on the border.
void snap_to_border(Box& box, double width, double height, double tolerance_x, double tolerance_y);

// COCO's run lengths, alternating between outside and inside, down the columns of a picture that is
// `height` high: the box around what is inside. Nothing when nothing is, or the lengths do not fit.
std::optional<Box> run_length_box(std::span<const std::int64_t> counts, std::int64_t height,
                                  std::int64_t width);

// The run lengths of COCO's compressed text; nothing when it is none.
std::optional<std::vector<std::int64_t>> decompress_run_lengths(std::string_view text);

}  // namespace muster::data
