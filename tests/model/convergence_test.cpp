// Hidden: test_model "[.convergence]". Trains a small Detector from random weights on scenes drawn
// on the fly and prints loss and AP50 over CPU seconds; settings come from
// MUSTER_TRIAL="lr=1e-3,steps=500,...". To choose the demo's recipe.
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <sstream>

#include "base/rng.h"
#include "base/text.h"
#include "model/detector.h"

namespace muster::model {
namespace {

constexpr std::int64_t kSide = 168, kCells = kSide / 28, kImageToken = 3, kVisionStart = 2,
                       kTurnEnd = 1, kColour = 10, kShape = 20;

std::map<std::string, double> settings() {
  std::map<std::string, double> values{{"steps", 600},      {"scenes", 8},
                                       {"lr", 1e-3},        {"warmup", 30},
                                       {"decay", 1e-4},     {"clip", 1},
                                       {"floor", 0.05},     {"queries", 36},
                                       {"hidden", 128},     {"layers", 2},
                                       {"heads", 4},        {"mlp", 256},
                                       {"captions", 1},     {"groups", 3},
                                       {"noise", 0.4},      {"language", 1},
                                       {"l1", 5},           {"giou", 2},
                                       {"object", 1},       {"caption", 1},
                                       {"aux", 1},          {"dn", 1},
                                       {"match_l1", 5},     {"match_giou", 2},
                                       {"match_object", 2}, {"match_caption", 1},
                                       {"every", 100},      {"held_out", 64},
                                       {"train", 2000},     {"beta2", 0.999},
                                       {"head_lr", 1},      {"text", 128},
                                       {"alpha", 0.25},     {"gamma", 2},
                                       {"proposals", 1},    {"accumulate", 2},
                                       {"seed", 0},         {"init", 0.02}};
  const char* given = std::getenv("MUSTER_TRIAL");
  for (const std::string& pair : split(given == nullptr ? "" : given, ',')) {
    const std::vector<std::string> parts = split(pair, '=');
    if (parts.size() == 2) values.at(parts[0]) = std::stod(parts[1]);
  }
  return values;
}

struct Scene {
  at::Tensor patches;  // [144, 1176]
  ImageTargets targets;
};

// 1 to 4 shapes of 28 to 70 px on grey noise.
Scene draw(std::uint64_t seed) {
  Rng rng(seed, 1);
  std::vector<float> image(3 * kSide * kSide);
  for (float& value : image) value = static_cast<float>(0.5 + 0.06 * rng.normal());
  Scene scene;
  std::vector<float> boxes;
  for (std::int64_t count = 1 + rng.below(4); count > 0; --count) {
    const std::int64_t w = 28 + rng.below(43), h = 28 + rng.below(43), x = rng.below(kSide - w),
                       y = rng.below(kSide - h);
    const std::int64_t colour = rng.below(3), ellipse = rng.below(2);
    for (std::int64_t r = 0; r < h; ++r) {
      for (std::int64_t c = 0; c < w; ++c) {
        const double dx = (static_cast<double>(c) + 0.5) * 2 / static_cast<double>(w) - 1,
                     dy = (static_cast<double>(r) + 0.5) * 2 / static_cast<double>(h) - 1;
        if (ellipse && dx * dx + dy * dy > 1) continue;
        for (std::int64_t k = 0; k < 3; ++k)
          image[(k * kSide + y + r) * kSide + x + c] = k == colour ? 0.85f : 0.2f;
      }
    }
    const auto scaled = [](std::int64_t twice) { return static_cast<float>(twice) / (2 * kSide); };
    boxes.insert(boxes.end(), {scaled(2 * x + w), scaled(2 * y + h), scaled(2 * w), scaled(2 * h)});
    scene.targets.captions.push_back({kColour + colour, kShape + ellipse});
    scene.targets.categories.push_back(colour * 2 + ellipse);
  }
  scene.targets.boxes = at::tensor(boxes).view({-1, 4});
  scene.patches = ((at::tensor(image) - 0.5) / 0.27)
                      .view({3, kCells, 2, 14, kCells, 2, 14})
                      .permute({1, 4, 2, 5, 0, 3, 6})
                      .reshape({-1, 3, 1, 196})
                      .expand({-1, 3, 2, 196})
                      .reshape({-1, 1176});
  return scene;
}

MicroBatch pack(const std::vector<Scene>& scenes, std::int64_t first, std::int64_t count,
                Rng* order) {
  MicroBatch batch;
  std::vector<at::Tensor> patches;
  std::vector<std::int64_t> ids, grid;
  batch.cu_seqlens = {0};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto total = static_cast<std::int64_t>(scenes.size());
    const Scene& scene = scenes[order ? order->below(total) : (first + i) % total];
    patches.push_back(scene.patches);
    ids.insert(ids.end(), {5, 6, kVisionStart});
    ids.insert(ids.end(), kCells * kCells, kImageToken);
    ids.insert(ids.end(), {4, 7, 8});
    grid.insert(grid.end(), {1, 2 * kCells, 2 * kCells});
    batch.cu_seqlens.push_back(static_cast<std::int64_t>(ids.size()));
    batch.sample_ids.push_back(i);
    batch.image_samples.push_back(i);
    batch.targets.push_back(scene.targets);
    batch.image_sizes.push_back({kSide, kSide});
  }
  batch.input_ids = at::tensor(ids, at::kLong);
  batch.labels = at::full_like(batch.input_ids, kIgnoreLabel);
  batch.grid_thw = at::tensor(grid, at::kLong).view({-1, 3});
  batch.pixel_values = at::cat(patches);
  return batch;
}

double iou(const std::array<float, 4>& a, const std::array<float, 4>& b) {
  const double w = std::min(a[2], b[2]) - std::max(a[0], b[0]),
               h = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  if (w <= 0 || h <= 0) return 0;
  return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h);
}

