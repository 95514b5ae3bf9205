#include "model/detector.h"
#include "model/head/files.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/tensors/compute_threads.h"
#include "model/files/safetensors_writer.h"
#include "model/head/loss_values.h"
#include "model/tiny_detector.h"

namespace muster::model {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::image_batch, test::loss_options, test::values, test::tiny_head, test::tiny_qwen;

Detector make(const HeadConfig& head = tiny_head(), std::uint64_t seed = 4) {
  QwenOptions options;
  options.keep_patches = head.use_patches;
  return Detector::create(QwenVL::random(tiny_qwen(), options, 4), head, test::kCaptionEnd, seed);
}

TEST_CASE("a step's terms reach vision, language and head", "[unit]") {
  const Detector detector = make();
  for (const NamedParam& param : detector.parameters()) param.tensor.set_requires_grad(true);
  const std::vector<LossTerm> terms =
      detector.loss(image_batch({{4, 4}, {8, 4}}, 1), loss_options(1), 5);
  at::Tensor total = at::zeros({});
  std::set<std::string> names;
  for (const LossTerm& term : terms) {
    total = total + term.sum;
    names.insert(term.name);
  }
  CHECK(names == std::set<std::string>{"lm", "box_l1", "giou", "objectness", "caption",
                                       "aux_box_l1", "aux_giou", "aux_objectness", "dn_box_l1",
                                       "dn_giou", "dn_objectness", "dn_caption"});
  total.backward();
  std::set<std::string> names_seen;
  for (const NamedParam& param : detector.parameters()) {
    INFO(param.name);
    CHECK(param.tensor.grad().defined());
    CHECK(names_seen.insert(param.name).second);
  }
  CHECK(names_seen.contains("detection_head.layers.1.cross_attention.key_value.weight"));
}

TEST_CASE("a head at rest has no graph, the language loss keeps its own", "[unit]") {
  const Detector detector = make();
  for (const NamedParam& param : detector.parameters()) param.tensor.set_requires_grad(true);
  HeadLossOptions options = loss_options(1);
  options.frozen = true;
  const std::vector<LossTerm> terms = detector.loss(image_batch({{4, 4}}, 1), options, 5);
  CHECK(terms.size() > 1);
  for (const LossTerm& term : terms) {
    INFO(term.name);
    CHECK(term.sum.requires_grad() == (term.name == "lm"));
  }
}

TEST_CASE("the loss depends on the noise seed only through denoising", "[unit]") {
  const Detector detector = make();
  const MicroBatch batch = image_batch({{4, 8}}, 1);
  const auto a = values(detector.loss(batch, loss_options(1), 5)),
             b = values(detector.loss(batch, loss_options(1), 6));
  CHECK(a == values(detector.loss(batch, loss_options(1), 5)));
  for (const auto& [name, value] : a) {
    INFO(name);
    if (name.starts_with("dn_"))
      CHECK(value != b.at(name));
    else
      CHECK(value == Catch::Approx(b.at(name)));
  }
}

TEST_CASE("a text-only batch has the language loss alone", "[unit]") {
  const Detector detector = make();
  MicroBatch batch;
  batch.input_ids = batch.labels = at::tensor({20, 21, 22, 23}, at::kLong);
  batch.cu_seqlens = {0, 4};
  batch.sample_ids = {0};
  CHECK(values(detector.loss(batch, loss_options(1), 5)).size() == 1);
}

TEST_CASE("pictures that nobody annotated take no part in the detection loss", "[unit]") {
  const auto head_gradients = [](const MicroBatch& batch) {
    HeadConfig config = tiny_head();
    config.use_language = true;
    const Detector detector = make(config);
    for (const NamedParam& param : detector.head_parameters()) param.tensor.set_requires_grad(true);
    at::Tensor total = at::zeros({});
    for (const LossTerm& term : detector.loss(batch, loss_options(1), 5)) total = total + term.sum;
    total.backward();
    std::map<std::string, at::Tensor> gradients;
    for (const NamedParam& param : detector.head_parameters())
      gradients[param.name] = param.tensor.grad();
    return gradients;
  };
  MicroBatch mixed = image_batch({{4, 4}, {8, 4}, {4, 4}}, 1);
  mixed.targets[1] = {at::zeros({0, 4}), {}, {}, false};
  // The same batch without its second picture and that picture's sample.
  MicroBatch without = image_batch({{4, 4}, {4, 4}}, 1);
  without.pixel_values =
      at::cat({mixed.pixel_values.narrow(0, 0, 16), mixed.pixel_values.narrow(0, 48, 16)});
  const auto a = head_gradients(mixed), b = head_gradients(without);
  for (const auto& [name, gradient] : b) {
    INFO(name);
    CHECK(at::allclose(a.at(name), gradient, 1e-4, 1e-6));
  }
  // Annotated with nothing is another thing: the head learns that nothing is there.
  mixed.targets[1].annotated = true;
  const auto nothing = head_gradients(mixed);
  CHECK_FALSE(at::allclose(nothing.at("detection_head.score.weight"),
                           b.at("detection_head.score.weight"), 1e-4, 1e-6));
}

TEST_CASE("a batch without an annotated picture has the language loss alone", "[unit]") {
  const Detector detector = make();
  MicroBatch batch = image_batch({{4, 4}, {8, 4}}, 1);
  for (ImageTargets& targets : batch.targets) targets = {at::zeros({0, 4}), {}, {}, false};
  const auto terms = values(detector.loss(batch, loss_options(1), 5));
  CHECK(terms.size() == 1);
  CHECK(terms.contains("lm"));
}

TEST_CASE("detections are in the image, best first, the same packed or alone", "[unit]") {
  Detector detector = make();
  detector.set_training(false);
  const MicroBatch first = image_batch({{4, 4}}, 1);
  MicroBatch both = image_batch({{4, 4}, {8, 8}}, 1);
  const std::vector<std::vector<Detection>> alone = detector.detect(first),
                                            packed = detector.detect(both);
  CHECK(packed[0].size() == 4);  // as many as it has tokens
  CHECK(packed[1].size() == 6);
  for (std::size_t image = 0; image < 2; ++image) {
    for (std::size_t i = 0; i < packed[image].size(); ++i) {
      const Detection& found = packed[image][i];
      CHECK(found.box[0] >= 0);
      CHECK(found.box[2] <= static_cast<float>(both.image_sizes[image][0]));
      CHECK(found.box[0] < found.box[2]);
      if (i > 0) CHECK(found.score <= packed[image][i - 1].score);
    }
  }
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(alone[0][i].score == Catch::Approx(packed[0][i].score).epsilon(1e-3));
}

// To the last bit.
bool same_detections(const std::vector<std::vector<Detection>>& a,
                     const std::vector<std::vector<Detection>>& b) {
  const auto same_one = [](const Detection& x, const Detection& y) {
    return x.box == y.box && x.score == y.score && x.caption == y.caption;
  };
  return std::ranges::equal(
      a, b, [&](const auto& x, const auto& y) { return std::ranges::equal(x, y, same_one); });
}

TEST_CASE("several threads at once detect what one does", "[unit]") {
  Detector detector = make();
  detector.set_training(false);
  const std::vector<MicroBatch> batches{image_batch({{4, 4}}, 1), image_batch({{4, 8}, {8, 8}}, 2),
                                        image_batch({{8, 4}}, 3)};
  const ComputeThreads one(1);
  std::vector<std::vector<std::vector<Detection>>> alone;
  for (const MicroBatch& batch : batches) alone.push_back(detector.detect(batch));
  CHECK_FALSE(same_detections(alone[0], alone[2]));  // the control: batches differ
  std::atomic<int> different = 0;
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        const ComputeThreads own(1);
        for (std::size_t i = t; i < t + 12; ++i) {
          const std::size_t k = i % batches.size();
          if (!same_detections(detector.detect(batches[k]), alone[k])) ++different;
        }
      });
  }
  CHECK(different == 0);
}

