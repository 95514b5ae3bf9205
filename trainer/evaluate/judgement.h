// Predictions beside the truth: which are right, which are wrong, what was missed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace muster::trainer {

inline constexpr double kLeastOverlap = 0.5;  // IoU from which a detection may be an object's

struct TrueBox {
  std::array<double, 4> box{};  // x1, y1, x2, y2, as all here
  std::int64_t category = -1;
  bool crowd = false;
};

struct PredictedBox {
  std::array<double, 4> box{};
  std::int64_t category = -1;  // -1: none of the classes, which is always wrong
  double score = 0;
};

enum class Outcome : std::uint8_t { kFound, kFalse, kInCrowd };

struct Judgement {
  struct Of {
    Outcome outcome = Outcome::kFalse;
    double overlap = 0;       // with the truth that it found, else with the nearest of any class
    std::int64_t truth = -1;  // that one; -1: it overlaps none
  };
  std::vector<Of> predictions;                    // in the order given
  std::vector<std::optional<double>> found_with;  // per truth: the score of what found it
};

// As COCO does at an IoU of 0.5: predictions by falling score, each takes the free truth of its
// class that it overlaps most. So predictions below any threshold can be left out afterwards
// without changing what is said of the others. One inside a crowd of its class counts neither way.
Judgement judge(std::span<const TrueBox> truth, std::span<const PredictedBox> predictions);

}  // namespace muster::trainer
