#include "model/head/detection_losses.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/rng.h"
#include "model/head/denoising.h"
#include "model/head/loss_values.h"

namespace muster::model {
namespace {

using test::loss_options, test::terms_of, test::values;

using Catch::Approx;

at::Tensor random_boxes(Rng& rng, std::int64_t count) {
  at::Tensor boxes = at::empty({count, 4});
  for (std::int64_t i = 0; i < boxes.numel(); ++i) {
    boxes.mutable_data_ptr<float>()[i] =
        static_cast<float>(i % 4 < 2 ? rng.uniform(0.3, 0.7) : rng.uniform(0.05, 0.5));
  }
  return boxes;
}

at::Tensor random_logits(Rng& rng, std::int64_t count) {
  at::Tensor logits = at::empty({count});
  for (std::int64_t i = 0; i < count; ++i)
    logits.mutable_data_ptr<float>()[i] = static_cast<float>(rng.normal());
  return logits;
}

ImageTargets targets_of(const at::Tensor& boxes) {
  const auto count = static_cast<std::size_t>(boxes.size(0));
  return {boxes, std::vector<std::vector<std::int64_t>>(count, {1}),
          std::vector<std::int64_t>(count, 0)};
}

TEST_CASE("focal loss is its formula, and its gradient that of finite differences", "[unit]") {
  for (const double x : {-8.0, -1.5, 0.0, 0.7, 6.0}) {
    for (const double t : {0.0, 1.0}) {
      const double p = 1 / (1 + std::exp(-x)), right = t > 0 ? p : 1 - p;
      const double expected = (t > 0 ? 0.25 : 0.75) * std::pow(1 - right, 2) * -std::log(right);
      const at::Tensor target = at::scalar_tensor(t, at::kDouble);
      at::Tensor logit = at::scalar_tensor(x, at::kDouble).requires_grad_(true);
      const at::Tensor loss = focal_loss(logit, target, 0.25, 2);
      CHECK(loss.item<double>() == Approx(expected));
      loss.backward();
      const double slope = (focal_loss(at::scalar_tensor(x + 1e-6, at::kDouble), target, 0.25, 2) -
                            focal_loss(at::scalar_tensor(x - 1e-6, at::kDouble), target, 0.25, 2))
                               .item<double>() /
                           2e-6;
      CHECK(logit.grad().item<double>() == Approx(slope).margin(1e-8));
    }
  }
  CHECK(std::isfinite(
      focal_loss(at::scalar_tensor(-200.0f), at::scalar_tensor(1.0f), 0.25, 2).item<double>()));
}

TEST_CASE("the matcher prefers the near, the overlapping and the confident", "[unit]") {
  const Box truth{0.5f, 0.5f, 0.2f, 0.2f};
  CHECK(match_cost(truth, 0, truth, loss_options(0)) <
        match_cost({0.55f, 0.5f, 0.2f, 0.2f}, 0, truth, loss_options(0)));
  CHECK(match_cost(truth, 2, truth, loss_options(0)) <
        match_cost(truth, 1, truth, loss_options(0)));
  CHECK(match_cost(truth, 0, truth, {0.25, 2, 5, 2, 0, 0}) == Approx(-2));  // L1 0, GIoU 1
  const double p = 0.5, focal = 0.25 * 0.25 * -std::log(p) - 0.75 * 0.25 * -std::log(1 - p);
  CHECK(match_cost(truth, 0, truth, {0.25, 2, 0, 0, 1, 0}) == Approx(focal));
}

// One image of three predictions, one of two and a padding row; one prefix of two sets.
struct Scene {
  Rng rng{17};
  Predictions predictions{random_boxes(rng, 12), random_logits(rng, 12)};
  std::vector<ImageTargets> targets{targets_of(random_boxes(rng, 2)),
                                    targets_of(random_boxes(rng, 1))};
  std::vector<PredictionSet> sets{{"aux_", 0, 3, {3, 2}, {}, {}}, {"", 6, 3, {3, 2}, {}, {}}};
  Scene() {
    for (PredictionSet& set : sets)
      set.matches = match_set(predictions, set, targets, loss_options(0), {});
  }
};

TEST_CASE("box terms are sums over matched pairs, objectness over every row but padding",
          "[unit]") {
  const Scene scene;
  const std::map<std::string, double> got =
      values(terms_of(scene.predictions, scene.sets, scene.targets, loss_options(0)));
  for (const PredictionSet& set : scene.sets) {
    double l1 = 0, gap = 0, focal = 0;
    std::set<std::int64_t> hits;
    for (const Match& match : set.matches) {
      Box a{}, b{};
      for (std::int64_t i = 0; i < 4; ++i) {
        a[i] = scene.predictions.boxes[match.row][i].item<float>();
        b[i] = scene.targets[match.image].boxes[match.object][i].item<float>();
      }
      l1 += l1_distance(a, b);
      gap += 1 - giou(cxcywh_to_xyxy(a), cxcywh_to_xyxy(b));
      hits.insert(match.row);
    }
    for (std::int64_t row = set.first; row < set.first + 5; ++row) {  // the sixth is padding
      const double p = 1 / (1 + std::exp(-scene.predictions.logits[row].item<double>()));
      focal += hits.contains(row) ? 0.25 * (1 - p) * (1 - p) * -std::log(p)
                                  : 0.75 * p * p * -std::log(1 - p);
    }
    CHECK(hits.size() == 3);
    CHECK(got.at(set.prefix + "box_l1") == Approx(l1));
    CHECK(got.at(set.prefix + "giou") == Approx(gap));
    CHECK(got.at(set.prefix + "objectness") == Approx(focal));
  }
  CHECK(got.size() == 6);
}

// Cross-entropy of a logit towards a quality.
double cross_entropy(double logit, double quality) {
  const double p = 1 / (1 + std::exp(-logit));
  return -quality * std::log(p) - (1 - quality) * std::log(1 - p);
}

TEST_CASE("varifocal loss is its formula; its negatives' weight has no gradient", "[unit]") {
  const at::Tensor logits = at::tensor({0.7f, -1.2f, 2.0f}).requires_grad_();
  const at::Tensor quality = at::tensor({0.6f, 0.0f, 0.0f});
  const at::Tensor loss = varifocal_loss(logits, quality, 0.25, 2);
  loss.sum().backward();
  CHECK(loss[0].item<double>() == Approx(0.6 * cross_entropy(0.7, 0.6)));
  for (const auto& [i, logit] : {std::pair{1, -1.2}, {2, 2.0}}) {
    const double p = 1 / (1 + std::exp(-logit));
    CHECK(loss[i].item<double>() == Approx(0.75 * p * p * cross_entropy(logit, 0)));
    CHECK(logits.grad()[i].item<double>() == Approx(0.75 * p * p * p));  // d(-log(1-p))/dx = p
  }
}

TEST_CASE("objectness learns the IoU of its box, a shared object's the match's weight", "[unit]") {
  Predictions two{at::tensor({0.5f, 0.5f, 0.2f, 0.2f, 0.5f, 0.5f, 0.1f, 0.2f}).view({2, 4}),
                  at::tensor({0.3f, -0.4f})};
  const std::vector<ImageTargets> targets{
      targets_of(at::tensor({0.5f, 0.5f, 0.2f, 0.2f}).view({1, 4}))};
  std::vector<PredictionSet> sets(1);
  sets[0].width = 2;
  sets[0].counts = {2};
  sets[0].matches = {{1, 0, 0}};
  HeadLossOptions options = loss_options(0);
  options.objectness_is_iou = true;
  const double background = 0.75 * std::pow(1 / (1 + std::exp(-0.3)), 2) * cross_entropy(0.3, 0);
  CHECK(values(terms_of(two, sets, targets, options)).at("objectness") ==
        Approx(background + 0.5 * cross_entropy(-0.4, 0.5)));  // half the box: IoU 1/2

  sets[0].shared = true;
  sets[0].matches = {{0, 0, 0, 0.8f}, {1, 0, 0, 0.4f}};
  const auto shared = values(terms_of(two, sets, targets, loss_options(0)));
  CHECK(shared.at("objectness") ==
        Approx(0.8 * cross_entropy(0.3, 0.8) + 0.4 * cross_entropy(-0.4, 0.4)));
  CHECK(shared.at("box_l1") == Approx(0.4 * 0.1));
  CHECK(shared.at("giou") == Approx(0.4 * 0.5));
}

TEST_CASE("objectness beside shared objects learns whether there is one", "[unit]") {
  Rng rng(19);
  const at::Tensor logits = random_logits(rng, 6).requires_grad_(true);
  const Predictions both{random_boxes(rng, 6), logits};
  const std::vector<ImageTargets> targets{targets_of(random_boxes(rng, 1))};
  std::vector<PredictionSet> sets{{"", 0, 3, {3}, {}, {{1, 0, 0}}},
                                  {"many_", 3, 3, {3}, {}, {{3, 0, 0, 0.7f}, {5, 0, 0, 0.2f}}}};
  sets[1].shared = true;
  const std::vector<LossTerm> terms = terms_of(both, sets, targets, loss_options(0));
  const at::Tensor own = logits.detach().narrow(0, 0, 3).clone().requires_grad_(true),
                   many = logits.detach().narrow(0, 3, 3).clone().requires_grad_(true);
  const at::Tensor focal = focal_loss(own, at::tensor({0.0f, 1.0f, 0.0f}), 0.25, 2).sum(),
                   varifocal = varifocal_loss(many, at::tensor({0.7f, 0.0f, 0.2f}), 0.25, 2).sum();
  CHECK(values(terms).at("objectness") == Approx(focal.item<double>()));
  CHECK(values(terms).at("many_objectness") == Approx(varifocal.item<double>()));
  (terms[2].sum + terms[5].sum).backward();
  (focal + varifocal).backward();
  CHECK(at::allclose(logits.grad(), at::cat({own.grad(), many.grad()})));
}

TEST_CASE("the order of the queries does not matter", "[unit]") {
  Rng rng(23);
  const Predictions a{random_boxes(rng, 7), random_logits(rng, 7)};
  const std::vector<ImageTargets> targets{targets_of(random_boxes(rng, 3))};
  const at::Tensor order = at::tensor({4, 2, 6, 0, 1, 5, 3}, at::kLong);
  const Predictions b{a.boxes.index_select(0, order), a.logits.index_select(0, order)};
  PredictionSet set{"", 0, 7, {7}, {}, {}}, moved = set;
  set.matches = match_set(a, set, targets, loss_options(0), {});
  moved.matches = match_set(b, moved, targets, loss_options(0), {});
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(order[moved.matches[i].row].item<std::int64_t>() == set.matches[i].row);
  const auto first = values(terms_of(a, {&set, 1}, targets, loss_options(0))),
             second = values(terms_of(b, {&moved, 1}, targets, loss_options(0)));
  for (const auto& [name, value] : first) CHECK(second.at(name) == Approx(value));
}

TEST_CASE("an image without objects trains objectness only", "[unit]") {
  Rng rng(29);
  const at::Tensor boxes = random_boxes(rng, 4).requires_grad_(true),
                   logits = random_logits(rng, 4).requires_grad_(true);
  const std::vector<ImageTargets> targets{targets_of(at::empty({0, 4}))};
  PredictionSet set{"", 0, 4, {4}, {}, {}};
  set.matches = match_set({boxes.detach(), logits.detach()}, set, targets, loss_options(0), {});
  CHECK(set.matches.empty());
  const std::vector<LossTerm> terms =
      terms_of({boxes, logits}, {&set, 1}, targets, loss_options(0));
  const auto got = values(terms);
  CHECK(got.at("box_l1") == 0);
  CHECK(got.at("giou") == 0);
  CHECK(got.at("objectness") > 0);
  (terms[0].sum + terms[1].sum + terms[2].sum).backward();
  CHECK(logits.grad().abs().min().item<float>() > 0);
  CHECK(boxes.grad().abs().max().item<float>() == 0);
}

TEST_CASE("with more objects than queries the best fitting objects are matched", "[unit]") {
  Rng rng(31);
  const at::Tensor truths = random_boxes(rng, 5);
  const Predictions predictions{truths.index_select(0, at::tensor({3, 1}, at::kLong)),
                                at::zeros({2})};
  const PredictionSet set{"", 0, 2, {2}, {}, {}};
  const std::vector<ImageTargets> targets{targets_of(truths)};
  CHECK((match_set(predictions, set, targets, loss_options(0), {}) ==
         std::vector<Match>{{1, 0, 1}, {0, 0, 3}}));
}

TEST_CASE("the caption's cost decides between equal boxes", "[unit]") {
  Rng rng(37);
  const at::Tensor box = random_boxes(rng, 1).expand({2, 4}).contiguous();
  const std::vector<ImageTargets> targets{targets_of(box)};
  HeadLossOptions options = loss_options(0);
  options.match_caption = 1;
  const at::Tensor cost = at::tensor({0.0f, -0.9f, -0.9f, 0.0f})
                              .view({1, 2, 2});  // query 0 says object 1, query 1 object 0
  const PredictionSet set{"", 0, 2, {2}, {}, {}};
  CHECK((match_set({box, at::zeros({2})}, set, targets, options, cost) ==
         std::vector<Match>{{1, 0, 0}, {0, 0, 1}}));
}

TEST_CASE("predictions that are not finite reach the loss, not an exception", "[unit]") {
  Rng rng(41);
  at::Tensor boxes = random_boxes(rng, 3);
  boxes[1][2] = std::numeric_limits<float>::quiet_NaN();
  PredictionSet set{"", 0, 3, {3}, {}, {}};
  const std::vector<ImageTargets> targets{targets_of(random_boxes(rng, 2))};
  set.matches = match_set({boxes, at::zeros({3})}, set, targets, loss_options(0), {});
  CHECK(set.matches.size() == 2);
  CHECK(std::isnan(
      values(terms_of({boxes, at::zeros({3})}, {&set, 1}, targets, loss_options(0))).at("box_l1")));
}

TEST_CASE("denoising noise is bounded, keyed and reproducible", "[unit]") {
  const Box box{0.5f, 0.4f, 0.2f, 0.1f}, corners = cxcywh_to_xyxy(box);
  std::set<Box> seen;
  for (std::int64_t group = 0; group < 50; ++group) {
    const Box noised = noised_box(box, 0.4, 9, 1, 2, group), moved = cxcywh_to_xyxy(noised);
    for (std::size_t edge = 0; edge < 4; ++edge) {
      CHECK(std::abs(moved[edge] - corners[edge]) <= 0.4f * 0.5f * box[2 + edge % 2] + 1e-6f);
    }
    CHECK(noised == noised_box(box, 0.4, 9, 1, 2, group));
    seen.insert(noised);
  }
  for (const Box& other : {noised_box(box, 0.4, 8, 1, 2, 0), noised_box(box, 0.4, 9, 0, 2, 0),
                           noised_box(box, 0.4, 9, 1, 1, 0)}) {
    seen.insert(other);
  }
  CHECK(seen.size() == 53);
  CHECK(noised_box(box, 0, 9, 1, 2, 0)[2] == Approx(box[2]));
}

TEST_CASE("who may look at whom", "[unit]") {
  Rng rng(43);
  const std::vector<ImageTargets> targets{targets_of(random_boxes(rng, 2)),
                                          targets_of(random_boxes(rng, 1))};
  const DenoisingQueries denoising =
      make_denoising(targets, 2, 0.4, 1);  // slots 0 1 | 2 3; image 1 lacks 1 and 3
  const at::Tensor mask =
      self_attention_mask(3, std::vector<std::int64_t>{3, 2}, denoising).isfinite();
  const at::Tensor expected =
      at::tensor({1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1,
                  1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1})
          .view({7, 7});
  CHECK(at::equal(mask[0][0].to(at::kInt), expected.to(at::kInt)));
  at::Tensor second = expected.clone();
  for (const std::int64_t padding : {2, 4, 6}) second.select(1, padding).zero_();
  CHECK(at::equal(mask[1][0].to(at::kInt), second.to(at::kInt)));
  CHECK_FALSE(self_attention_mask(3, std::vector<std::int64_t>{3, 3}, {}).defined());
}

}  // namespace
}  // namespace muster::model
