// `muster look RUN_DIR`: predictions beside the truth.
#include "launcher/look/run_view.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "launcher/look/painted.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using nlohmann::ordered_json;

namespace {

// Two pictures of data.val; a run folder without a checkpoint, with the detections that it left.
struct FinishedRun {
  TempDir dir{"muster-look"};
  fs::path run = dir.path() / "run";

  explicit FinishedRun(const Json& detections) {
    const data::Image image = test::plain(100, 100, {90, 90, 90});
    const fs::path file = test::save_png(dir.path() / "a.png", image);
    const fs::path other = test::save_png(dir.path() / "b.png", test::plain(100, 100, {9, 9, 9}));
    const std::vector<data::Sample> samples = {
        test::sample("good", {file}, 100, 100, {test::object({10, 10, 50, 50}, 1, "red ellipse")}),
        test::sample("bad", {other}, 100, 100,
                     {test::object({10, 10, 50, 50}, 1, "red ellipse"),
                      test::object({60, 60, 90, 90}, 2, "blue rectangle")})};
    const fs::path pack = dir.path() / "val.h5";
    data::write_pack(pack, samples, {{1, "red ellipse"}, {2, "blue rectangle"}});
    fs::create_directories(run / "predictions");
    write_text(run / "config.yaml",
               configs::to_yaml(test::tiny_config(
                   run, {"data.val=" + pack.string(), "detection.score_threshold=0.3"})));
    write_text(run / "predictions" / "detections.json", detections.dump());
  }
};

Json detection(const std::vector<double>& box, double score, const std::string& caption) {
  return {{"box", box}, {"score", score}, {"caption", caption}, {"category_id", 1}};
}

Json image(const std::string& name, const Json& detections) {
  return {{"image", name}, {"width", 100}, {"height", 100}, {"detections", detections}};
}

Json hand_made() {
  return {image("good", Json::array({detection({10, 10, 50, 48}, 0.9, "red ellipse")})),
          image("bad", {detection({11, 10, 50, 50}, 0.8, "Red Ellipse "),
                        detection({60, 60, 90, 90}, 0.7, "red ellipse"),
                        detection({0, 0, 5, 5}, 0.6, "nothing known"),
                        detection({60, 60, 90, 90}, 0.2, "blue rectangle")})};
}

}  // namespace

TEST_CASE("look at a run: found, false and missed, the worst picture first", "[unit]") {
  const FinishedRun finished(hand_made());
  const View view = look_at_run(finished.run, {});
  REQUIRE(view.num_samples == 2);
  CHECK(view.facts["found"] == 2);
  CHECK(view.facts["false"] == 2);
  CHECK(view.facts["missed"] == 1);  // its only prediction lies below the threshold
  CHECK(view.facts["precision"] == 0.5);
  const ordered_json bad = view.sample(0);
  CHECK(bad["name"] == "bad");
  CHECK(bad["predictions"].size() == 3);
  CHECK(bad["predictions"][0]["verdict"] == "found");
  CHECK(bad["predictions"][1]["verdict"] == "false");
  CHECK(bad["predictions"][2]["verdict"] == "false");
  CHECK(bad["missed"] == 1);
  CHECK(view.sample(1)["name"] == "good");
  CHECK(view.sample(1)["found"] == 1);
  CHECK(view.sample(1)["boxes"] == ordered_json{{10.0, 10.0, 50.0, 50.0}});
}

TEST_CASE("look at a run: the page marks each box", "[unit]") {
  const FinishedRun finished(hand_made());
  const trainer::Gallery page = look_at_run(finished.run, {}).page();
  CHECK(page.threshold == 0.3);
  const std::vector<trainer::ShownBox>& boxes = page.sections[0].cards[0].pictures[0].boxes;
  REQUIRE(boxes.size() == 6);
  using trainer::Verdict;
  CHECK(boxes[0].verdict == Verdict::kTruth);
  CHECK(boxes[0].score.value() > 0.79);  // of the prediction that found it
  CHECK(boxes[1].score.value() < 0.21);
  CHECK(boxes[2].verdict == Verdict::kFound);
  CHECK(boxes[3].verdict == Verdict::kFalse);
  CHECK_THAT(boxes[3].note, ContainsSubstring("IoU 1.00 with blue rectangle"));
  CHECK_THAT(trainer::render_gallery(page),
             ContainsSubstring("data-v=\"fp\"") && ContainsSubstring("Worst first"));
}

TEST_CASE("look at a run: what cannot be looked at is said", "[unit]") {
  const FinishedRun finished(hand_made());
  write_text(finished.run / "predictions" / "detections.json", R"([{"image": "good"}])");
  CHECK_THROWS_WITH(look_at_run(finished.run, {}),
                    ContainsSubstring("detections.json: not as muster writes it"));
  write_text(finished.run / "config.yaml",
             configs::to_yaml(test::tiny_config(finished.run, {"data.val=\"\""})));
  CHECK_THROWS_WITH(look_at_run(finished.run, {}), ContainsSubstring("data.val is empty"));
}

TEST_CASE("look at a run: a checkpoint predicts what the run did not", "[unit]") {
  const TempDir dir("muster-look");
  const configs::Config config =
      test::tiny_config(dir.path() / "run", {"schedule.max_steps=2", "checkpoint.every_steps=2"});
  test::run_on(config, sharding::make_self());
  const fs::path run = dir.path() / "run";
  write_text(run / "config.yaml", configs::to_yaml(config));
  fs::remove_all(run / "predictions");
  LookOptions options;
  options.first = 3;
  const View view = look_at_run(run, options);
  CHECK(view.num_samples == 3);
  CHECK_THAT(view.facts["predictions"].get<std::string>(), ContainsSubstring("step-000002"));
}
