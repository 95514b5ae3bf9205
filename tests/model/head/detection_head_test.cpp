// The head on made-up tokens: no backbone needed.
#include "model/head/detection_head.h"

#include <ATen/core/grad_mode.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/tensors/compute_threads.h"
#include "model/head/loss_values.h"

namespace muster::model {
namespace {

using test::loss_options, test::noise, test::terms_of, test::values;

constexpr std::int64_t kText = 24, kVocab = 40, kEnd = 39;

HeadConfig small_head() {
  HeadConfig config = test::one_layer_head();
  config.num_layers = 2;
  config.denoising_groups = 2;
  config.denoising_box_noise = 0.4;
  return config;
}

// Heads that differ in where queries start and what they read.
std::vector<HeadConfig> kinds_of_head() {
  std::vector<HeadConfig> kinds(6, small_head());
  kinds[1].proposals = false;
  kinds[2].neck_layers = 2;
  kinds[3].box_attention = true;
  kinds[3].use_language = false;
  kinds[4].box_attention = true;
  kinds[4].neck_layers = 1;
  kinds[4].one_to_many = 3;
  kinds[5].proposals = false;
  kinds[5].neck_layers = 1;
  kinds[5].box_attention = true;
  return kinds;
}

ImageTargets objects(const std::vector<float>& boxes, std::vector<CaptionIds> captions) {
  const auto count = static_cast<std::int64_t>(captions.size());
  return {at::tensor(boxes, at::kFloat).view({count, 4}), captions,
          std::vector<std::int64_t>(captions.size(), 0)};
}

DetectionHead make_head(const HeadConfig& config, std::int64_t end = kEnd) {
  return {config, {kText, kText}, end, 5, at::kFloat, at::kCPU};
}

// The last box layer starts at zero, which would hide what the states say.
DetectionHead awake_head(const HeadConfig& config, std::int64_t end = kEnd) {
  DetectionHead head = make_head(config, end);
  const at::NoGradGuard no_grad;
  std::uint64_t seed = 100;
  head.visit("", [&](const std::string&, at::Tensor& tensor) {
    tensor.add_(0.1 * noise(++seed, tensor.sizes())).set_requires_grad(true);
  });
  return head;
}

// Images of 3 x 4, 2 x 2 and 3 x 3 merged tokens.
struct Batch {
  at::Tensor grid = at::tensor({1, 6, 8, 1, 4, 4, 1, 6, 6}, at::kLong).view({3, 3});
  TokenLayout layout = token_layout(grid, 2);
  at::Tensor vision = noise(1, {25, kText}), language = noise(2, {25, kText}),
             embedding = noise(3, {kVocab, kText});
  std::vector<ImageTargets> targets{
      objects({0.3f, 0.4f, 0.2f, 0.3f, 0.7f, 0.6f, 0.3f, 0.2f}, {{4, 7}, {9}}), objects({}, {}),
      objects({0.5f, 0.5f, 0.4f, 0.6f}, {{1, 2, 3}})};
};

std::vector<LossTerm> loss_of(const DetectionHead& head, const Batch& batch,
                              const DenoisingQueries& denoising) {
  return head.loss(head.forward(batch.vision, batch.language, batch.layout, denoising),
                   batch.targets, denoising, loss_options(1), batch.embedding);
}

TEST_CASE("sets are matched side by side as one after the other", "[unit]") {
  const Batch batch;
  HeadConfig config = small_head();
  config.num_layers = 4;
  config.one_to_many = 3;
  const DetectionHead head = awake_head(config);
  const auto with_threads = [&](int threads) {
    const ComputeThreads some(threads);
    return values(loss_of(head, batch, {}));
  };
  CHECK(with_threads(4) == with_threads(1));
}

TEST_CASE("what needs no match is queued once, whatever there is to match", "[unit]") {
  Batch batch;
  const DetectionHead head = awake_head(small_head());
  const auto times_queued = [&] {
    int times = 0;
    head.loss(head.forward(batch.vision, batch.language, batch.layout, {}), batch.targets, {},
              loss_options(1), batch.embedding, [&] { ++times; });
    return times;
  };
  CHECK(times_queued() == 1);
  batch.targets = {objects({}, {}), objects({}, {}), objects({}, {})};
  CHECK(times_queued() == 1);
}

TEST_CASE("tokens know where they lie", "[unit]") {
  const Batch batch;
  CHECK(batch.layout.counts == std::vector<std::int64_t>{12, 4, 9});
  const at::Tensor centres = batch.layout.centres();
  CHECK(at::allclose(centres[0][5], at::tensor({1.5f / 4, 1.5f / 3})));
  CHECK(at::allclose(centres[1][3], at::tensor({0.75f, 0.75f})));
  for (std::int64_t i = 0; i < 12; ++i) {
    CHECK(batch.layout.token_at(0, centres[0][i][0].item<float>(),
                                centres[0][i][1].item<float>()) == i);
  }
  CHECK(batch.layout.token_at(0, 1, 1) == 11);
}

TEST_CASE("every parameter is drawn from its own stream and gets a gradient", "[unit]") {
  for (HeadConfig config : kinds_of_head()) {
    config.classes = {{4, 7}, {9}, {1, 2, 3}, {4, 8}};  // two share a first token
    DetectionHead head = awake_head(config), same = make_head(config),
                  other{config, {kText, kText}, kEnd, 6, at::kFloat, at::kCPU};
    const Batch batch;
    const DenoisingQueries denoising = make_denoising(batch.targets, 2, 0.4, 77);
    at::Tensor total;
    for (const LossTerm& term : loss_of(head, batch, denoising))
      total = total.defined() ? total + term.sum : term.sum;
    total.backward();
    std::map<std::string, at::Tensor> drawn;
    same.visit("", [&](const std::string& name, at::Tensor& tensor) { drawn[name] = tensor; });
    head.visit("", [&](const std::string& name, at::Tensor& tensor) {
      INFO(name);
      CHECK(tensor.is_leaf());
      REQUIRE(tensor.grad().defined());
      CHECK(tensor.grad().abs().max().item<float>() > 0);
    });
    DetectionHead again = make_head(config);
    again.visit("", [&](const std::string& name, at::Tensor& tensor) {
      CHECK(at::equal(tensor, drawn.at(name)));
    });
    other.visit("", [&](const std::string& name, at::Tensor& tensor) {
      if (name == "vision.weight") CHECK_FALSE(at::equal(tensor, drawn.at(name)));
    });
  }
}

// [queries, 5]: boxes and logits; a whole image's tokens come in place order alone, in score order
// beside larger images.
at::Tensor by_score(const LayerOutput& layer, std::int64_t image, std::int64_t queries) {
  const at::Tensor logits = layer.logits[image].narrow(0, 0, queries);
  const at::Tensor rows =
      at::cat({layer.boxes[image].narrow(0, 0, queries), logits.unsqueeze(1)}, 1);
  return rows.index_select(0, logits.argsort());
}

TEST_CASE("images packed together say what they say alone", "[unit]") {
  for (const HeadConfig& config : kinds_of_head()) {
    CAPTURE(config.proposals, config.neck_layers, config.box_attention);
    const DetectionHead head = awake_head(config);
    const Batch batch;
    const HeadOutput together = head.forward(batch.vision, batch.language, batch.layout, {});
    std::map<std::string, double> sums;
    for (std::int64_t image = 0, first = 0; image < 3; ++image) {
      const std::int64_t count = batch.layout.counts[image];
      Batch alone;
      alone.layout = token_layout(batch.grid.narrow(0, image, 1), 2);
      alone.vision = batch.vision.narrow(0, first, count);
      alone.language = batch.language.narrow(0, first, count);
      alone.targets = {batch.targets[image]};
      first += count;
      const HeadOutput single = head.forward(alone.vision, alone.language, alone.layout, {});
      const std::int64_t queries = together.counts[image];
      CHECK(queries == single.queries);
      for (std::size_t layer = 0; layer < 2; ++layer) {
        const at::Tensor packed = by_score(together.layers[layer], image, queries);
        CHECK(at::allclose(packed, by_score(single.layers[layer], 0, queries), 1e-4, 1e-5));
      }
      for (const auto& [name, value] : values(loss_of(head, alone, {}))) sums[name] += value;
    }
    const auto packed = values(loss_of(head, batch, {}));
    CHECK(packed.size() == sums.size());
    for (const auto& [name, value] : packed)
      CHECK(value == Catch::Approx(sums.at(name)).epsilon(1e-4));
  }
}

TEST_CASE("denoising slots are invisible to matching queries and to other groups", "[unit]") {
  const Batch batch;
  const DetectionHead head = awake_head(small_head());
  const DenoisingQueries denoising = make_denoising(batch.targets, 2, 0.4, 77);
  DenoisingQueries changed = denoising;
  changed.boxes = denoising.boxes.clone();
  changed.boxes[0][2] = at::tensor({0.9f, 0.9f, 0.1f, 0.1f});  // group 1, object 0
  const HeadOutput a = head.forward(batch.vision, batch.language, batch.layout, denoising);
  const HeadOutput b = head.forward(batch.vision, batch.language, batch.layout, changed);
  const HeadOutput none = head.forward(batch.vision, batch.language, batch.layout, {});
  for (std::size_t layer = 0; layer < 2; ++layer) {
    const at::Tensor &x = a.layers[layer].boxes, &y = b.layers[layer].boxes;
    CHECK(at::equal(x.narrow(1, 0, 7), y.narrow(1, 0, 7)));  // queries and group 0
    CHECK_FALSE(at::equal(x[0][7], y[0][7]));                // itself
    CHECK(at::allclose(x.narrow(1, 0, 5), none.layers[layer].boxes, 1e-5, 1e-6));
  }
  CHECK_FALSE(
      at::equal(a.layers[1].boxes[0][8], b.layers[1].boxes[0][8]));  // its neighbour in the group
}

TEST_CASE("terms by name; captions are counted with their end", "[unit]") {
  const Batch batch;
  const DetectionHead head = awake_head(small_head());
  const DenoisingQueries denoising = make_denoising(batch.targets, 2, 0.4, 77);
  const std::vector<LossTerm> terms = loss_of(head, batch, denoising);
  std::map<std::string, LossTerm::Denominator> names;
  for (const LossTerm& term : terms) names[term.name] = term.denominator;
  for (const char* prefix : {"", "aux_", "dn_"}) {
    for (const char* name : {"box_l1", "giou", "objectness"})
      CHECK(names.at(prefix + std::string(name)) == LossTerm::Denominator::kBoxes);
  }
  CHECK(names.at("caption") == LossTerm::Denominator::kCaptionTokens);
  CHECK(names.at("dn_caption") == LossTerm::Denominator::kCaptionTokens);
  CHECK(names.size() == 11);
  CHECK(values(terms) == values(loss_of(head, batch, denoising)));  // deterministic
}

TEST_CASE("a batch without any object still trains objectness", "[unit]") {
  Batch batch;
  for (ImageTargets& target : batch.targets) target = objects({}, {});
  const DetectionHead head = awake_head(small_head());
  const DenoisingQueries denoising = make_denoising(batch.targets, 2, 0.4, 77);
  CHECK(denoising.slots() == 0);
  const std::vector<LossTerm> terms = loss_of(head, batch, denoising);
  at::Tensor total = at::zeros({});
  for (const LossTerm& term : terms) {
    total = total + term.sum;
    if (term.name.find("objectness") == std::string::npos) CHECK(term.sum.item<double>() == 0);
  }
  CHECK(total.item<double>() > 0);
  total.backward();
}

// Every term at once: queries, matching, focal loss, GIoU, captions and denoising. One layer, and
// behind the proposals: elsewhere references are detached on purpose, which differences would not
// know.
TEST_CASE("the head's gradient is that of finite differences", "[unit]") {
  for (HeadConfig config : kinds_of_head()) {
    const bool proposals = config.proposals;
    config.num_layers = 1;
    DetectionHead head = awake_head(config);
    const Batch batch;
    const DenoisingQueries denoising = make_denoising(batch.targets, 2, 0.4, 77);
    const auto total = [&] {
      at::Tensor sum = at::zeros({});
      for (const LossTerm& term : loss_of(head, batch, denoising)) sum = sum + term.sum;
      return sum;
    };
    total().backward();
    std::uint64_t seed = 500;
    for (const char* part : {"vision.", "neck.", "layers.", "box.", "score.", "caption.",
                             "position.", "learned_box"}) {
      // Where a box's points lie has no gradient.
      if (config.box_attention && part == std::string("learned_box")) continue;
      double along = 0;
      std::vector<std::pair<at::Tensor, at::Tensor>> moves;  // parameter, direction
      head.visit("", [&](const std::string& name, at::Tensor& tensor) {
        const bool selects = name.starts_with("vision.") || name.starts_with("neck.");
        if (!name.starts_with(part) || (proposals && selects)) return;
        const at::Tensor direction = noise(++seed, tensor.sizes());
        along += (tensor.grad() * direction).sum().item<double>();
        moves.emplace_back(tensor, direction);
      });
      if (moves.empty()) continue;
      const at::NoGradGuard no_grad;
      constexpr double kStep = 5e-5;  // smaller than the way to most of ReLU's corners
      const auto loss_at = [&](double step) {
        for (const auto& [tensor, direction] : moves) tensor.add_(direction, step);
        const double loss = total().item<double>();
        for (const auto& [tensor, direction] : moves) tensor.sub_(direction, step);
        return loss;
      };
      const double slope = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
      INFO(part << (proposals ? " proposals" : " learned"));
      CAPTURE(config.neck_layers, config.box_attention);
      CHECK(slope == Catch::Approx(along).epsilon(0.05).margin(0.5));
    }
  }
}

TEST_CASE("a layer's boxes train its change and that of the layer before, no further back",
          "[unit]") {
  for (const bool proposals : {true, false}) {
    HeadConfig config = small_head();
    config.proposals = proposals;
    config.num_layers = 4;
    DetectionHead head = awake_head(config);
    const Batch batch;
    const HeadOutput output = head.forward(batch.vision, batch.language, batch.layout, {});
    at::Tensor bias;  // every layer's change has it as a summand
    head.visit("", [&](const std::string& name, at::Tensor& tensor) {
      if (name == "box.2.bias") bias = tensor;
    });
    const std::vector<double> wanted{1, 2, 2, 2};
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      bias.mutable_grad().reset();
      at::logit(output.layers[i].boxes).sum().backward({}, /*retain_graph=*/true);
      const auto boxes = static_cast<double>(output.layers[i].boxes.numel()) / 4;
      CAPTURE(proposals, i);
      CHECK(bias.grad().select(0, 0).item<double>() ==
            Catch::Approx(wanted[i] * boxes).epsilon(1e-3));
    }
  }
}

TEST_CASE("proposals' boxes learn from the matched tokens as from the graph of all", "[unit]") {
  HeadConfig config = small_head();
  config.num_layers = 1;  // aux_ has proposals alone
  config.denoising_groups = 0;
  DetectionHead head = awake_head(config);
  const Batch batch;
  const HeadOutput output = head.forward(batch.vision, batch.language, batch.layout, {});
  CHECK_FALSE(output.proposal_boxes.requires_grad());
  for (const LossTerm& term :
       head.loss(output, batch.targets, {}, loss_options(0), batch.embedding))
    if (term.name == "aux_box_l1" || term.name == "aux_giou")
      term.sum.backward({}, /*retain_graph=*/true);

  std::map<std::string, at::Tensor> named, grads;
  head.visit("", [&](const std::string& name, at::Tensor& tensor) {
    named[name] = tensor;
    grads[name] = tensor.grad();
  });
  Mlp whole({config.hidden_size, config.hidden_size, 4});
  whole.visit("proposal_box.", [&](const std::string& name, at::Tensor& tensor) {
    tensor = named.at(name).detach().clone().requires_grad_(true);
  });
  const at::Tensor boxes =
      token_boxes(whole, output.fused.detach(), output.anchors).sigmoid().flatten(0, 1);
  const Predictions all{boxes, output.proposal_logits.detach().flatten()};
  PredictionSet set{"", 0, batch.layout.width, batch.layout.counts, {}, {}};
  set.matches = match_set({boxes.detach(), all.logits}, set, batch.targets, loss_options(0), {});
  REQUIRE(set.matches.size() == 3);
  const std::vector<LossTerm> terms = terms_of(all, {&set, 1}, batch.targets, loss_options(0));
  (terms[0].sum + terms[1].sum).backward();
  whole.visit("proposal_box.", [&](const std::string& name, at::Tensor& tensor) {
    INFO(name);
    CHECK(tensor.grad().abs().max().item<float>() > 0);
    CHECK(at::allclose(grads.at(name), tensor.grad(), 1e-4, 1e-6));
  });
}

TEST_CASE("a caption's loss is that of its tokens, one after another", "[unit]") {
  const Batch batch;
  const DetectionHead head = awake_head(small_head());
  const at::Tensor queries = noise(8, {2, 16});
  const CaptionIds shorter{4}, longer{7, 2, 9};
  const std::vector<const CaptionIds*> both{&shorter, &longer};
  const CaptionTable table = head.captions().table(batch.embedding);
  const double together = head.captions().loss_sum(queries, both, table).item<double>();
  double apart = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    apart += head.captions()
                 .loss_sum(queries.narrow(0, static_cast<std::int64_t>(i), 1), {&both[i], 1}, table)
                 .item<double>();
  }
  CHECK(together == Catch::Approx(apart));
  const at::Tensor first = head.captions().first_log_probs(queries, CaptionIds{4, 7}, table);
  const CaptionIds empty;
  const std::vector<const CaptionIds*> ends{&empty};
  const at::Tensor end = head.captions().first_log_probs(queries, CaptionIds{kEnd}, table);
  CHECK(head.captions().loss_sum(queries.narrow(0, 0, 1), ends, table).item<double>() ==
        Catch::Approx(-end[0][0].item<double>()));
  CHECK(first.exp().max().item<float>() < 1);
  const CaptionIds endless{1, 2, 3, 4, 5};
  const std::vector<const CaptionIds*> one{&endless};
  CHECK_THROWS_AS(head.captions().loss_sum(queries.narrow(0, 0, 1), one, table), DataError);
}

