// muster plan, through the program: what it says and how it ends.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/files.h"
#include "base/process/process_tree.h"
#include "support/test_paths.h"

using namespace muster;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

CapturedRun plan_small(const std::vector<std::string>& more) {
  const fs::path configs = test::source_dir() / "configs";
  std::vector<std::string> words{(test::build_dir() / "muster").string(), "plan",
                                 (configs / "base.yaml").string()};
  for (const std::string setting :
       {"run.dir=/x", "tokens.tokenizer=/x", "data.train=/x", "data.val=/x", "run.device=cuda"})
    words.insert(words.end(), {"--set", setting});
  words.insert(words.end(), {"--set", "model.path=" + (configs / "models/bccd_small").string()});
  words.insert(words.end(), more.begin(), more.end());
  return run_captured(words, 120s, {});
}

}  // namespace

TEST_CASE("program: plan ends with 0 when it fits and with 1 when it does not", "[unit]") {
  const CapturedRun roomy = plan_small({"--set", "sharding.optimizer_device=cpu"});
  INFO(roomy.output);
  CHECK(roomy.exit_code == 0);
  CHECK_THAT(roomy.output, ContainsSubstring("in the host's memory, of each rank:") &&
                               ContainsSubstring("over PCIe per step and rank:") &&
                               ContainsSubstring("\nfits: a rank wants"));

  const CapturedRun tight = plan_small({"--memory", "1.5"});
  INFO(tight.output);
  CHECK(tight.exit_code == 1);
  CHECK_THAT(tight.output,
             ContainsSubstring("does NOT fit") && ContainsSubstring("not enough alone:"));

  const CapturedRun host = plan_small({"--host-memory", "0.001"});
  INFO(host.output);
  CHECK(host.exit_code == 1);
  CHECK_THAT(host.output, ContainsSubstring("does NOT fit") && ContainsSubstring(" on the host"));
}