TEST_CASE("in evaluation adapters drop nothing, whatever the last step dropped", "[unit]") {
  QwenOptions options;
  options.lora = LoraOptions{
      .rank = 2, .dropout = 0.5, .seed = 3, .layers = {"model.layers.0.self_attn.q_proj"}};
  Detector detector =
      Detector::create(QwenVL::random(tiny_qwen(), options, 4), tiny_head(), test::kCaptionEnd, 4);
  for (const NamedParam& param : detector.parameters())
    if (is_lora_b(param.name)) param.tensor.fill_(0.5);  // zeros would change nothing
  const MicroBatch batch = image_batch({{4, 4}}, 1);
  detector.set_training(false);
  const auto before = detector.detect(batch);
  detector.set_training(true);
  const auto dropped = values(detector.loss(batch, loss_options(1), 5));
  CHECK(dropped.at("lm") != values(detector.loss(batch, loss_options(1), 6)).at("lm"));
  detector.set_training(false);
  CHECK(same_detections(detector.detect(batch), before));
}

// Language states are those of a patch's merged token.
TEST_CASE("a head of patches reads four times the tokens, the same packed or alone", "[unit]") {
  HeadConfig head = tiny_head();
  head.use_patches = true;
  head.num_queries = 100;
  Detector detector = make(head);
  detector.set_training(false);
  const MicroBatch both = image_batch({{4, 4}, {8, 6}}, 1);
  const auto alone = detector.detect(image_batch({{4, 4}}, 1)), packed = detector.detect(both);
  REQUIRE(packed[0].size() == 16);
  CHECK(packed[1].size() == 48);
  for (std::size_t i = 0; i < 16; ++i)
    CHECK(alone[0][i].score == Catch::Approx(packed[0][i].score).epsilon(1e-3));
}

