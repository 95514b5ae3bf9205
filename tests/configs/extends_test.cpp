// Files that extend files, and --set.
#include <catch2/matchers/catch_matchers_string.hpp>

#include "configs/config.h"
#include "configs/config_files.h"

namespace muster::configs {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::ConfigFiles;
using test::Lines;

Config load_with(const ConfigFiles& files, const std::vector<std::string>& overrides) {
  return load(files.path("complete.yaml"), overrides);
}

TEST_CASE("later files override earlier ones key by key", "[unit]") {
  const ConfigFiles files;
  files.write("a.yaml", "extends: complete.yaml\nrun: {seed: 1, device: cpu}\nloss: {giou: 3}\n");
  files.write("b.yaml", "extends: a.yaml\nrun: {seed: 2}\n");
  const Config config = load(
      files.write("c.yaml", "loss: {giou: 4}\nextends: b.yaml\n"));  // extends may stand anywhere
  CHECK(config.run.seed == 2);
  CHECK(config.run.device == Device::kCpu);
  CHECK(config.loss.giou == 4);
}

TEST_CASE("in a list of files the later wins, and a shared base does not undo it", "[unit]") {
  const ConfigFiles files;
  files.write("left.yaml", "extends: complete.yaml\nrun: {seed: 11}\nloss: {giou: 11}\n");
  files.write("right.yaml", "extends: complete.yaml\nloss: {giou: 22}\n");
  const Config config = load(files.write("both.yaml", "extends: [left.yaml, right.yaml]\n"));
  CHECK(config.run.seed == 11);
  CHECK(config.loss.giou == 22);
}

TEST_CASE("extends is relative to the file that says it", "[unit]") {
  const ConfigFiles files;
  files.write("sub/inner.yaml", "extends: ../complete.yaml\nrun: {seed: 5}\n");
  CHECK(load(files.write("outer.yaml", "extends: sub/inner.yaml\n")).run.seed == 5);
}

TEST_CASE("what is not beside a file may be one that is shipped, by name or by path", "[unit]") {
  const ConfigFiles files;
  const std::string demo = to_yaml(load(test::shipped("demo.yaml")));
  CHECK(to_yaml(load(files.write("name.yaml", "extends: demo.yaml\n"))) == demo);
  CHECK(to_yaml(load(files.write("path.yaml", "extends: configs/demo.yaml\n"))) == demo);
  files.write("demo.yaml", "extends: complete.yaml\nrun: {seed: 77}\n");  // what is near wins
  CHECK(load(files.write("near.yaml", "extends: demo.yaml\n")).run.seed == 77);
}

TEST_CASE("maps are replaced whole", "[unit]") {
  const ConfigFiles files;
  files.write("a.yaml",
              "extends: complete.yaml\nlaunch: {environment: {A: 1, B: 2}}\ntokens: {expected: {x: "
              "1, y: 2}}\n");
  const Config config = load(files.write(
      "b.yaml", "extends: a.yaml\nlaunch: {environment: {C: 3}}\ntokens: {expected: {z: 3}}\n"));
  CHECK(config.launch.environment == std::map<std::string, std::string>{{"C", "3"}});
  CHECK(config.tokens.expected == std::map<std::string, std::int64_t>{{"z", 3}});
}

TEST_CASE("cycles and missing files are named at the line that asks for them", "[unit]") {
  const ConfigFiles files;
  files.write("a.yaml", "run: {seed: 1}\nextends: b.yaml\n");
  files.write("b.yaml", "extends: a.yaml\n");
  CHECK(files.problems(files.path("a.yaml")) ==
        Lines{"b.yaml:1: extends: cycle: a.yaml -> b.yaml -> a.yaml"});
  CHECK(files.problems(files.write("self.yaml", "extends: ./self.yaml\n")) ==
        Lines{"self.yaml:1: extends: cycle: self.yaml -> self.yaml"});
  // The keys of the file that is not there are not reported as missing too.
  CHECK(files.problems(files.write("c.yaml", "run: {sed: 1}\nextends:\n  - complete.yml\n")) ==
        Lines{"c.yaml:3: extends: no such file: complete.yml (did you mean 'complete.yaml'?)",
              "c.yaml:1: run.sed: unknown key (did you mean 'run.seed'?)"});
  CHECK(files.problems(files.write("d.yaml", "extends: {a: b}\n")) ==
        Lines{"d.yaml:1: extends: expected a file name or a list of them, got a map"});
}

TEST_CASE("--set comes last and is YAML", "[unit]") {
  const ConfigFiles files;
  const Config config =
      load_with(files, {"run.seed=3", "run.seed=4", "data.val=\"\"", "model.path=[a, b]",
                        "data.prompt=\"a: b = c\"", "launch.environment={A: 1}",
                        "groups.model={lr: 7}", "run.dir=/tmp/a=b"});
  CHECK(config.run.seed == 4);
  CHECK(config.data.val.empty());
  CHECK(config.model.path == std::vector<std::string>{"a", "b"});
  CHECK(config.data.prompt == "a: b = c");
  CHECK(config.launch.environment.at("A") == "1");
  CHECK(config.groups.model.lr == 7);
  CHECK(config.groups.model.weight_decay == 1e-4);  // a section is still merged key by key
  CHECK(config.run.dir == "/tmp/a=b");
}

TEST_CASE("--set says its key in every error", "[unit]") {
  const ConfigFiles files;
  const auto problems = [&](const std::string& assignment) {
    return files.problems(files.path("complete.yaml"), {assignment});
  };
  CHECK(problems("run.sed=1") == Lines{"--set run.sed: unknown key (did you mean 'run.seed'?)"});
  CHECK(problems("rum.seed=1") == Lines{"--set rum.seed: unknown key (did you mean 'run.seed'?)"});
  CHECK(problems("max_steps=1") ==
        Lines{"--set max_steps: unknown key (did you mean 'schedule.max_steps'?)"});
  CHECK(problems("run.seed=x") ==
        Lines{"--set run.seed: expected an integer, got x, allowed an integer >= 0"});
  CHECK(problems("run.seed=") ==
        Lines{"--set run.seed: expected an integer, got nothing, allowed an integer >= 0"});
  CHECK(problems("run={seed: x}") ==
        Lines{"--set run.seed: expected an integer, got x, allowed an integer >= 0"});
  CHECK(problems("run={sed: 1}") == Lines{"--set run.sed: unknown key (did you mean 'run.seed'?)"});
  CHECK(problems("run={seed: 1, seed: 2}") ==
        Lines{"--set run: duplicate key 'seed', first given on line 1"});
  CHECK(
      problems("launch.environment.A=1") ==
      Lines{"--set launch.environment.A: unknown key: launch.environment is one key, given whole"});
  CHECK(problems("=1").size() == 1);
  REQUIRE(problems("run.seed=[1").size() == 1);
  CHECK_THAT(problems("run.seed=[1")[0], ContainsSubstring("--set run.seed: malformed YAML"));
}

}  // namespace
}  // namespace muster::configs
