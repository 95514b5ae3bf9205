// The files in configs/ and docs/ that users read and run.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <set>

#include "base/process/atomic_file.h"
#include "configs/config_files.h"
#include "configs/fields.h"

namespace muster::configs {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::shipped;

const std::string kNotAlone = "base.yaml";  // is only extended

TEST_CASE("every shipped config loads without a warning", "[unit]") {
  int loaded = 0;
  for (const auto& entry : fs::directory_iterator(shipped(""))) {
    if (entry.path().extension() != ".yaml" || entry.path().filename() == kNotAlone) continue;
    CAPTURE(entry.path().string());
    CHECK(warnings(load(entry.path())).empty());
    ++loaded;
  }
  CHECK(loaded >= 2);
}

TEST_CASE("base.yaml lacks exactly what only a run knows", "[unit]") {
  const test::ConfigFiles files;
  std::vector<std::string> missing;
  for (const std::string& line : files.problems(shipped(kNotAlone))) {
    REQUIRE_THAT(line, ContainsSubstring(": missing key"));
    const std::size_t end = line.find(": missing key"), start = line.rfind(' ', end) + 1;
    missing.push_back(line.substr(start, end - start));
  }
  CHECK(missing == std::vector<std::string>{"run.dir", "model.path", "tokens.tokenizer",
                                            "data.train", "data.val"});
}

TEST_CASE("values of the shipped configs arrive in their members", "[unit]") {
  const Config demo = load(shipped("demo.yaml"));
  CHECK(demo.run.dir == "runs/demo");
  CHECK(demo.data.train == std::vector<PackShare>{{"runs/demo_data/train.h5", 1}});
  CHECK(demo.data.image_mean == std::vector<double>{0.48145466, 0.4578275, 0.40821073});
  CHECK(demo.data.image_std == std::vector<double>{0.26862954, 0.26130258, 0.27577711});
  CHECK(demo.batch.micro_batches_per_step * demo.batch.max_samples == 8);
  CHECK(demo.optimizer.beta1 == 0.9);
  CHECK(demo.optimizer.beta2 == 0.999);
  CHECK(demo.loss.box_l1 == 5);
  CHECK(demo.loss.giou == 2);
  CHECK(demo.groups.detection_head.lr == 1e-3);
  CHECK(demo.groups.detection_head.weight_decay == 1e-4);

  const Config bccd = load(shipped("bccd_small.yaml"));
  CHECK(bccd.tokens.expected.at("<|image_pad|>") == 151655);
  CHECK(bccd.data.max_vision_tokens == 200);
  CHECK(bccd.data.answer == Answer::kNone);  // the language model rests
  CHECK(bccd.loss.lm == 0);
  CHECK(bccd.detection.labels == Labels::kClosed);
  CHECK(bccd.batch.micro_batches_per_step % 2 == 0);  // 1 or 2 ranks
}

TEST_CASE("every preset of augmentation says all of its keys, and goes with any run", "[unit]") {
  int presets = 0;
  for (const auto& entry : fs::directory_iterator(shipped("augment"))) {
    CAPTURE(entry.path().string());
    std::set<std::string> said;
    for (const auto& pair : YAML::LoadFile(entry.path().string())["data"]["augment"])
      said.insert(pair.first.Scalar());
    const Strings keys = keys_under("data.augment");
    CHECK(said == std::set<std::string>(keys.begin(), keys.end()));
    const test::ConfigFiles files;
    const fs::path run = files.write("run.yaml", "extends: [" + shipped("demo.yaml").string() +
                                                     ", " + entry.path().string() + "]\n");
    CHECK(warnings(load(run)).empty());
    ++presets;
  }
  CHECK(presets == 3);
  const test::ConfigFiles files;
  const Config demo = load(shipped("demo.yaml"));
  const Config none =
      load(files.write("run.yaml", "extends: [" + shipped("demo.yaml").string() + ", " +
                                       shipped("augment/none.yaml").string() + "]\n"));
  CHECK(to_yaml(demo) == to_yaml(none));  // base.yaml has them off
}

TEST_CASE("packs: a path, a list of paths, a list with weights, as files and --set have them",
          "[unit]") {
  const test::ConfigFiles files;
  const fs::path complete = files.path("complete.yaml");
  const auto train = [&](const std::string& value) {
    const Config config = load(complete, std::vector<std::string>{"data.train=" + value});
    const fs::path again = files.write("again.yaml", to_yaml(config));
    CHECK(load(again).data.train == config.data.train);
    return config.data.train;
  };
  using Shares = std::vector<PackShare>;
  CHECK(train("a.h5") == Shares{{"a.h5", 1}});
  CHECK(train("[a.h5, b.h5]") == Shares{{"a.h5", 1}, {"b.h5", 1}});
  CHECK(train("[{pack: \"a, b.h5\", weight: 0.25}]") == Shares{{"a, b.h5", 0.25}});
  CHECK(train("[{weight: 3, pack: a.h5}, b.h5]") == Shares{{"a.h5", 3}, {"b.h5", 1}});
}

TEST_CASE("the models of the shipped configs are there", "[unit]") {
  for (const std::string name : {"demo.yaml", "bccd_small.yaml"}) {
    for (const std::string& path : load(shipped(name)).model.path) {
      CHECK(fs::exists(muster::test::source_dir() / path / "config.json"));
    }
  }
}

TEST_CASE("docs/config.md is the table as it is now", "[unit]") {
  const fs::path manual = muster::test::source_dir() / "docs" / "config.md";
  if (std::getenv("MUSTER_UPDATE_DOCS") != nullptr) write_text(manual, describe_fields(true));
  INFO("stale: run MUSTER_UPDATE_DOCS=1 build/test_configs");
  REQUIRE(fs::exists(manual));
  CHECK((read_text(manual) == describe_fields(true)));
}

TEST_CASE("both descriptions name every key with what it takes and means", "[unit]") {
  const std::string plain = describe_fields(false), markdown = describe_fields(true);
  for (const Field& field : fields()) {
    CHECK_THAT(plain,
               ContainsSubstring("  " + field.name + " ") && ContainsSubstring(field.meaning));
    CHECK_THAT(markdown, ContainsSubstring("| `" + field.name + "` | "));
  }
}

}  // namespace
}  // namespace muster::configs
