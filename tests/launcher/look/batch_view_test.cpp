// `muster look CONFIG`: what is shown is what is trained.
#include "launcher/look/batch_view.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "launcher/look/painted.h"
#include "launcher/look/trained_picture.h"
#include "trainer/assembly/run_data.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using nlohmann::ordered_json;

namespace {

constexpr test::Colour kWhite{255, 255, 255};
constexpr test::Colour kRed{220, 20, 20};
constexpr test::PixelBox kBox{60, 20, 140, 70};  // painted red

struct PaintedRun {
  TempDir dir{"muster-look"};
  configs::Config config;

  explicit PaintedRun(std::vector<std::string> overrides = {}) {
    std::vector<data::Sample> samples;
    for (int i = 0; i < 3; ++i) {
      data::Image image = test::plain(200, 100, kWhite);
      test::paint(image, kBox, kRed);
      const std::string name = "s" + std::to_string(i);
      const fs::path file = test::save_png(dir.path() / (name + ".png"), image);
      samples.push_back(
          test::sample(name, {file}, 200, 100, {test::object(kBox, 3, "red rectangle")}));
    }
    const fs::path pack = dir.path() / "painted.h5";
    data::write_pack(pack, samples, {{3, "red rectangle"}});
    overrides.insert(overrides.end(),
                     {"data.train=" + pack.string(), "loss.lm=1", "data.answer=json"});
    config = test::tiny_config(dir.path() / "run", overrides);
  }
  View look(const LookOptions& options = {}) const {
    return look_at_batches("painted.yaml", config, options);
  }
};

bool is_red(const data::Image& image, double x, double y) {
  const auto at = static_cast<std::size_t>(
      (static_cast<std::int64_t>(y) * image.width + static_cast<std::int64_t>(x)) * 3);
  return image.rgb[at] > 160 && image.rgb[at + 1] < 110;
}

}  // namespace

TEST_CASE("look at a config: the picture is the one that the model is shown", "[unit]") {
  data::Image image = test::plain(112, 56, kWhite);
  test::paint(image, {28, 3, 61, 40}, {13, 77, 201});
  data::PatchOptions patches;
  patches.mean = {0.48145466, 0.4578275, 0.40821073};
  patches.std = {0.26862954, 0.26130258, 0.27577711};
  patches.min_pixels = 784;
  patches.max_pixels = 112 * 56;
  const data::Grid grid = data::patch_grid(56, 112, patches);
  std::vector<float> rows(static_cast<std::size_t>(grid.patches() * patches.patch_dim()));
  data::patchify(image, patches, rows);
  const data::Image back = trained_picture(rows, grid, patches);
  CHECK(back.width == 112);
  CHECK(back.rgb == image.rgb);  // no resizing was due, so every byte comes back
}

TEST_CASE("look at a config: boxes lie on what is painted, after resizing", "[unit]") {
  const PaintedRun run;
  const View view = run.look();
  REQUIRE(view.num_samples == 3);
  const ordered_json sample = view.sample(0);
  CHECK(sample["boxes"] == ordered_json{kBox});  // as stored
  const ordered_json& trained = sample["trained"];
  CHECK(trained["images"][0]["size"] == ordered_json{196, 112});
  CHECK(trained["images"][0]["vision_tokens"] == 28);
  CHECK(trained["labels"] == ordered_json{"red rectangle"});
  const auto box = trained["boxes"][0].get<std::vector<double>>();
  CHECK(box[0] == Approx(60 * 0.98).margin(0.01));
  CHECK(box[3] == Approx(70 * 1.12).margin(0.01));

  const trainer::ShownPicture picture = view.page().sections[0].cards[0].pictures[0];
  const data::Image seen = data::decode_image(std::as_bytes(std::span(picture.jpeg)), "page");
  const auto [x1, y1, x2, y2] = picture.boxes.front().box;
  for (const double x : {x1 + 3, x2 - 3})
    for (const double y : {y1 + 3, y2 - 3}) CHECK(is_red(seen, x, y));
  for (const double x : {x1 - 4, x2 + 4}) CHECK_FALSE(is_red(seen, x, (y1 + y2) / 2));
  for (const double y : {y1 - 4, y2 + 4}) CHECK_FALSE(is_red(seen, (x1 + x2) / 2, y));
}

TEST_CASE("look at a config: prompt and answer, and which of them is learned", "[unit]") {
  const PaintedRun run;
  std::string learned;
  std::string given;
  std::int64_t tokens = 0;
  const ordered_json sample = run.look().sample(0);
  for (const ordered_json& text : sample["trained"]["text"]) {
    (text["loss"].get<bool>() ? learned : given) += text["text"].get<std::string>();
    tokens += text["tokens"].get<std::int64_t>();
  }
  CHECK_THAT(given,
             ContainsSubstring("Detect all shapes.") && ContainsSubstring("<|image_pad|> x 28"));
  // The box as the answer says it: rounded pixels of the resized picture.
  CHECK_THAT(learned, ContainsSubstring("[59, 22, 137, 78]") && ContainsSubstring("red rectangle"));
  CHECK(tokens == sample["trained"]["tokens"]);
}

TEST_CASE("look at a config: what the vision-token budget does", "[unit]") {
  const PaintedRun shrunk({"data.max_vision_tokens=10", "data.over_budget=resize"});
  const View view = shrunk.look();
  CHECK(view.facts["resized"] == 3);
  const ordered_json image = view.sample(0)["trained"]["images"][0];
  CHECK(image["shrunk"] == true);
  CHECK(image["vision_tokens"] <= 10);
  CHECK_THAT(view.page().sections[0].cards[0].pictures[0].note,
             ContainsSubstring("stored 200 x 100, trained at") &&
                 ContainsSubstring("shrunk to fit the budget"));
}

TEST_CASE("look at a config: -n and --sample choose, in the order of training", "[unit]") {
  const PaintedRun run;
  LookOptions options;
  options.first = 1;
  const std::int64_t seen = run.look(options).num_samples;
  CHECK(seen >= 1);  // the whole of the first micro-batch
  CHECK(seen <= 2);
  options.samples = {"s1"};
  const View view = run.look(options);
  REQUIRE(view.num_samples == 1);
  CHECK(view.sample(0)["name"] == "s1");
}

TEST_CASE("look at a config: of several packs each sample says which one it is from", "[unit]") {
  PaintedRun run;
  const std::string first = run.config.data.train.front().pack;
  const fs::path second = run.dir.path() / "second.h5";
  fs::copy_file(first, second);
  CHECK_THAT(run.look().page().sections[0].cards[0].note, !ContainsSubstring(first));
  run.config.data.train.push_back({.pack = second.string(), .weight = 2});
  const View view = run.look();
  CHECK(view.num_samples == 9);
  CHECK(view.facts["packs"][1] ==
        ordered_json{{"path", second.string()}, {"weight", 2.0}, {"num_samples", 3}});
  std::int64_t from_second = 0;
  for (std::int64_t k = 0; k < view.num_samples; ++k)
    from_second += view.sample(k)["pack"] == second.string() ? 1 : 0;
  CHECK(from_second == 6);  // of weight 2

  const trainer::Gallery page = view.page();
  CHECK(page.facts[1].name == "in " + first + ", weight 1");
  CHECK(page.facts[2].value == "3");
  CHECK_THAT(page.sections[0].cards[0].note,
             ContainsSubstring(view.sample(0)["pack"].get<std::string>()));
}
