// Training on samples of every kind at once: with boxes, without an annotation, of words alone, of
// several pictures and turns.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "data/sample_set.h"
#include "trainer/tiny_run.h"

namespace muster {
namespace {

using data::Role;

data::Sample words_about(data::Sample sample, const std::string& name) {
  sample.name = name;
  sample.objects.clear();
  sample.boxed = false;
  sample.turns = {{Role::kUser, "What is it?", false}, {Role::kAssistant, "a scene", false}};
  return sample;
}

// Some boxed samples and as many of every other kind.
fs::path mixed_pack(const fs::path& folder) {
  const auto source =
      data::read_source(test::TinyData::instance().folder() / "train/annotations.json", "coco", "");
  std::vector<data::Sample> samples;
  for (std::size_t i = 0; i < 6; ++i) {
    const data::Sample& boxed = source.samples.at(i);
    samples.push_back(boxed);
    samples.push_back(words_about(boxed, boxed.name + "-words"));
    data::Sample text;
    text.name = boxed.name + "-text";
    text.turns = {{Role::kUser, "why?", false}, {Role::kAssistant, "so", false}};
    samples.push_back(text);
    data::Sample two = boxed;
    two.name += "-two";
    two.pictures.push_back(source.samples.at(i + 1).pictures[0]);
    two.turns = {{Role::kUser, "first?", false},
                 {Role::kAssistant, "", true},
                 {Role::kUser, "both?", false},
                 {Role::kAssistant, "yes", false}};
    for (data::Object& object : two.objects) object.turn = 1;
    samples.push_back(two);
  }
  data::write_pack(folder / "mixed.h5", samples, source.categories);
  return folder / "mixed.h5";
}

// Samples that nobody annotated, and nothing else.
fs::path words_pack(const fs::path& folder) {
  const auto source =
      data::read_source(test::TinyData::instance().folder() / "train/annotations.json", "coco", "");
  std::vector<data::Sample> samples;
  for (std::size_t i = 0; i < 8; ++i)
    samples.push_back(words_about(source.samples.at(i), source.samples.at(i).name));
  data::write_pack(folder / "words.h5", samples, source.categories);
  return folder / "words.h5";
}

}  // namespace

TEST_CASE("samples of every kind train alike on one rank and on two", "[unit]") {
  const TempDir dir;
  const std::string pack = "data.train=" + mixed_pack(dir.path()).string();
  const auto config = [&](const char* run) {
    return test::tiny_config(dir.path() / run, {pack, "data.answer=json", "loss.lm=1",
                                                "schedule.max_steps=4", "batch.max_samples=1"});
  };
  const auto one = test::run_threads(config("one"), 1), two = test::run_threads(config("two"), 2);
  CHECK(one[0] == two[0]);
  CHECK(two[0] == two[1]);
  for (const double loss : one[0].losses) CHECK((std::isfinite(loss) && loss > 0));
}

TEST_CASE("a run without any annotated picture trains the language model alone", "[unit]") {
  const TempDir dir;
  const std::string pack = "data.train=" + words_pack(dir.path()).string();
  const auto result = test::run_threads(
      test::tiny_config(dir.path() / "run",
                        {pack, "data.answer=json", "loss.lm=1", "schedule.max_steps=2"}),
      2);
  CHECK(result[0] == result[1]);
  CHECK(result[0].losses.size() == 2);
}

}  // namespace muster
