// Which words open captions can say, from the pack to a trained detector.
#include "trainer/assembly/captions.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/process/atomic_file.h"
#include "model/eval_mode.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/first_micro_batch.h"
#include "trainer/assembly/run_data.h"
#include "trainer/log_capture.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using Ids = std::vector<std::int64_t>;

// The tiny run's scenes of `split`, where one caption is written in other words.
fs::path reworded_pack(const std::string& split, const std::string& from, const std::string& to) {
  const fs::path folder = test::TinyData::instance().folder();
  nlohmann::json scenes = nlohmann::json::parse(read_text(folder / split / "annotations.json"));
  for (nlohmann::json& annotation : scenes["annotations"])
    if (annotation["caption"] == from) annotation["caption"] = to;
  const fs::path file = folder / split / ("reworded-" + to + ".json");
  write_text(file, scenes.dump());
  const fs::path pack = folder / (split + "-" + to + ".h5");
  data::pack_source(data::read_source(file, "coco", ""), pack, false, false);
  return pack;
}

std::int64_t times_said(const data::SampleSet& set, const std::string& caption) {
  std::int64_t times = 0;
  for (std::int64_t i = 0; i < set.size(); ++i)
    times += std::ranges::count(set.sample(i).objects, caption, &data::Object::caption);
  return times;
}

// What the tiny run's scenes show most: the first caption of the validation set.
std::string shown_caption() {
  const data::SampleSet set = data::open_set({test::TinyData::instance().folder() / "val.h5"}, 0);
  return set.sample(0).objects.front().caption;
}

const std::string kRoom = "detection.caption_max_tokens=16";  // of words that the tokenizer spells

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

TEST_CASE("caption words: the token ids of data.train's captions and the end", "[unit]") {
  const TempDir dir;
  const configs::Config config = test::tiny_config(dir.path());
  const data::Tokenizer tokenizer(config.tokens.tokenizer);
  const data::SampleSet set = open_training_set(config);
  std::set<std::int64_t> expected{*tokenizer.token_id("<|im_end|>")};
  for (std::int64_t i = 0; i < set.size(); ++i)
    for (const data::Object& object : set.sample(i).objects)
      for (const std::int64_t id : tokenizer.encode_user_text(object.caption, ""))
        expected.insert(id);
  const RunData data(config);
  CHECK(data.captions.words == Ids(expected.begin(), expected.end()));
  CHECK(data.captions.words.size() > 4);
  CHECK(data.val_captions.unsaid == 0);
  CHECK(count_caption_words(set, tokenizer, config.detection) ==
        static_cast<std::int64_t>(expected.size()));
  for (const char* other : {"detection.caption_words=all", "detection.labels=closed"}) {
    CAPTURE(other);
    const configs::Config whole = test::tiny_config(dir.path(), {other});
    CHECK(RunData(whole).captions.words.empty());
    CHECK(count_caption_words(set, tokenizer, whole.detection) == 0);
  }
}

TEST_CASE("caption words: of a mirrored picture's captions, too", "[unit]") {
  const TempDir dir;
  const fs::path pack = reworded_pack("train", shown_caption(), "left glove");
  const configs::Config config =
      test::tiny_config(dir.path(), {"data.train=" + pack.string(), kRoom});
  const RunData data(config);
  for (const std::int64_t id : data.tokenizer.encode_user_text("right glove", ""))
    CHECK(std::ranges::binary_search(data.captions.words, id));
}

TEST_CASE("caption words: the start warns once of captions of data.val that cannot be said",
          "[ranks]") {
  const TempDir dir;
  const fs::path pack = reworded_pack("val", shown_caption(), "quick zebra");
  const std::vector<std::string> set = {"data.val=" + pack.string(), kRoom, "schedule.max_steps=1",
                                        "eval.every_steps=0"};
  const configs::Config config = test::tiny_config(dir.path(), set);
  const data::SampleSet val = data::open_set({pack}, 0);
  std::int64_t objects = 0;
  for (std::int64_t i = 0; i < val.size(); ++i)
    objects += static_cast<std::int64_t>(val.sample(i).objects.size());
  const std::int64_t unsaid = times_said(val, "quick zebra");
  REQUIRE(unsaid > 0);
  REQUIRE(unsaid < objects);
  {
    const RunData data(config);
    CHECK(data.val_captions.unsaid == unsaid);
    CHECK(data.val_captions.captions == objects);
  }
  const std::string warning = std::to_string(unsaid) + " of " + std::to_string(objects) +
                              " captions of data.val have words that data.train's do not have, "
                              "the first is \"quick zebra\" of ";
  const test::LogCapture log;
  test::run_threads(config, 2);
  CHECK(occurrences(log.text(), warning) == 1);
  CHECK(occurrences(log.text(), "detection.caption_words: all") == 1);
  std::vector<std::string> whole = set;
  whole.insert(whole.end(), {"detection.caption_words=all", "checkpoint.resume=false"});
  test::run_threads(test::tiny_config(dir.path(), whole), 1);
  CHECK(occurrences(log.text(), "captions of data.val have words") == 1);
}

