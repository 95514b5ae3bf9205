#include "trainer/show/svg_chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <ranges>

namespace muster::trainer {
namespace {

using Points = std::vector<std::pair<double, double>>;

constexpr double kWidth = 420, kHeight = 230, kLeft = 50, kRight = 20, kTop = 10;
constexpr double kBottom = 26, kMarksBottom = 44;  // without and with a line of marks
constexpr std::size_t kColors = 8, kMaxPoints = 400, kMaxHovers = 120, kFewPoints = 24;

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  bool empty() const { return low > high; }
};

// At most kMaxPoints: of each run of neighbours the smallest and the largest finite ones stay, so
// spikes are never lost.
Points thin(const Points& points) {
  if (points.size() <= kMaxPoints) return points;
  const std::size_t run = (points.size() * 2 + kMaxPoints - 1) / kMaxPoints;
  Points kept;
  for (std::size_t begin = 0; begin < points.size(); begin += run) {
    Points finite;
    for (std::size_t i = begin; i < std::min(begin + run, points.size()); ++i)
      if (std::isfinite(points[i].second)) finite.push_back(points[i]);
    if (finite.empty()) {
      kept.push_back(points[begin]);  // a gap stays one
      continue;
    }
    const auto [low, high] = std::ranges::minmax_element(finite, {}, &Points::value_type::second);
    kept.push_back(*std::min(low, high));
    if (low != high) kept.push_back(*std::max(low, high));
  }
  return kept;
}

// Stacks are thinned to means of neighbours, over the same runs for every series.
Points average(const Points& points) {
  const std::size_t run = (points.size() + kMaxHovers - 1) / kMaxHovers;
  Points means;
  for (std::size_t begin = 0; begin < points.size(); begin += run) {
    const std::size_t end = std::min(begin + run, points.size());
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i)
      sum += std::isfinite(points[i].second) ? points[i].second : 0;
    means.emplace_back(points[end - 1].first, sum / static_cast<double>(end - begin));
  }
  return means;
}

// The least of 1, 2, 5 and 10 times a power of ten that is not below `rough`.
double round_step(double rough) {
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough / power <= factor) return factor * power;
  }
  return 10 * power;
}

// Multiples of a round step, about `count` of them.
std::vector<double> ticks(Range range, int count) {
  const double step = round_step((range.high - range.low) / count);
  std::vector<double> at;
  const double first = std::ceil(range.low / step - 1e-9), high = range.high + step * 1e-9;
  for (int k = 0; (first + k) * step <= high; ++k)
    at.push_back((first + k) * step + 0.0);  // + 0.0: no "-0"
  return at;
}

// Steps are whole; scores are not.
std::string exact_number(double x) {
  return x == std::floor(x) ? fmt::format("{:.0f}", x) : short_number(x);
}

class Plot {
 public:
  explicit Plot(const Chart& chart) : chart_(chart) {
    if (chart.stacked) {
      stack();
    } else {
      for (const Series& s : chart.series) lines_.push_back(thin(s.points));
    }
    measure();
    if (empty()) return;
    log_ = chart.allow_log && y_.low > 0 && y_.high / y_.low > 100;
    if (log_) {
      y_ = {std::log10(y_.low), std::log10(y_.high)};
    } else {
      y_.low = std::min(y_.low, 0.0);  // a flat memory curve looks flat
    }
    pad();
  }

  bool empty() const { return x_.empty(); }

  // What the axes leave below the drawing.
  double bottom() const { return chart_.marks.empty() ? kBottom : kMarksBottom; }