// Teacher forcing over what was decoded must give back the decoder's own probability.
TEST_CASE("decoding agrees with the loss", "[unit]") {
  const Batch batch;
  HeadConfig config = small_head();
  for (const std::int64_t layers : {0, 2}) {
    config.caption_layers = layers;
    const at::NoGradGuard no_grad;
    const at::Tensor queries = noise(9, {30, 16}) * 2;
    const CaptionTable table = awake_head(config).captions().table(batch.embedding);
    const std::int64_t end =
        awake_head(config).captions().decode(queries, table)[0].ids[1];  // one that comes up
    const DetectionHead head = awake_head(config, end);
    const std::vector<DecodedCaption> decoded = head.captions().decode(queries, table);
    std::int64_t ended = 0;
    for (std::int64_t i = 0; i < 30; ++i) {
      CHECK(decoded[i].ids.size() <= 4);
      if (decoded[i].ids.size() == 4)
        continue;  // may have stopped for want of room: its end was not counted
      ++ended;
      const CaptionIds* ids = &decoded[i].ids;
      const double nll =
          head.captions().loss_sum(queries.narrow(0, i, 1), {&ids, 1}, table).item<double>();
      CHECK(decoded[i].log_probability == Catch::Approx(-nll).epsilon(1e-3));
    }
    CHECK(ended > 0);
  }
}

