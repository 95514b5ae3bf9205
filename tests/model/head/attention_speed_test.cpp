// What a query layer costs that reads all of the memory, and one that reads points of boxes.
#include <ATen/ATen.h>
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

#include "model/head/layers.h"
#include "model/head/loss_values.h"

namespace muster::model {
namespace {

constexpr std::int64_t kImages = 2, kQueries = 100, kHidden = 128, kHeads = 4;

// The memory of pictures of side x side patches, as `detection.cross_attention` has it read.
MemoryView memory_of(std::int64_t side, bool boxes) {
  const at::Tensor tokens =
      test::noise(1, {kImages, side * side, kHidden}).to(at::kFloat).requires_grad_();
  if (!boxes) return {.tokens = tokens, .mask = {}, .map = {}, .places = {}};
  const at::Tensor grid = at::tensor(std::vector<std::int64_t>{1, side, side}).repeat({kImages, 1});
  const auto places = std::make_shared<const MemoryMap>(token_layout(grid, 1), at::kCPU);
  return {.tokens = {}, .mask = {}, .map = places->spread(tokens), .places = places};
}

class Layer {
 public:
  Layer(std::int64_t side, bool boxes)
      : layer_(kHidden, kHeads, 2 * kHidden, boxes), memory_(memory_of(side, boxes)) {
    std::uint64_t seed = 10;
    layer_.visit("", [&](const std::string&, at::Tensor& parameter) {
      parameter = test::noise(++seed, parameter.sizes().vec()).to(at::kFloat).mul_(0.1);
      parameter.requires_grad_();
    });
  }

  // Of forward and backward.
  double milliseconds() const {
    const at::Tensor x = test::noise(2, {kImages, kQueries, kHidden}).to(at::kFloat);
    const at::Tensor boxes = test::noise(3, {kImages, kQueries, 4}).to(at::kFloat).sigmoid();
    const auto start = std::chrono::steady_clock::now();
    layer_(x, x, boxes, {}, memory_).sum().backward();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
        .count();
  }

 private:
  QueryLayer layer_;
  MemoryView memory_;
};

}  // namespace

TEST_CASE("attention to boxes beside attention to all", "[.speed]") {
  nlohmann::json rows = nlohmann::json::array();
  for (const std::int64_t side : {24, 48, 96}) {
    const Layer all(side, false), boxes(side, true);
    double all_ms = 1e9, boxes_ms = 1e9;  // of the fastest rounds: other work only adds
    for (int round = 0; round < 20; ++round) {
      all_ms = std::min(all_ms, all.milliseconds());
      boxes_ms = std::min(boxes_ms, boxes.milliseconds());
    }
    rows.push_back({{"patches", side * side}, {"all_ms", all_ms}, {"boxes_ms", boxes_ms}});
  }
  fmt::print("{}\n", rows.dump());
}

}  // namespace muster::model
