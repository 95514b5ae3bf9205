#include "trainer/evaluate/evaluate.h"

#include <catch2/catch_test_macros.hpp>
#include <set>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "data/images/codec.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

data::Object object(std::array<double, 4> box, std::int64_t picture = 0) {
  return {.box = box, .category = 1, .caption = "cell", .area = 1, .picture = picture};
}

// Two questions about one picture (id 9), one sample that nobody annotated, one of two pictures.
struct Referring {
  Referring() {
    const std::vector<std::byte> png =
        data::encode_png({40, 30, std::vector<std::uint8_t>(40 * 30 * 3, 7)});
    const fs::path picture = dir.path() / "a.png";
    write_text(picture, {reinterpret_cast<const char*>(png.data()), png.size()});
    const data::Picture shown{.path = picture, .width = 40, .height = 30};
    std::vector<data::Sample> samples(4);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      samples[i].name = std::to_string(i);
      samples[i].pictures = {shown};
      samples[i].source_id = 9;
    }
    samples[0].objects = {object({0, 0, 10, 10})};
    samples[1].objects = {object({20, 20, 30, 30})};
    samples[2].boxed = false;
    samples[3].source_id = 4;
    samples[3].pictures = {shown, shown};
    samples[3].objects = {object({1, 1, 5, 5}, 1)};
    data::write_pack(dir.path() / "p.h5", samples, {{1, "cell"}});
  }
  TempDir dir;
  data::SampleSet set() const { return data::open_set({dir.path() / "p.h5"}); }
};

EvalBox found(std::int64_t image_id, double x, double y) {
  return {.image_id = image_id, .category_id = 1, .xywh = {x, y, 10, 10}, .score = 0.9};
}

TEST_CASE("evaluation: each sample's picture is an image of its own", "[unit]") {
  const Referring data;
  const data::SampleSet set = data.set();
  const EvalImages images = eval_images(set, 0);
  CHECK(images.first == std::vector<std::int64_t>{0, 1, 2, 4});     // the third is not annotated
  CHECK(images.image_id == std::vector<std::int64_t>{2, 3, 0, 1});  // in the order of source ids
  const CocoGroundTruth truth = ground_truth(set, images);
  REQUIRE(truth.boxes.size() == 3);
  CHECK((truth.boxes[0].image_id == 2 && truth.boxes[1].image_id == 3 &&
         truth.boxes[2].image_id == 1));
  // The answer to one question is no answer to the other, though the picture is the same.
  const auto right = evaluate_coco(truth, {found(2, 0, 0), found(3, 20, 20)});
  const auto swapped = evaluate_coco(truth, {found(2, 20, 20), found(3, 0, 0)});
  CHECK(right.metrics.at("AR100") > 0.6);
  CHECK(swapped.metrics.at("AP50") == 0);
}

TEST_CASE("evaluation: of each pack the first so many samples", "[unit]") {
  const Referring data;
  const fs::path pack = data.dir.path() / "p.h5";
  const data::SampleSet set = data::open_set({pack, pack});
  CHECK(eval_images(set, 1).sample == std::vector<std::int64_t>{0, 4});
  CHECK(eval_images(set, 0).sample == std::vector<std::int64_t>{0, 1, 3, 4, 5, 7});
}

TEST_CASE("evaluation: what nobody annotated is in the batches of the loss alone", "[unit]") {
  const Referring data;
  const data::SampleSet set = data.set();
  const TempDir dir;
  const configs::Config config = test::tiny_config(dir.path());
  const data::Tokenizer tokenizer(config.tokens.tokenizer);
  const data::SampleEncoder encoder(
      tokenizer, encode_options(config, model::read_config(find_model(config.model))));
  const auto in = [](const SampleBatches& batches) {
    std::set<std::int64_t> samples;
    for (const std::vector<std::int64_t>& batch : batches)
      samples.insert(batch.begin(), batch.end());
    return samples;
  };
  const EvalBatches all = eval_batches(set, encoder, {.limits = {100000, 100000, 2}}, 2);
  CHECK(in(all.boxes) == std::set<std::int64_t>{0, 1, 3});
  CHECK(all.boxes.size() == 2);
  CHECK(in(all.all) == std::set<std::int64_t>{0, 1, 2, 3});
  CHECK(all.all.size() == 2);
  CHECK(in(eval_batches(set, encoder, {.max_samples = 1}, 1).all) == std::set<std::int64_t>{0});
}

TEST_CASE("evaluation: several packs together and each by itself", "[unit]") {
  const TempDir dir;
  const configs::Config config = test::tiny_config(dir.path());
  const data::Tokenizer tokenizer(config.tokens.tokenizer);
  const fs::path val = test::TinyData::instance().folder() / "val.h5",
                 train = test::TinyData::instance().folder() / "train.h5";
  const data::SampleEncoder encoder(
      tokenizer, encode_options(config, model::read_config(find_model(config.model))));
  model::Detector detector = build_detector(config, tokenizer, {});
  const auto self = sharding::make_self();
  // One sample a batch: then its bits do not depend on which others there are.
  const EvalOptions options{.max_samples = 4, .limits = {100000, 100000, 1}};
  const auto evaluated = [&](const std::vector<fs::path>& packs) {
    const data::SampleSet set = data::open_set(packs);
    return evaluate(detector, tokenizer, set, encoder, eval_batches(set, encoder, options, 1), {},
                    *self);
  };
  const EvalResult both = evaluated({val, train, val});
  REQUIRE(both.packs.size() == 3);
  CHECK((both.packs[0].name == "val" && both.packs[1].name == "train" &&
         both.packs[2].name == "val-2"));
  CHECK(both.packs[0].coco.metrics == both.packs[2].coco.metrics);
  CHECK(both.packs[1].coco.metrics == evaluated({train}).coco.metrics);
  CHECK(evaluated({val}).packs.empty());
  // Detections that are written out have the source's image ids, which are not ours.
  std::set<std::int64_t> ids, source_ids;
  for (const EvalBox& box : evaluated({val}).boxes) ids.insert(box.image_id);
  const data::SampleSet set = data::open_set({val});
  for (std::int64_t i = 0; i < 4; ++i) source_ids.insert(set.sample(i).source_id);
  CHECK(ids == source_ids);
  CHECK(ids != std::set<std::int64_t>{0, 1, 2, 3});
  CHECK(both.detections == 2 * evaluated({val}).detections + evaluated({train}).detections);
}

}  // namespace
}  // namespace muster::trainer