  std::string svg() const {
    std::string text = fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">)",
                                   kWidth, kHeight, escape_html(chart_.title));
    text += grid() + marks();
    for (std::size_t i = 0; i < lines_.size(); ++i) text += chart_.stacked ? area(i) : path(i);
    return text + hovers() + "</svg>";
  }

 private:
  void measure() {
    for (const Points& line : lines_) {
      for (const auto& [x, y] : line) {
        if (!std::isfinite(y)) continue;
        x_.add(x);
        y_.add(y);
      }
    }
  }

  void stack() {
    Points below;
    for (const Series& s : chart_.series) {
      Points sum = average(s.points);
      for (std::size_t i = 0; i < sum.size() && i < below.size(); ++i)
        sum[i].second += below[i].second;
      below = lines_.emplace_back(sum);
    }
  }

  void pad() {
    if (x_.low == x_.high) {
      x_.low -= 1;
      x_.high += 1;
    }
    const double flat = y_.low == y_.high ? std::max(std::abs(y_.high) * 0.1, 1e-12) : 0;
    const double margin = (y_.high - y_.low) * 0.06;
    y_.high += flat + margin;
    if (y_.low != 0) y_.low -= flat + margin;
  }

  double px(double x) const {
    return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  double py(double y) const {
    const double v = log_ ? std::log10(y) : y;
    return kHeight - bottom() - (v - y_.low) / (y_.high - y_.low) * (kHeight - kTop - bottom());
  }

  std::string grid() const {
    std::string text;
    for (const double t : ticks(y_, 5)) {
      const double value = log_ ? std::pow(10, t) : t;
      const double y = py(value);
      text += fmt::format(R"(<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>)", kLeft,
                          kWidth - kRight, y, y);
      text += fmt::format(R"(<text x="{}" y="{:.1f}" text-anchor="end">{}</text>)", kLeft - 7,
                          y + 4, short_number(value));
    }
    for (const double t : ticks(x_, 5))
      text += fmt::format(R"(<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>)", px(t),
                          kHeight - bottom() + 18, short_number(t));
    return text;
  }

  // Below the axis's numbers, each over a dotted line.
  std::string marks() const {
    constexpr double kLetter = 8;  // of a large text
    std::string text;
    double free_from = kLeft;
    for (const Mark& mark : chart_.marks) {
      const double half = kLetter * static_cast<double>(mark.name.size()) / 2;
      const double x = px(mark.x);
      if (mark.x < x_.low || mark.x > x_.high || x - half < free_from || x + half > kWidth)
        continue;
      free_from = x + half + kLetter;
      text += fmt::format(
          R"(<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/><text class="mark" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>)",
          x, kTop, kHeight - bottom(), kHeight - 6, escape_html(mark.name));
    }
    return text;
  }

  std::size_t colour(std::size_t index) const {
    const int own = chart_.series[index].colour;
    return (own < 0 ? index : static_cast<std::size_t>(own)) % kColors;
  }

  std::string path(std::size_t index) const {
    std::string d;
    bool pen_down = false;
    for (const auto& [x, y] : lines_[index]) {
      if (std::isfinite(y)) d += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", px(x), py(y));
      pen_down = std::isfinite(y);
    }
    std::string text = fmt::format(R"(<path class="line c{}{}" d="{}"/>)", colour(index),
                                   chart_.series[index].dashed ? " dashed" : "", d);
    if (lines_[index].size() <= kFewPoints) text += dots(index);
    return text;
  }

  // Where the points are; without them a single one would not be seen.
  std::string dots(std::size_t index) const {
    std::string text;
    for (const auto& [x, y] : lines_[index]) {
      if (!std::isfinite(y)) continue;
      text += fmt::format(R"(<circle class="fill c{}" cx="{:.1f}" cy="{:.1f}" r="2.6"/>)",
                          colour(index), px(x), py(y));
    }
    return text;
  }

  std::string area(std::size_t index) const {
    std::string d;
    for (const auto& [x, y] : lines_[index])
      d += fmt::format("{}{:.1f} {:.1f}", d.empty() ? "M" : "L", px(x), py(y));
    // Back along the area below, or along the axis.
    Points back = {lines_[0].front(), lines_[0].back()};
    for (auto& [x, y] : back) y = 0;
    if (index > 0) back = lines_[index - 1];
    for (const auto& [x, y] : std::views::reverse(back))
      d += fmt::format("L{:.1f} {:.1f}", px(x), py(y));
    return fmt::format(R"(<path class="area c{}" d="{}Z"/>)", colour(index), d);
  }

  // Invisible columns, one per x: the pointer over one shows a rule, the points and their values.
  std::string hovers() const {
    std::map<double, std::vector<std::pair<std::size_t, double>>> columns;
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      for (const auto& [x, y] : lines_[i]) {
        if (std::isfinite(y)) columns[x].emplace_back(i, y);
      }
    }
    const std::size_t every = (columns.size() + kMaxHovers - 1) / kMaxHovers;
    const double half =
        (kWidth - kLeft - kRight) / static_cast<double>(std::min(columns.size(), kMaxHovers)) / 2 +
        0.5;
    std::string text;
    std::size_t at = 0;
    for (const auto& [x, values] : columns) {
      const bool last = at + 1 == columns.size();
      if (last || at % every == 0) text += hover(x, half, values);
      ++at;
    }
    return text;
  }

  std::string hover(double x, double half,
                    const std::vector<std::pair<std::size_t, double>>& values) const {
    std::string dots, title = fmt::format("{} {}", escape_html(chart_.x_name), exact_number(x));
    double below = 0;
    for (const auto& [i, y] : values) {
      dots += fmt::format(R"(<circle class="fill c{}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>)",
                          colour(i), px(x), py(y));
      title += fmt::format("\n{}: {} {}", escape_html(chart_.series[i].name),
                           short_number(y - below), chart_.unit);
      if (chart_.stacked) below = y;
    }
    return fmt::format(
        R"(<g class="at"><rect x="{:.1f}" y="{}" width="{:.1f}" height="{}"/><line x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>{}<title>{}</title></g>)",
        px(x) - half, kTop, 2 * half, kHeight - kTop - bottom(), px(x), px(x), kTop,
        kHeight - bottom(), dots, title);
  }

  const Chart& chart_;
  std::vector<Points> lines_;  // as drawn: thinned, or summed when stacked
  Range x_, y_;                // y_ in decades when log_
  bool log_ = false;
};