struct Hit {
  float score;
  bool right;
};

double average_precision(std::vector<Hit> hits, std::int64_t truths) {
  std::stable_sort(hits.begin(), hits.end(), [](auto& a, auto& b) { return a.score > b.score; });
  std::vector<double> precision, recall;
  double right = 0;
  for (const Hit& hit : hits) {
    right += hit.right;
    precision.push_back(right / static_cast<double>(precision.size() + 1));
    recall.push_back(right / static_cast<double>(truths));
  }
  for (std::size_t i = precision.size(); i > 1; --i)
    precision[i - 2] = std::max(precision[i - 2], precision[i - 1]);
  double sum = 0;
  for (int r = 0; r <= 100; ++r) {
    const auto at = std::lower_bound(recall.begin(), recall.end(), r / 100.0) - recall.begin();
    if (at < static_cast<std::ptrdiff_t>(precision.size())) sum += precision[at];
  }
  return sum / 101;
}

// AP50 of `category` (-1: any box counts, whatever its caption).
double ap50(const std::vector<Scene>& scenes, const std::vector<std::vector<Detection>>& found,
            std::int64_t category) {
  std::vector<Hit> hits;
  std::int64_t truths = 0;
  const std::vector<std::int64_t> wanted{kColour + category / 2, kShape + category % 2};
  for (std::size_t i = 0; i < scenes.size(); ++i) {
    std::vector<std::array<float, 4>> boxes;
    for (std::size_t o = 0; o < scenes[i].targets.categories.size(); ++o) {
      if (category >= 0 && scenes[i].targets.categories[o] != category) continue;
      const float* b = scenes[i].targets.boxes.const_data_ptr<float>() + 4 * o;
      boxes.push_back({(b[0] - b[2] / 2) * kSide, (b[1] - b[3] / 2) * kSide,
                       (b[0] + b[2] / 2) * kSide, (b[1] + b[3] / 2) * kSide});
    }
    truths += static_cast<std::int64_t>(boxes.size());
    std::vector<char> taken(boxes.size(), 0);
    for (const Detection& detection : found[i]) {
      if (category >= 0 && detection.caption != wanted) continue;
      double best = 0.5;
      int match = -1;
      for (std::size_t b = 0; b < boxes.size(); ++b) {
        const double overlap = iou(detection.box, boxes[b]);
        if (taken[b] || overlap < best) continue;
        best = overlap;
        match = static_cast<int>(b);
      }
      if (match >= 0) taken[match] = 1;
      hits.push_back({detection.score, match >= 0});
    }
  }
  return average_precision(hits, truths);
}

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

