// Every kind of mistake, with its file and line.
#include "configs/config.h"

#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "configs/config_files.h"

namespace muster::configs {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using test::ConfigFiles;
using test::Lines;

TEST_CASE("a file that only extends a complete one loads", "[unit]") {
  const ConfigFiles files;
  REQUIRE(files.problems_of_run("") == Lines{});
  REQUIRE(load(files.write_run("run: {seed: 7}\n")).run.seed == 7);
}

TEST_CASE("one mistake gives one line: file, line, key, what, got, allowed, nearest", "[unit]") {
  struct Case {
    std::string text, problem;
  };
  const auto [text, problem] = GENERATE(values<Case>({
      // unknown keys and sections
      {"run:\n  sead: 1\n", "run.yaml:3: run.sead: unknown key (did you mean 'run.seed'?)"},
      {"schedle:\n  kind: linear\n", "run.yaml:2: schedle: unknown key (did you mean 'schedule'?)"},
      {"groups:\n  visal: {lr: 0}\n",
       "run.yaml:3: groups.visal: unknown key (did you mean 'groups.visual'?)"},
      {"max_steps: 5\n", "run.yaml:2: max_steps: unknown key (did you mean 'schedule.max_steps'?)"},
      {"run.seed: 5\n", "run.yaml:2: run.seed: unknown key: write sections as nested maps"},
      {"groups.model: {lr: 1}\n",
       "run.yaml:2: groups.model: unknown key: write sections as nested maps"},
      {"zzzzzzzzzz: 5\n", "run.yaml:2: zzzzzzzzzz: unknown key"},
      {"run: 5\n",
       "run.yaml:2: run: expected a section, got 5, allowed a map of dir, seed, threads_per_rank, "
       "device, "
       "deterministic"},
      {"[a]: 5\n", "run.yaml:2: file: expected a key, got a list of 1"},
      // types
      {"model:\n  random_init: yes\n",
       "run.yaml:3: model.random_init: expected a bool, got yes, allowed true | false"},
      {"model: {random_init: True}\n",
       "run.yaml:2: model.random_init: expected a bool, got True, allowed true | false (did you "
       "mean 'true'?)"},
      {"model: {random_init: \"true\"}\n",
       "run.yaml:2: model.random_init: expected a bool, got \"true\", allowed true | false (did "
       "you mean 'true'?)"},
      {"run: {seed: 1.5}\n",
       "run.yaml:2: run.seed: expected an integer, got 1.5, allowed an integer >= 0"},
      {"run: {seed: 1.0}\n",
       "run.yaml:2: run.seed: expected an integer, got 1.0, allowed an integer >= 0"},
      {"run: {seed: 1.5e0}\n",
       "run.yaml:2: run.seed: expected an integer, got 1.5e0, allowed an integer >= 0"},
      {"run: {seed: \"3\"}\n",
       "run.yaml:2: run.seed: expected an integer, got \"3\", allowed an integer >= 0"},
      {"run: {seed: 010}\n",
       "run.yaml:2: run.seed: expected an integer, got 010, allowed an integer >= 0"},
      {"run: {seed: 0x10}\n",
       "run.yaml:2: run.seed: expected an integer, got 0x10, allowed an integer >= 0"},
      {"run: {seed: 9223372036854775808}\n",
       "run.yaml:2: run.seed: expected an integer, got 9223372036854775808, allowed an integer >= "
       "0"},
      {"run: {seed: }\n",
       "run.yaml:2: run.seed: expected an integer, got nothing, allowed an integer >= 0"},
      {"run: {seed: !!int 3}\n",
       "run.yaml:2: run.seed: expected an integer, got \"3\", allowed an integer >= 0"},
      {"loss: {giou: two}\n",
       "run.yaml:2: loss.giou: expected a number, got two, allowed a number >= 0"},
      {"loss: {giou: .nan}\n",
       "run.yaml:2: loss.giou: expected a number, got .nan, allowed a number >= 0"},
      {"loss: {giou: inf}\n",
       "run.yaml:2: loss.giou: expected a number, got inf, allowed a number >= 0"},
      {"loss: {giou: 1e999}\n",
       "run.yaml:2: loss.giou: expected a number, got 1e999, allowed a number >= 0"},
      {"run: {dir: [a]}\n",
       "run.yaml:2: run.dir: expected a string, got a list of 1, allowed a string, not empty"},
      {"data: {val: ~}\n",
       "run.yaml:2: data.val: expected a pack or a list of packs, got nothing, allowed a path or a "
       "list of {pack, weight}, weight > 0, may be \"\""},
      {"data: {train: \"\"}\n",
       "run.yaml:2: data.train: empty, got \"\", allowed a path or a list of {pack, weight}, "
       "weight "
       "> 0, not empty"},
      {"data:\n  train:\n    - {pack: a.h5, weight: 2}\n    - {pack: b.h5, weight: 1, wieght: 1}\n",
       "run.yaml:5: data.train: unknown key at item 1, got wieght, allowed a path or a list of "
       "{pack, weight}, weight > 0, not empty (did you mean 'weight'?)"},
      {"data:\n  train:\n    - {pack: b.h5}\n",
       "run.yaml:4: data.train: missing key 'weight' at item 0, got a map, allowed a path or a "
       "list "
       "of {pack, weight}, weight > 0, not empty"},
      {"data:\n  train:\n    - a.h5\n    - {pack: b.h5, weight: 0}\n",
       "run.yaml:5: data.train: out of range at item 1, weight, got 0, allowed a path or a list of "
       "{pack, weight}, weight > 0, not empty"},
      {"data: {augment: {scale: [0.5]}}\n",
       "run.yaml:2: data.augment.scale: expected a list of 2 numbers, got a list of 1, allowed a "
       "list of 2 numbers > 0"},
      {"run: {dir: \"\"}\n", "run.yaml:2: run.dir: empty, got \"\", allowed a string, not empty"},
      {"model: {path: {a: b}}\n",
       "run.yaml:2: model.path: expected a list of strings, got a map, allowed a string or a list "
       "of strings, not "
       "empty"},
      {"model: {path: []}\n",
       "run.yaml:2: model.path: empty, got a list of 0, allowed a string or a list of strings, not "
       "empty"},
      {"model:\n  path:\n    - a\n    - [b]\n",
       "run.yaml:5: model.path: wrong item 1, got a list of 1, allowed a string or a list of "
       "strings, not empty"},
      {"data: {image_mean: [0.5, 0.5]}\n",
       "run.yaml:2: data.image_mean: expected a list of 3 numbers, got a list of 2, allowed a list "
       "of 3 numbers in [0, "
       "1]"},
      {"data: {image_mean: [0.5, 2, 0.5]}\n",
       "run.yaml:2: data.image_mean: out of range at item 1, got 2, allowed a list of 3 numbers in "
       "[0, 1]"},
      {"tokens:\n  expected:\n    a: 1\n    b: -1\n",
       "run.yaml:5: tokens.expected: out of range for 'b', got -1, allowed a map of names to "
       "integers >= 0, not empty"},
      {"tokens: {expected: {}}\n",
       "run.yaml:2: tokens.expected: empty, got a map, allowed a map of names to integers >= 0, "
       "not empty"},
      {"launch: {environment: {A: [1]}}\n",
       "run.yaml:2: launch.environment: expected a string for 'A', got a list of 1, allowed a map "
       "of names to strings, "
       "may be {}"},
      // ranges and choices
      {"run: {threads_per_rank: 0}\n",
       "run.yaml:2: run.threads_per_rank: out of range, got 0, allowed an integer in [1, 1024]"},
      {"detection: {queries: learned, num_queries: 0}\n",
       "run.yaml:2: detection.num_queries: out of range, got 0, allowed an integer >= 1"},
      {"optimizer: {beta1: 1}\n",
       "run.yaml:2: optimizer.beta1: out of range, got 1, allowed a number in [0, 1)"},
      {"optimizer: {eps: 0}\n",
       "run.yaml:2: optimizer.eps: out of range, got 0, allowed a number > 0"},
      {"groups:\n  model:\n    lr: -1e-5\n",
       "run.yaml:4: groups.model.lr: out of range, got -1e-5, allowed a number >= 0"},
      {"model: {dtype: fp23}\n",
       "run.yaml:2: model.dtype: unknown choice, got fp23, allowed fp32 | bf16 | fp16 (did you "
       "mean 'fp32'?)"},
      {"sharding: {backend: carrier_pigeon}\n",
       "run.yaml:2: sharding.backend: unknown choice, got carrier_pigeon, allowed mpi | gloo | "
       "nccl | self"},
      // duplicates
      {"run:\n  seed: 1\n  seed: 1\n",
       "run.yaml:4: run: duplicate key 'seed', first given on line 3"},
      {"run: {seed: 1}\nrun: {seed: 2}\n",
       "run.yaml:3: file: duplicate key 'run', first given on line 2"},
      {"launch:\n  environment:\n    A: 1\n    A: 2\n",
       "run.yaml:5: launch.environment: duplicate key 'A', first given on line 4"},
      // extends
      {"extends: complete.yaml\n",
       "run.yaml:2: file: duplicate key 'extends', first given on line 1"},
  }));
  const ConfigFiles files;
  CHECK(files.problems_of_run(text) == Lines{problem});
}

TEST_CASE("all problems of all files are reported at once", "[unit]") {
  const ConfigFiles files;
  files.write("middle.yaml", "extends: complete.yaml\nrun:\n  sed: 1\nloss:\n  giou: -1\n");
  const auto run = files.write(
      "run.yaml", "extends: middle.yaml\nmodel:\n  dtype: int8\nbatch:\n  max_samples: no\n");
  CHECK(
      files.problems(run, {"--bad", "run.device=quantum"}) ==
      Lines{"middle.yaml:3: run.sed: unknown key (did you mean 'run.seed'?)",
            "--set --bad: expected key.path=value, got no '='",
            "--set run.device: unknown choice, got quantum, allowed cpu | cuda",
            "run.yaml:3: model.dtype: unknown choice, got int8, allowed fp32 | bf16 | fp16",
            "middle.yaml:5: loss.giou: out of range, got -1, allowed a number >= 0",
            "run.yaml:5: batch.max_samples: expected an integer, got no, allowed an integer >= 1"});
}

TEST_CASE("integers may be written with an exponent when whole", "[unit]") {
  const ConfigFiles files;
  const Config config =
      load(files.write_run("sharding: {bucket_bytes: 1e6}\nschedule: {max_steps: 1.5e3}\n"));
  CHECK(config.sharding.bucket_bytes == 1000000);
  CHECK(config.schedule.max_steps == 1500);
}

TEST_CASE("a scalar will do for a list of strings, and any scalar for a string", "[unit]") {
  const ConfigFiles files;
  const Config config =
      load(files.write_run("model: {path: a b}\nlaunch: {environment: {OMP_NUM_THREADS: 1}}\n"));
  CHECK(config.model.path == std::vector<std::string>{"a b"});
  CHECK(config.launch.environment.at("OMP_NUM_THREADS") == "1");
}

TEST_CASE("a section with nothing in it changes nothing", "[unit]") {
  const ConfigFiles files;
  REQUIRE(to_yaml(load(files.write_run("run:\n"))) == to_yaml(load(files.path("complete.yaml"))));
}

TEST_CASE("malformed and missing files", "[unit]") {
  const ConfigFiles files;
  CHECK(files.problems(files.path("complet.yaml")) ==
        Lines{"complet.yaml: no such file: complet.yaml (did you mean 'complete.yaml'?)"});
  const Lines folder = files.problems(files.path(""));
  REQUIRE(folder.size() == 1);
  CHECK_THAT(folder[0], ContainsSubstring("a folder, not a YAML file"));

  const Lines malformed = files.problems(files.write("bad.yaml", "run:\n  seed: 1\n dir: x\n"));
  REQUIRE(malformed.size() == 1);
  CHECK_THAT(malformed[0], StartsWith("bad.yaml:3: malformed YAML at column 2: "));

  CHECK(files.problems(files.write("list.yaml", "- a\n")) ==
        Lines{"list.yaml:1: expected a map of sections, got a list of 1"});
  CHECK(files.problems(files.write("two.yaml", "run: {}\n---\nrun: {}\n")) ==
        Lines{"two.yaml:3: expected one YAML document, got 2"});
}

TEST_CASE("a missing key names its section's line, the files read and its meaning", "[unit]") {
  const ConfigFiles files;
  std::string text = to_yaml(load(files.path("complete.yaml")));
  const std::size_t seed = text.find("  seed:");
  text.erase(seed, text.find('\n', seed) + 1 - seed);
  const auto cut = files.write("cut.yaml", "# a comment\n" + text);
  CHECK(files.problems(cut) ==
        Lines{"cut.yaml:2: run.seed: missing key, not in cut.yaml, allowed an integer >= 0; "
              "meaning: of weights, sample order and denoising noise"});
  const auto child = files.write("child.yaml", "extends: cut.yaml\n");
  REQUIRE(files.problems(child).size() == 1);
  CHECK_THAT(files.problems(child)[0],
             StartsWith("child.yaml:1: run.seed: missing key, not in cut.yaml or child.yaml,"));
}

TEST_CASE("an empty file misses everything", "[unit]") {
  const ConfigFiles files;
  const Lines lines = files.problems(files.write("empty.yaml", ""));
  REQUIRE(lines.size() > 90);
  CHECK_THAT(lines.front(), StartsWith("empty.yaml:1: run.dir: missing key"));
}

}  // namespace
}  // namespace muster::configs