std::string legend(const Chart& chart) {
  std::string text;
  const auto colour = [&](std::size_t i) {
    const int own = chart.series[i].colour;
    return (own < 0 ? i : static_cast<std::size_t>(own)) % kColors;
  };
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const Points& points = chart.series[i].points;
    const auto last = std::find_if(points.rbegin(), points.rend(),
                                   [](const auto& p) { return std::isfinite(p.second); });
    text += fmt::format(R"(<li><i class="c{}{}"></i>{}{}</li>)", colour(i),
                        chart.series[i].dashed ? " dashed" : "", escape_html(chart.series[i].name),
                        last == points.rend() || !chart.last_values
                            ? ""
                            : fmt::format(" <b>{}</b>", short_number(last->second)));
  }
  return "<ul class=\"legend\">" + text + "</ul>";
}

}  // namespace

std::string escape_html(std::string_view text) {
  const auto entity = [](char c) -> std::string {
    switch (c) {
      case '&': return "&amp;";
      case '<': return "&lt;";
      case '>': return "&gt;";
      case '"': return "&quot;";
      default: return {c};
    }
  };
  std::string escaped;
  for (const char c : text) escaped += entity(c);
  return escaped;
}

std::string short_number(double value) {
  const double size = std::abs(value);
  if (size >= 1e9) return fmt::format("{:.3g}G", value / 1e9);
  if (size >= 1e6) return fmt::format("{:.3g}M", value / 1e6);
  if (size >= 1e4) return fmt::format("{:.3g}k", value / 1e3);
  return fmt::format("{:.4g}", value);
}

std::string render_chart(const Chart& chart) {
  const Plot plot(chart);
  if (plot.empty()) return "";
  const std::string unit =
      chart.unit.empty() ? "" : fmt::format(" <small>{}</small>", escape_html(chart.unit));
  return fmt::format("<figure class=\"card\"><figcaption>{}{}</figcaption>{}{}</figure>\n",
                     escape_html(chart.title), unit, legend(chart), plot.svg());
}

}  // namespace muster::trainer