TEST_CASE("a small detector learns scenes", "[.convergence]") {
  std::map<std::string, double> set = settings();
  const auto whole = [&](const char* key) { return static_cast<std::int64_t>(set.at(key)); };
  QwenConfig qwen;
  qwen.model_type = "qwen2_5_vl";
  const std::int64_t text = whole("text");
  qwen.vision = {3, 96, 192, 4, text, 3, 14, 2, 2, 112, {2}};
  qwen.text = {512, text, 256, 2, 4, 2, text / 4, 1e-6, 1e6, {4, 6, 6}, true};
  qwen.image_token_id = kImageToken;
  qwen.vision_start_token_id = kVisionStart;
  qwen.initializer_range = set["init"];
  HeadConfig head;
  head.proposals = set["proposals"] > 0;
  head.use_language = set["language"] > 0;
  head.num_queries = whole("queries");
  head.hidden_size = whole("hidden");
  head.num_layers = whole("layers");
  head.num_heads = whole("heads");
  head.mlp_size = whole("mlp");
  head.caption_layers = whole("captions");
  head.caption_max_tokens = 4;
  head.denoising_groups = whole("groups");
  head.denoising_box_noise = set["noise"];
  const HeadLossOptions options{set["alpha"],      set["gamma"],        set["match_l1"],
                                set["match_giou"], set["match_object"], set["match_caption"]};
  const std::uint64_t seed = static_cast<std::uint64_t>(whole("seed"));
  Detector detector = Detector::create(QwenVL::random(qwen, {}, seed), head, kTurnEnd, seed);
  const std::map<std::string, double> weights{{"box_l1", set["l1"]},
                                              {"giou", set["giou"]},
                                              {"objectness", set["object"]},
                                              {"caption", set["caption"]},
                                              {"lm", 0}};
  std::vector<Scene> train, held_out;
  for (std::int64_t i = 0; i < whole("train"); ++i)
    train.push_back(draw(static_cast<std::uint64_t>(i)));
  for (std::int64_t i = 0; i < whole("held_out"); ++i)
    held_out.push_back(draw(1000000 + static_cast<std::uint64_t>(i)));

  for (const NamedParam& param : detector.parameters()) param.tensor.set_requires_grad(true);
  std::vector<at::Tensor> body, tail, zeros[4];
  for (const NamedParam& param : detector.parameters())
    (param.name.starts_with("detection_head") ? tail : body).push_back(param.tensor);
  std::vector<at::Tensor> steps[2];
  for (int side = 0; side < 2; ++side) {
    for (const at::Tensor& p : side ? tail : body) {
      zeros[2 * side].push_back(at::zeros_like(p));
      zeros[2 * side + 1].push_back(at::zeros_like(p));
      steps[side].push_back(at::zeros({}));
    }
  }
  Rng order(seed, 99);
  const double start = cpu_seconds();
  double spent_on_eval = 0;
  std::map<std::string, double> shown;
  for (std::int64_t step = 1; step <= whole("steps"); ++step) {
    std::vector<MicroBatch> batches;
    double boxes = 0, caption_tokens = 0;
    for (std::int64_t k = 0; k < whole("accumulate"); ++k) {
      batches.push_back(pack(train, 0, whole("scenes"), &order));
      for (const ImageTargets& target : batches.back().targets)
        boxes += static_cast<double>(target.captions.size());
    }
    caption_tokens = 3 * boxes;
    for (const MicroBatch& batch : batches) {
      at::Tensor total = at::zeros({});
      for (const LossTerm& term : detector.loss(batch, options, static_cast<std::uint64_t>(step))) {
        std::string name = term.name;
        double factor = 1;
        for (const std::string kind : {"aux", "dn"}) {
          if (!term.name.starts_with(kind + "_")) continue;
          factor = set[kind];
          name = term.name.substr(kind.size() + 1);
        }
        const double share =
            factor * weights.at(name) /
            (term.denominator == LossTerm::Denominator::kCaptionTokens ? caption_tokens : boxes);
        if (share == 0) continue;
        total = total + term.sum * share;
        shown[term.name] +=
            term.sum.item<double>() /
            (term.denominator == LossTerm::Denominator::kCaptionTokens ? caption_tokens : boxes);
      }
      total.backward();
    }
    const double ramp = std::min(1.0, static_cast<double>(step) / set["warmup"]);
    const double left = 1 - static_cast<double>(step) / set["steps"];
    const double lr = set["lr"] * ramp * (set["floor"] + (1 - set["floor"]) * left);
    const at::NoGradGuard no_grad;
    double norm = 0;
    for (const auto* side : {&body, &tail}) {
      for (const at::Tensor& p : *side) {
        if (!p.grad().defined()) p.mutable_grad() = at::zeros_like(p);
        norm += p.grad().square().sum().item<double>();
      }
    }
    const double scale = set["clip"] > 0 ? std::min(1.0, set["clip"] / std::sqrt(norm)) : 1;
    for (int side = 0; side < 2; ++side) {
      std::vector<at::Tensor>& params = side ? tail : body;
      std::vector<at::Tensor> grads;
      for (const at::Tensor& p : params) grads.push_back(p.grad() * scale);
      for (at::Tensor& s : steps[side]) s.add_(1);
      at::_fused_adamw_(params, grads, zeros[2 * side], zeros[2 * side + 1], {}, steps[side],
                        lr * (side ? set["head_lr"] : 1), 0.9, set["beta2"], set["decay"], 1e-8,
                        false, false);
      for (at::Tensor& p : params) p.mutable_grad().reset();
    }
    if (step % whole("every") != 0 && step != whole("steps")) continue;
    const double before = cpu_seconds();
    detector.set_training(false);
    std::vector<std::vector<Detection>> found;
    for (std::int64_t first = 0; first < whole("held_out"); first += 16) {
      for (auto& image : detector.detect(pack(held_out, first, 16, nullptr)))
        found.push_back(std::move(image));
    }
    detector.set_training(true);
    double mean = 0;
    for (std::int64_t category = 0; category < 6; ++category)
      mean += ap50(held_out, found, category) / 6;
    std::printf("step %4ld  cpu %6.1f s  eval %4.1f s  AP50 %.3f  any-class %.3f  norm %.2f ",
                static_cast<long>(step), before - start - spent_on_eval, cpu_seconds() - before,
                mean, ap50(held_out, found, -1), std::sqrt(norm));
    for (auto& [name, sum] : shown) {
      std::printf(" %s %.3f", name.c_str(), sum / set["every"]);
      sum = 0;
    }
    std::printf("\n");
    std::fflush(stdout);
    spent_on_eval += cpu_seconds() - before;
  }
}

}  // namespace
}  // namespace muster::model
