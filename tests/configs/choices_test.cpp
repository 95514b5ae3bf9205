// Settings that are one of a few words: the enum, its table of names, and what YAML makes of them.
#include "configs/choices.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "configs/config_files.h"
#include "configs/fields.h"

namespace muster::configs {
namespace {

using test::ConfigFiles;
using test::Lines;

// What each choice was called before it was an enum: the words that users' files hold.
const std::map<std::string, Lines> kWords = {
    {"run.device", {"cpu", "cuda"}},
    {"model.dtype", {"fp32", "bf16", "fp16"}},
    {"data.answer", {"json", "json_1000", "labels", "none"}},
    {"data.over_budget", {"drop", "resize"}},
    {"detection.queries", {"proposals", "learned"}},
    {"detection.memory", {"vision", "vision+language", "patches", "patches+language"}},
    {"detection.cross_attention", {"memory", "boxes"}},
    {"loss.objectness_target", {"one", "iou"}},
    {"detection.labels", {"open", "closed"}},
    {"detection.caption_words", {"pack", "all"}},
    {"optimizer.master", {"fp32", "split", "none"}},
    {"optimizer.moments", {"fp32", "bf16"}},
    {"optimizer.rounding", {"nearest", "stochastic"}},
    {"schedule.kind", {"constant", "linear", "cosine", "one_cycle", "step", "wsd", "plateau"}},
    {"sharding.backend", {"mpi", "gloo", "nccl", "self"}},
    {"eval.best_mode", {"max", "min"}},
    {"sharding.wire_dtype", {"fp32", "bf16"}},
    {"sharding.reduce", {"ordered", "tree", "native"}},
    {"sharding.optimizer_device", {"device", "cpu"}},
    {"eval.from", {"head", "text", "both"}},
    {"logging.level", {"debug", "info", "warn", "error"}},
    {"launch.cpu_binding", {"none", "core", "socket", "numa"}},
    {"launch.gpu_binding", {"none", "local_rank"}},
    {"launch.black_box", {"auto", "local", "run_dir"}},
};

// What rules ask of other settings before a word may stand.
Lines with_word(const std::string& key, const std::string& word) {
  Lines overrides = {key + "=" + word};
  if (word == "nccl") overrides.push_back("run.device=cuda");
  if (word == "plateau") overrides.insert(overrides.end(), {"schedule.patience=1"});
  if (key == "data.answer") overrides.push_back("loss.lm=0");
  if (key == "optimizer.master") {
    overrides.push_back("model.dtype=bf16");
    overrides.push_back("optimizer.rounding=stochastic");
  }
  if (key == "optimizer.moments") overrides.push_back("optimizer.rounding=stochastic");
  return overrides;
}

TEST_CASE("every choice has the words it always had, in the order that docs show", "[unit]") {
  std::map<std::string, Lines> words;
  for (const Field& field : fields())
    if (field.kind == Kind::kChoice) words[field.name] = field.limits.choices;
  CHECK(words == kWords);
}

TEST_CASE("every word of every choice goes through the loader and the writer", "[unit]") {
  const ConfigFiles files;
  for (const auto& [key, words] : kWords) {
    for (const std::string& word : words) {
      CAPTURE(key, word);
      const Lines overrides = with_word(key, word);
      REQUIRE(files.problems(files.path("complete.yaml"), overrides) == Lines{});
      const Config config = load(files.path("complete.yaml"), overrides);
      const auto written = files.write("again.yaml", to_yaml(config));
      const Lines parts = split(key, '.');
      CHECK(YAML::LoadFile(written.string())[parts[0]][parts[1]].as<std::string>() == word);
      const Field& field = *find_field(key);
      CHECK(field.get(load(written)) == Value(word));
    }
  }
}

TEST_CASE("a word nearly right names the choice", "[unit]") {
  const ConfigFiles files;
  const auto problems = [&](const std::string& assignment) {
    return files.problems(files.path("complete.yaml"), {assignment});
  };
  CHECK(problems("schedule.kind=comsine") ==
        Lines{"--set schedule.kind: unknown choice, got comsine, allowed constant | linear | "
              "cosine | one_cycle | step | wsd | plateau (did you mean 'cosine'?)"});
  CHECK(problems("optimizer.moments=fp16") ==
        Lines{"--set optimizer.moments: unknown choice, got fp16, allowed fp32 | bf16 (did you "
              "mean 'fp32'?)"});
  CHECK(problems("logging.level=\"\"") ==
        Lines{"--set logging.level: empty, got \"\", allowed debug | info | warn | error"});
  CHECK(problems("run.device=[cpu]") ==
        Lines{"--set run.device: expected a string, got a list of 1, allowed cpu | cuda"});
}

TEMPLATE_TEST_CASE("names and values of an enum are one to one", "[unit]", Device, Dtype, Answer,
                   OverBudget, Queries, Memory, Master, Rounding, ScheduleKind, Backend, Reduce,
                   log::Level, CpuBinding, GpuBinding) {
  int next = 0;
  for (const auto& [value, name] : kNames<TestType>) {
    CHECK(static_cast<int>(value) == next++);  // no value is missing, none is there twice
    CHECK(name_of(value) == name);
    CHECK(from_name<TestType>(name) == value);
  }
  CHECK(from_name<TestType>("") == std::nullopt);
  CHECK(names<TestType>().size() == static_cast<std::size_t>(next));
}

TEST_CASE("a number's bytes follow from its dtype", "[unit]") {
  CHECK(dtype_bytes(Dtype::kFp32) == 4);
  CHECK(dtype_bytes(Dtype::kBf16) == 2);
  CHECK(dtype_bytes(Dtype::kFp16) == 2);
}

}  // namespace
}  // namespace muster::configs
