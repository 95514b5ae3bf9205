// muster check --batch and --gradients, through the program.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/machine.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Matches;

namespace {

struct CheckedRun {
  TempDir dir{"muster-check"};
  fs::path config = dir.path() / "run.yaml";

  CheckedRun() {
    const std::vector<std::string> overrides = {"loss.lm=1", "data.answer=json"};
    write_text(config, configs::to_yaml(test::tiny_config(dir.path() / "run", overrides)));
  }
  CapturedRun run(const std::vector<std::string>& more) const {
    std::vector<std::string> words{(test::build_dir() / "muster").string(), "check",
                                   config.string()};
    words.insert(words.end(), more.begin(), more.end());
    return run_captured(words, 120s, {});
  }
  // The last line: the log comes before it.
  nlohmann::json json(const std::vector<std::string>& more) const {
    const std::string output = run(more).output;
    INFO(output);
    return nlohmann::json::parse(output.substr(output.rfind('\n', output.size() - 2) + 1));
  }
};

}  // namespace

TEST_CASE("program: check --batch shows the first micro-batch, and warns in the diary's words",
          "[unit]") {
  const CheckedRun checked;
  const CapturedRun text = checked.run({"--batch"});
  INFO(text.output);
  CHECK(text.exit_code == 0);
  CHECK_THAT(text.output, ContainsSubstring("pixel_values") && ContainsSubstring("fp32") &&
                              ContainsSubstring("vision tokens") &&
                              ContainsSubstring("<|im_start|>user\\n") &&
                              ContainsSubstring("loss | ```json\\n") &&
                              ContainsSubstring("box cx ") && !ContainsSubstring("warning:"));
  const CapturedRun odd = checked.run(
      {"--batch", "--set", "data.image_mean=[0, 0, 0]", "--set", "data.image_std=[1, 1, 1]"});
  CHECK_THAT(odd.output, ContainsSubstring("(D-007)"));
  CHECK_THAT(odd.output, Matches("[^]*normalis.*(outside|unusual) range[^]*"));  // D-007's pattern

  const nlohmann::json json = checked.json({"--batch", "--json"});
  CHECK(json["samples"].size() == 2);
  CHECK(json["tensors"][0]["name"] == "input_ids");
  CHECK(json["budget"]["samples"] == 24);
  CHECK(json["warnings"].empty());
  CHECK(!fs::exists(checked.dir.path() / "run"));  // the run's folder is left alone
}

TEST_CASE("program: check --gradients shows a table, and leaves with 77 when one is not finite",
          "[fault]") {
  const CheckedRun checked;
  const CapturedRun text = checked.run({"--gradients"});
  INFO(text.output);
  CHECK(text.exit_code == 0);
  CHECK_THAT(text.output, ContainsSubstring("grad norm") && ContainsSubstring("detection_head: ") &&
                              ContainsSubstring("model.embed_tokens.weight"));
  const nlohmann::json json = checked.json({"--gradients", "--json"});
  CHECK(json["non_finite"] == 0);
  CHECK(json["grad_norm"] > 0);
  CHECK(json["groups"].size() == 5);

  const CapturedRun sick = checked.run({"--gradients", "--set", "loss.giou=1e300"});
  INFO(sick.output);
  CHECK(sick.exit_code == 77);
  CHECK_THAT(sick.output, ContainsSubstring("NOT FINITE") &&
                              ContainsSubstring("warning: gradients are not finite in "));
  CHECK(!fs::exists(checked.dir.path() / "run"));
}

TEST_CASE("program: check names fp32 to a processor without products of bf16", "[unit]") {
  const CheckedRun checked;
  const bool warned =
      checked.run({"--set", "model.dtype=bf16"}).output.find("Fix: --set model.dtype=fp32") !=
      std::string::npos;
  CHECK(warned == !has_bf16_products());
}

TEST_CASE("program: check refuses what does not go together, and data that is not there",
          "[fault]") {
  const CheckedRun checked;
  CHECK(checked.run({"--json"}).exit_code == 64);
  CHECK(checked.run({"--batch", "--gradients"}).exit_code == 64);
  CHECK(checked.run({"--gradients", "--set", "data.train=/no/such.h5"}).exit_code == 65);
}