// The validation loss of captions that cannot be said is that of what is left of them.
TEST_CASE("caption words: validation goes on where captions cannot be said", "[ranks]") {
  const TempDir dir;
  const fs::path pack = reworded_pack("val", shown_caption(), "slow zebra");
  const configs::Config config =
      test::tiny_config(dir.path(), {"data.val=" + pack.string(), kRoom, "schedule.max_steps=2",
                                     "eval.every_steps=2", "eval.loss=true"});
  test::run_threads(config, 2);
  const nlohmann::json line = nlohmann::json::parse([&] {
    const std::string text = read_text(dir.path() / "metrics.jsonl");
    return text.substr(text.rfind('\n', text.size() - 2) + 1);
  }());
  REQUIRE(line.contains("eval.loss.caption"));
  CHECK(line.at("eval.loss.caption").get<double>() > 0);
  CHECK(line.at("eval.loss.caption").get<double>() < 20);
}

std::set<std::int64_t> ids_said(model::Detector& detector, const MicroBatch& batch) {
  const model::EvalMode evaluating(detector);
  std::set<std::int64_t> ids;
  for (const std::vector<model::Detection>& image : detector.detect(batch))
    for (const model::Detection& found : image)
      ids.insert(found.caption.begin(), found.caption.end());
  return ids;
}

TEST_CASE("caption words: a detector says them and no others, also where it is loaded", "[ranks]") {
  const TempDir dir;
  const configs::Config config = test::tiny_config(dir.path(), {"schedule.max_steps=2"});
  const RunData data(config);
  const MicroBatch batch = first_micro_batch(data);
  const Ids& words = data.captions.words;
  model::Detector whole = build_detector(config, data.tokenizer, data.train.class_map());
  CHECK_FALSE(std::ranges::includes(words, ids_said(whole, batch)));
  model::Detector bound = build_detector(config, data.tokenizer, data.train.class_map(), words);
  CHECK_FALSE(ids_said(bound, batch).empty());
  CHECK(std::ranges::includes(words, ids_said(bound, batch)));
  test::run_threads(config, 2);
  const fs::path folder = dir.path() / "checkpoints/step-000002";
  model::Detector loaded =
      load_detector(configs::load(folder / "config.yaml"), folder, data.tokenizer);
  CHECK(loaded.head_config().caption_tokens == words);
  CHECK(std::ranges::includes(words, ids_said(loaded, batch)));
}

TEST_CASE("resume: other caption words are refused, by the setting and by the pack",
          "[ranks][fault]") {
  const TempDir dir;
  // 24 samples, 8 a step: the checkpoint ends an epoch, after which another pack may be trained.
  test::run_threads(test::tiny_config(dir.path(), {kRoom, "schedule.max_steps=3"}), 1);
  CHECK_THROWS_MATCHES(
      test::run_threads(test::tiny_config(dir.path(), {kRoom, "detection.caption_words=all"}), 2),
      ConfigError,
      MessageMatches(ContainsSubstring("(R-027)") &&
                     ContainsSubstring("detection.caption_words is pack there and all here")));
  const fs::path pack = reworded_pack("train", shown_caption(), "calm zebra");
  CHECK_THROWS_MATCHES(
      test::run_threads(test::tiny_config(dir.path(), {kRoom, "data.train=" + pack.string()}), 2),
      ConfigError,
      MessageMatches(ContainsSubstring("(R-027)") &&
                     ContainsSubstring("the words of captions differ: ")));
  CHECK(fs::exists(dir.path() / "checkpoints/step-000003"));  // not called damaged
}

TEST_CASE("resume: the words of captions stop no run that says them all", "[ranks]") {
  const TempDir dir;
  const std::string all = "detection.caption_words=all";
  test::run_threads(test::tiny_config(dir.path(), {kRoom, all, "schedule.max_steps=3"}), 1);
  const fs::path pack = reworded_pack("train", shown_caption(), "loud zebra");
  const auto rest = test::run_threads(
      test::tiny_config(dir.path(),
                        {kRoom, all, "schedule.max_steps=4", "data.train=" + pack.string()}),
      1);
  CHECK(rest.front().losses.size() == 1);
}

}  // namespace
}  // namespace muster::trainer
