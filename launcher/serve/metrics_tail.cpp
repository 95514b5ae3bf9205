#include "launcher/serve/metrics_tail.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "launcher/serve/inside.h"
#include "trainer/show/metric_names.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

constexpr std::size_t kMostCurves = 400;  // a file of one's own making cannot ask for more
constexpr std::size_t kMostLine = 1 << 20;
constexpr const char* kImagesPerSecond = "images_per_s";

}  // namespace

MetricsTail::MetricsTail(std::filesystem::path run_dir, bool curves)
    : run_dir_(std::move(run_dir)), keep_curves_(curves) {}

double MetricsTail::share_read() const {
  if (size_ == 0) return 1;
  return std::min(1.0, static_cast<double>(offset_) / static_cast<double>(size_));
}

std::uint64_t MetricsTail::generation() const {
  std::uint64_t sum = restarts_ * 1'000'000;
  for (const auto& [name, curve] : curves_) sum += curve.generation();
  return sum;
}

void MetricsTail::restart() {
  offset_ = 0;
  partial_.clear();
  damaged_ = 0;
  last_step_ = -1;
  best_ap_.reset();
  images_per_s_ = 0;
  curves_.clear();
  ++restarts_;
}

void MetricsTail::read_on(std::size_t most_bytes) {
  const std::optional<Fd> file = open_inside(run_dir_, "metrics.jsonl");
  if (!file) {
    if (size_ > 0) restart();
    size_ = 0;
    return;
  }
  const FileFacts facts = facts_of(*file);
  if (facts.inode != inode_ || facts.bytes < offset_) restart();
  inode_ = facts.inode;
  size_ = facts.bytes;
  constexpr std::size_t kPiece = 256 << 10;
  while (most_bytes > 0 && offset_ < size_) {
    const std::string piece = read_at(*file, offset_, std::min(kPiece, most_bytes));
    if (piece.empty()) return;
    offset_ += static_cast<std::int64_t>(piece.size());
    most_bytes -= piece.size();
    take(piece);
  }
}

void MetricsTail::take(std::string_view bytes) {
  for (std::size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
    partial_.append(bytes.substr(0, end));
    take_line(partial_);
    partial_.clear();
    bytes.remove_prefix(end + 1);
  }
  if (partial_.size() < kMostLine) partial_.append(bytes);
}

void MetricsTail::take_line(std::string_view line) {
  const json row = line.size() < kMostLine ? parse_json_or_null(line) : json();
  const double step = member_or(row, "step", std::numeric_limits<double>::quiet_NaN());
  if (!std::isfinite(step) || step < 0) {
    ++damaged_;
    return;
  }
  last_step_ = std::max(last_step_, static_cast<std::int64_t>(std::min(step, 1e15)));
  for (const auto& [name, value] : row.items())
    if (value.is_number()) take_value(name, step, value.get<double>());
  const auto number = [&row](std::string_view name) {
    return member_or(row, std::string(name).c_str(), 0.0);
  };
  const double images = number(trainer::metric::kImages);
  const double seconds = number(trainer::metric::kSeconds);
  if (images <= 0 || seconds <= 0) return;
  constexpr double kNewest = 0.2;  // what the newest step counts in the mean
  const double speed = images / seconds;
  images_per_s_ = images_per_s_ == 0 ? speed : images_per_s_ + kNewest * (speed - images_per_s_);
  take_value(kImagesPerSecond, step, speed);
}

void MetricsTail::take_value(const std::string& name, double step, double value) {
  using trainer::metric::kEval;
  const bool evaluation = name.starts_with(kEval);
  if (!std::isfinite(value) || (evaluation && value < 0)) return;  // nothing was measured
  if (name == trainer::metric::name(kEval, trainer::metric::kAp) &&
      (!best_ap_ || value > best_ap_->value))
    best_ap_ = BestValue{value, static_cast<std::int64_t>(std::min(step, 1e15))};
  if (!keep_curves_ || name == trainer::metric::kStep) return;
  if (curves_.size() < kMostCurves || curves_.contains(name)) curves_[name].add(step, value);
}

}  // namespace muster::launcher
