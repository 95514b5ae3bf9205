// metrics.jsonl as it grows: each byte of it is read once, a bounded number of them at a time, and
// what is kept does not grow with the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/serve/thin_series.h"

namespace muster::launcher {

struct BestValue {
  double value = 0;
  std::int64_t step = 0;
};

class MetricsTail {
 public:
  // `curves`: keep every metric's curve, too; else only what summary members tell.
  MetricsTail(std::filesystem::path run_dir, bool curves);

  // Reads on, at most so many bytes. A file that was replaced or shortened (a resume cuts it) is
  // read from its start.
  void read_on(std::size_t most_bytes);

  bool at_end() const { return offset_ >= size_; }
  double share_read() const;  // 0..1
  std::int64_t damaged_lines() const { return damaged_; }
  std::int64_t last_step() const { return last_step_; }
  const std::optional<BestValue>& best_ap() const { return best_ap_; }
  double images_per_s() const { return images_per_s_; }  // over the newest steps; 0: not known
  // By metric; "images_per_s" is made of two.
  const std::map<std::string, ThinSeries>& curves() const { return curves_; }
  // Changes when points that were read before are no longer the same.
  std::uint64_t generation() const;

 private:
  void restart();
  void take(std::string_view bytes);
  void take_line(std::string_view line);
  void take_value(const std::string& name, double step, double value);

  std::filesystem::path run_dir_;
  bool keep_curves_;
  std::uint64_t inode_ = 0;
  std::int64_t offset_ = 0, size_ = 0;
  std::string partial_;  // the line that has no end yet
  std::int64_t damaged_ = 0;
  std::int64_t last_step_ = -1;
  std::optional<BestValue> best_ap_;
  double images_per_s_ = 0;
  std::map<std::string, ThinSeries> curves_;
  std::uint64_t restarts_ = 0;
};

}  // namespace muster::launcher
