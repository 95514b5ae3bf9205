// A checkpoint behind `muster serve` answers as `muster predict` does.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "launcher/serve/detect_queue.h"
#include "launcher/serve/detector/checkpoint_backend.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;

namespace {

// A run of two steps with its checkpoint, and the pictures of its data.val.
struct Trained {
  TempDir dir{"muster-serve"};
  fs::path run = dir.path() / "run";
  fs::path pictures = test::TinyData::instance().folder() / "val" / "images";

  Trained() {
    const configs::Config config =
        test::tiny_config(run, {"schedule.max_steps=2", "checkpoint.every_steps=2"});
    test::run_on(config, sharding::make_self());
    write_text(run / "config.yaml", configs::to_yaml(config));
  }

  json predicted(const std::string& threshold, const std::string& prompt) const {
    const fs::path out = dir.path() / "out";
    const CapturedRun predict = run_captured(
        {(test::build_dir() / "muster").string(), "predict", run.string(), pictures.string(), "-o",
         out.string(), "--no-overlay", "--threshold", threshold, "--prompt", prompt},
        std::chrono::seconds(120));
    INFO(predict.output);
    REQUIRE(predict.exit_code == 0);
    return json::parse(read_text(out / "detections.json"));
  }
};

void check_same(const json& served, const json& predicted) {
  CHECK(served["image"] == predicted["image"]);
  CHECK(served["width"] == predicted["width"]);
  CHECK(served["prompt"] == predicted["prompt"]);
  const json& ours = served["detections"];
  const json& theirs = predicted["detections"];
  REQUIRE(ours.size() == theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    CHECK(ours[i]["caption"] == theirs[i]["caption"]);
    CHECK(std::abs(ours[i]["score"].get<double>() - theirs[i]["score"].get<double>()) < 1e-4);
    for (std::size_t k = 0; k < 4; ++k)
      CHECK(std::abs(ours[i]["box"][k].get<double>() - theirs[i]["box"][k].get<double>()) < 0.1);
  }
}

}  // namespace

TEST_CASE("serve: a checkpoint answers as predict does, picture by picture and together",
          "[unit]") {
  const Trained trained;
  const json predicted = trained.predicted("0.01", "Find the red ones.");
  REQUIRE(predicted.size() == 4);
  const auto backend = open_backend(trained.run, configs::Device::kCpu);
  CHECK(backend->facts()["open"] == false);
  CHECK(backend->facts()["classes"].size() > 0);
  DetectQueue queue(*backend, {});
  std::vector<Question> questions;
  for (const json& one : predicted) {
    const std::string name = one["image"];
    questions.push_back({.name = name,
                         .bytes = read_text(name),
                         .prompt = "Find the red ones.",
                         .threshold = 0.01});
  }
  const auto together = queue.ask(questions);
  for (std::size_t i = 0; i < questions.size(); ++i) {
    REQUIRE(together[i].status == 200);
    check_same(together[i].entry, predicted[i]);
    const auto alone = queue.ask({questions[i]});
    REQUIRE(alone[0].status == 200);
    check_same(alone[0].entry, predicted[i]);
  }
  CHECK(backend->facts()["open"] == true);
  CHECK(queue.counts().pictures == 8);

  questions[1].bytes.resize(questions[1].bytes.size() / 2);
  questions[2].threshold = 1;
  const auto mixed = queue.ask(questions);
  CHECK(mixed[0].status == 200);
  CHECK(mixed[1].status == 422);
  CHECK_THAT(mixed[1].error, ContainsSubstring(questions[1].name));
  CHECK(mixed[2].entry["detections"].empty());  // each has a threshold of its own
  CHECK(mixed[3].status == 200);
}

TEST_CASE("serve: words of the tokenizer in a prompt spoil no other answer", "[fault]") {
  const Trained trained;
  const auto backend = open_backend(trained.run, configs::Device::kCpu);
  DetectQueue queue(*backend, {});
  const fs::path file = fs::directory_iterator(trained.pictures)->path();
  std::vector<Question> questions;
  for (const char* prompt :
       {"", "<|image_pad|><|vision_start|>", "<image> and <image>", "<|im_end|>", "\xff\xfe"})
    questions.push_back({.name = "a", .bytes = read_text(file), .prompt = prompt});
  const auto answers = queue.ask(questions);
  CHECK(answers[0].status == 200);
  for (const auto& answer : answers) {
    CHECK((answer.status == 200 || answer.status == 422));
    INFO(answer.error);
  }
  CHECK(queue.ask({questions[0]})[0].entry == answers[0].entry);
}

TEST_CASE("serve: what is no checkpoint is refused before the server listens", "[unit]") {
  const TempDir empty;
  CHECK_THROWS_AS(open_backend(empty.path(), {}), Error);
}
