#include "trainer/assembly/run_data.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

using Catch::Matchers::ContainsSubstring;

// "red ellipse" is two tokens of the demo's tokenizer.
TEST_CASE("a caption that does not fit the decoder stops the start, not the step", "[fault]") {
  const TempDir dir;
  const configs::Config config = test::tiny_config(dir.path());
  const data::Tokenizer tokenizer(config.tokens.tokenizer);
  const data::SampleSet set = open_training_set(config);
  configs::Detection detection = config.detection;
  detection.caption_max_tokens = 2;
  CHECK_NOTHROW(check_captions("data.train", set, tokenizer, set.class_map(), detection));
  detection.caption_max_tokens = 1;
  CHECK_THROWS_WITH(check_captions("data.train", set, tokenizer, set.class_map(), detection),
                    ContainsSubstring("data.train") &&
                        ContainsSubstring("the longest has 2 tokens") &&
                        ContainsSubstring("Set detection.caption_max_tokens: 2"));
  const configs::Config short_captions =
      test::tiny_config(dir.path(), {"detection.caption_max_tokens=1"});
  CHECK_THROWS_AS(Trainer(short_captions, sharding::make_self()), ConfigError);
  detection.enabled = false;
  CHECK_NOTHROW(check_captions("data.train", set, tokenizer, set.class_map(), detection));
}

TEST_CASE("with closed labels a caption that is no class name stops the start", "[fault]") {
  const TempDir dir;
  const configs::Config config = test::tiny_config(dir.path(), {"detection.labels=closed"});
  const data::Tokenizer tokenizer(config.tokens.tokenizer);
  const data::SampleSet set = open_training_set(config);
  const data::ClassMap& classes = set.class_map();
  REQUIRE(classes.size() > 1);
  CHECK_NOTHROW(check_captions("data.val", set, tokenizer, classes, config.detection));
  const data::ClassMap fewer({classes.category(0)});
  CHECK_THROWS_WITH(check_captions("data.val", set, tokenizer, fewer, config.detection),
                    ContainsSubstring("data.val: ") &&
                        ContainsSubstring("captions are no class name of data.train") &&
                        ContainsSubstring("detection.labels: open"));
  configs::Detection open = config.detection;
  open.labels = configs::Labels::kOpen;
  CHECK_NOTHROW(check_captions("data.val", set, tokenizer, fewer, open));
}

}  // namespace
}  // namespace muster::trainer
