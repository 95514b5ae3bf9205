// Weights that are not those of config.json, through the program: one attempt at most.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/weights.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

struct WrongWeights {
  TempDir dir{"muster-weights"};
  fs::path config = dir.path() / "run.yaml";

  explicit WrongWeights(const std::string& without) {
    fs::copy_file(test::source_dir() / "configs/models/demo/config.json",
                  dir.path() / "config.json");
    model::Weights weights = model::random_weights(model::read_config(dir.path()), at::kFloat, 1);
    weights.erase(without);
    model::write_safetensors(dir.path() / "model.safetensors", {weights.begin(), weights.end()});
    const std::vector<std::string> overrides{"model.path=" + dir.path().string(),
                                             "model.random_init=false", "logging.level=info",
                                             "sharding.backend=mpi", "launch.max_restarts=5"};
    write_text(config, configs::to_yaml(test::tiny_config(dir.path() / "run", overrides)));
  }
  CapturedRun run(std::vector<std::string> words) const {
    words.insert(words.begin(), (test::build_dir() / "muster").string());
    return run_captured(words, 120s, {});
  }
};

}  // namespace

TEST_CASE("program: wrong weights end launch before a rank starts, and check says them",
          "[fault]") {
  const WrongWeights wrong("model.norm.weight");
  for (const auto& words : {std::vector<std::string>{"launch", wrong.config.string(), "-n", "1"},
                            std::vector<std::string>{"check", wrong.config.string()}}) {
    const CapturedRun run = wrong.run(words);
    INFO(run.output);
    CHECK(run.exit_code == 65);
    CHECK_THAT(run.output,
               ContainsSubstring("missing     model.norm.weight") && !ContainsSubstring("attempt"));
  }
  CHECK(!fs::exists(wrong.dir.path() / "run" / "launch.json"));
  // A rank that meets them alone, on a node with other files, leaves with the code that ends
  // launch.
  CHECK(wrong.run({"train", wrong.config.string()}).exit_code == 65);
}

TEST_CASE("program: check says what it knows of the model's files", "[unit]") {
  const WrongWeights right("none of them");
  const CapturedRun run = right.run({"check", right.config.string()});
  INFO(run.output);
  CHECK(run.exit_code == 0);
  CHECK_THAT(run.output, ContainsSubstring("parameters in F32, as config.json says") &&
                             ContainsSubstring("processor       no file") &&
                             ContainsSubstring("rows of the embedding"));
}
