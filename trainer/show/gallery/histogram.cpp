#include "trainer/show/gallery/histogram.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "trainer/show/gallery/html_text.h"

namespace muster::trainer {
namespace {

constexpr double kWidth = 320;
constexpr double kHeight = 130;
constexpr double kTop = 16;     // room for the counts
constexpr double kBottom = 18;  // room for the edges

std::string render_bar(const Bar& bar, double x, double width, double share) {
  const double height = (kHeight - kTop - kBottom) * share;
  const double top = kHeight - kBottom - height;
  const std::string count = bar.count == 0
                                ? ""
                                : fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                                              x + width / 2, top - 4, bar.count);
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"><title>from {}: "
      "{}</title></rect>{}<text x=\"{:.1f}\" y=\"{}\">{}</text>",
      x + 2, top, std::max(1.0, width - 4), height, html_text(bar.from), bar.count, count,
      x + width / 2, kHeight - 4, html_text(bar.from));
}

}  // namespace

void DoublingBins::add(double value) {
  const double doublings = value > least_ ? std::floor(std::log2(value / least_)) : 0;
  ++counts_[std::min(static_cast<std::size_t>(doublings), counts_.size() - 1)];
}

Histogram DoublingBins::histogram(const std::string& title) const {
  Histogram histogram{title, {}};
  double edge = least_;
  for (const std::int64_t count : counts_) {
    histogram.bars.push_back({histogram.bars.empty() ? "0" : fmt::format("{:.6g}", edge), count});
    edge *= 2;
  }
  const auto counted = [](const Bar& bar) { return bar.count > 0; };
  auto& bars = histogram.bars;
  bars.erase(std::find_if(bars.rbegin(), bars.rend(), counted).base(), bars.end());
  bars.erase(bars.begin(), std::ranges::find_if(bars, counted));
  return histogram;
}

std::string render_histogram(const Histogram& histogram) {
  std::int64_t most = 0;
  for (const Bar& bar : histogram.bars) most = std::max(most, bar.count);
  if (most == 0) return "";
  const double width = kWidth / static_cast<double>(histogram.bars.size());
  std::string text;
  for (std::size_t i = 0; i < histogram.bars.size(); ++i) {
    const Bar& bar = histogram.bars[i];
    text += render_bar(bar, width * static_cast<double>(i), width,
                       static_cast<double>(bar.count) / static_cast<double>(most));
  }
  const std::string title = html_text(histogram.title);
  return fmt::format(
      "<figure class=\"tile\"><figcaption>{}</figcaption><svg class=\"bars\" viewBox=\"0 0 {} {}\" "
      "role=\"img\" aria-label=\"{}\">{}</svg></figure>\n",
      title, kWidth, kHeight, title, text);
}

}  // namespace muster::trainer
