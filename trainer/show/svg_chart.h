// Line and stacked-area charts as inline SVG: no script, colours from the page's style sheet, exact
// values on hover. The style sheet says how large the texts are: 420 units lie across a drawing.
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
  bool dashed = false;
  // The series whose colour it has; -1: its own place. A dashed one may belong to a solid one.
  int colour = -1;
};

// A place on the x axis that has a name: where an epoch begins.
struct Mark {
  double x = 0;
  std::string name;
};

struct Chart {
  std::string title = {};
  std::string unit = {};  // of y; "" when it has none
  std::vector<Series> series = {};
  bool stacked = false;    // areas on top of each other; all series share their x
  bool allow_log = false;  // logarithmic y when values span more than two decades
  std::string x_name = "step";
  bool last_values = true;       // in the legend: of curves whose end is no result, false
  std::vector<Mark> marks = {};  // x ascending; those that would touch the one before are left out
};

// A <figure> with caption, legend and drawing; "" when there is no finite point.
std::string render_chart(const Chart& chart);

std::string escape_html(std::string_view text);
std::string short_number(double value);  // "1.23e-05", "0.1234", "12.3k", "4.5M"

}  // namespace muster::trainer
