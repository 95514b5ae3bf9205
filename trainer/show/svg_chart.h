// Line and stacked-area charts as inline SVG: no script, colours from the page's style sheet, exact
// values on hover.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::trainer {

struct Series {
  std::string name;
  // (x, y) with x ascending; a y that is not finite breaks the line.
  std::vector<std::pair<double, double>> points;
};

struct Chart {
  std::string title = {};
  std::string unit = {};  // of y; "" when it has none
  std::vector<Series> series = {};
  bool stacked = false;    // areas on top of each other; all series share their x
  bool allow_log = false;  // logarithmic y when values span more than two decades
};

// A <figure> with caption, legend and drawing; "" when there is no finite point.
std::string render_chart(const Chart& chart);

std::string escape_html(std::string_view text);
std::string short_number(double value);  // "1.23e-05", "0.1234", "12.3k", "4.5M"

}  // namespace muster::trainer