TEST_CASE("bf16 parameters still give fp32 boxes and terms", "[unit]") {
  const Batch batch;
  const DetectionHead head{small_head(), {kText, kText}, kEnd, 5, at::kBFloat16, at::kCPU};
  const DenoisingQueries denoising = make_denoising(batch.targets, 2, 0.4, 77);
  const HeadOutput output = head.forward(batch.vision.to(at::kBFloat16),
                                         batch.language.to(at::kBFloat16), batch.layout, denoising);
  CHECK(output.layers[1].boxes.scalar_type() == at::kFloat);
  for (const LossTerm& term : head.loss(output, batch.targets, denoising, loss_options(1),
                                        batch.embedding.to(at::kBFloat16))) {
    INFO(term.name);
    CHECK(term.sum.scalar_type() == at::kFloat);
    CHECK(term.sum.isfinite().item<bool>());
  }
}

TEST_CASE("settings survive json, and impossible ones are all named", "[unit]") {
  HeadConfig config = small_head();
  config.use_language = false;
  CHECK(head_to_json(head_from_json(head_to_json(config))) == head_to_json(config));
  nlohmann::json extra = head_to_json(config);
  extra["colour"] = 1;
  CHECK_THROWS_AS(head_from_json(extra), CheckpointError);
  extra.erase("colour");
  extra.erase("num_heads");
  CHECK_THROWS_AS(head_from_json(extra), CheckpointError);
  config.num_heads = 3;
  config.num_layers = 0;
  try {
    make_head(config);
    FAIL("accepted");
  } catch (const ConfigError& error) {
    const std::string what = error.what();
    CHECK(what.find("num_heads 3") != std::string::npos);
    CHECK(what.find("num_layers 0") != std::string::npos);
  }
}

}  // namespace
}  // namespace muster::model