TEST_CASE("vision alone serves a head that does not read language", "[unit]") {
  HeadConfig head = tiny_head();
  head.use_language = false;
  Detector detector = make(head);
  MicroBatch batch = image_batch({{4, 4}}, 1);
  batch.labels.fill_(kIgnoreLabel);
  const auto terms = values(detector.loss(batch, loss_options(1), 5));
  CHECK(terms.contains("box_l1"));
  CHECK_FALSE(terms.contains("lm"));
  detector.set_training(false);
  CHECK(detector.detect(batch).size() == 1);
}

TEST_CASE("the mode is asserted and the gate is asked", "[unit]") {
  Detector detector = make();
  const MicroBatch batch = image_batch({{4, 4}}, 1);
  std::set<std::string> asked;
  detector.set_forward_gate([&](std::string_view prefix) { asked.emplace(prefix); });
  CHECK_THROWS_WITH(detector.detect(batch), ContainsSubstring("training mode"));
  detector.set_training(false);
  CHECK_THROWS_WITH(detector.loss(batch, loss_options(1), 5), ContainsSubstring("evaluation mode"));
  detector.detect(batch);
  CHECK(asked.contains("detection_head."));
}

TEST_CASE("a saved head loads, another does not", "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "detection_head.safetensors";
  const Detector first = make();
  Detector second = make(tiny_head(), 99);
  first.save_head(file);
  CHECK(read_head_config(file).mlp_size == 32);
  second.load_head(file);
  const std::vector<NamedParam> a = first.head_parameters(), b = second.head_parameters();
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(at::equal(a[i].tensor, b[i].tensor));

  HeadConfig wider = tiny_head();
  wider.mlp_size = 48;
  wider.caption_layers = 2;
  Detector third = make(wider);
  CHECK_THROWS_WITH(third.load_head(file),
                    ContainsSubstring("mlp_size is 32 in the file, 48 here") &&
                        ContainsSubstring("missing detection_head.caption.layers.1.mlp.0.weight") &&
                        ContainsSubstring("detection_head.layers.0.mlp.0.weight is [32, 16]"));
  write_safetensors(file, {{"x", at::zeros({1})}});
  CHECK_THROWS_AS(third.load_head(file), CheckpointError);
}

TEST_CASE("a head of other caption words does not load", "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "detection_head.safetensors";
  HeadConfig some = tiny_head();
  some.caption_tokens = {test::kCaptionEnd, 11, 12};
  make(some).save_head(file);
  CHECK(read_head_config(file).caption_tokens == some.caption_tokens);
  Detector same = make(some, 99);
  CHECK_NOTHROW(same.load_head(file));
  HeadConfig others = some;
  others.caption_tokens.push_back(13);
  Detector other = make(others);
  CHECK_THROWS_WITH(other.load_head(file),
                    ContainsSubstring("the words of captions differ: 3 token ids in the file, 4 "
                                      "token ids here (detection.caption_words"));
  CHECK_THROWS_AS(other.load_head(file), CheckpointError);
  Detector whole = make();
  CHECK_THROWS_WITH(whole.load_head(file), ContainsSubstring("all of the vocabulary here"));
  HeadConfig closed = tiny_head();
  closed.classes = {{11}, {12}};
  Detector named = make(closed);
  CHECK_THROWS_WITH(named.load_head(file), ContainsSubstring("the class names differ"));
}

}  // namespace
}  // namespace muster::model
