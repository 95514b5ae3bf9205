#include "trainer/show/metrics.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "base/process/fd.h"
#include "base/utf8.h"

namespace muster::trainer {
namespace {

using nlohmann::json;

// The shortest decimal that reads back to the same bits; whole numbers have no fraction.
std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  if (value == 0 && std::signbit(value))
    return "-0.0";  // readers take "-0" for an integer, which has no sign
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), result.ptr};
}

template <typename Visit>
void each_line(std::string_view text, const Visit& visit) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return;  // torn by a crash
    visit(text.substr(0, end), number);
    text.remove_prefix(end + 1);
  }
}

// Of one line; nothing when it is damaged, which a warning says.
std::optional<std::map<std::string, double>> read_row(std::string_view line,
                                                      const std::filesystem::path& file,
                                                      std::size_t number) {
  const json object = parse_json_or_null(line);
  std::map<std::string, double> row;
  bool whole = object.is_object() && object.contains("step") && object["step"].is_number();
  if (whole) {
    for (const auto& [name, value] : object.items()) {
      whole = whole && (value.is_number() || value.is_null());
      row[name] =
          value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
    }
  }
  if (whole) return row;
  log::warn("{}:{}: left out, not a row of numbers with a \"step\" (R-029): {}", file.string(),
            number, printable(line.substr(0, 80)));
  return std::nullopt;
}

}  // namespace

std::string measured_text(double evaluation) {
  return measured(evaluation) ? fmt::format("{:.4f}", evaluation) : "n/a";
}

std::string metrics_line(const MetricsRow& row) {
  std::string text = "{";
  for (const auto& [name, value] : row) {
    if (text.size() > 1) text += ", ";
    text += json(name).dump() + ": " + number(value);
  }
  return text + "}";
}

MetricsLog::MetricsLog(std::filesystem::path file) : file_(std::move(file)) {
  if (file_.has_parent_path()) std::filesystem::create_directories(file_.parent_path());
  if (std::filesystem::exists(file_)) {
    const std::string text = read_text(file_);
    if (!text.empty() && text.back() != '\n')
      write_text(file_, text.substr(0, text.rfind('\n') + 1));
  }
  open();
}

void MetricsLog::open() { descriptor_ = Fd::open(file_, O_WRONLY | O_APPEND | O_CREAT); }

void MetricsLog::append(const MetricsRow& row) {
  write_all(descriptor_.get(), metrics_line(row) + "\n", file_);
}

void MetricsLog::truncate_after(std::int64_t step) {
  std::string kept;
  bool shorter = false;
  each_line(read_text(file_), [&](std::string_view line, std::size_t number) {
    const auto row = read_row(line, file_, number);
    const bool keep = row && row->at("step") <= static_cast<double>(step);
    if (keep) kept.append(line).push_back('\n');
    shorter = shorter || !keep;
  });
  if (!shorter) return;
  descriptor_.reset();  // it would go on writing to the replaced file
  write_text(file_, kept);
  open();
}

std::vector<std::map<std::string, double>> read_metrics(const std::filesystem::path& file) {
  std::vector<std::map<std::string, double>> rows;
  const std::string text = read_text(file);
  each_line(text, [&](std::string_view line, std::size_t number) {
    if (auto row = read_row(line, file, number)) rows.push_back(std::move(*row));
  });
  return rows;
}

}  // namespace muster::trainer
