#include "launcher/commands/asked_samples.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "data/images/codec.h"
#include "data/pack/pack.h"
#include "support/test_paths.h"

using namespace muster;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

struct Pictures {
  Pictures() {
    for (const char* name : {"a.png", "b.png"}) {
      const auto png = data::encode_png({40, 30, std::vector<std::uint8_t>(40 * 30 * 3, 7)});
      write_text(path(name), {reinterpret_cast<const char*>(png.data()), png.size()});
    }
  }
  fs::path path(const char* name) const { return dir.path() / name; }
  std::string text(const char* name, const std::string& text) const {
    write_text(path(name), text);
    return path(name).string();
  }
  TempDir dir;
};

std::string last_question(const data::Sample& sample) {
  std::string text;
  for (const data::Turn& turn : sample.turns)
    if (turn.role == data::Role::kUser) text = turn.text;
  return text;
}

}  // namespace

TEST_CASE("predict: plain pictures are asked the prompt of the command line", "[unit]") {
  const Pictures pictures;
  const launcher::AskedSamples asked({pictures.dir.path().string()}, "Find <image>\nit.");
  REQUIRE(asked.size() == 2);
  const auto loaded = asked.load(1, false);
  CHECK(loaded.shown.names == std::vector<std::string>{pictures.path("b.png").string()});
  CHECK(loaded.overlays == std::vector<std::string>{"b.png"});
  CHECK(last_question(loaded.shown.sample) == "Find " + std::string(data::kPictureMark) + "it.");
  CHECK(loaded.shown.sample.pictures[0].width == 40);
  CHECK(launcher::AskedSamples({pictures.path("a.png").string()}, "")
            .load(0, false)
            .shown.sample.turns.empty());
}

TEST_CASE("predict: questions of a JSONL, each line by itself", "[unit]") {
  const Pictures pictures;
  const std::string file = pictures.text("q.jsonl",
                                         R"({"image": "a.png", "prompt": "one?"}
{"images": ["a.png", "b.png"], "prompt": "<image> or <image>?"}
{"image": "b.png"}

{"prompt": "no picture"}
{"image": "gone.png", "prompt": "x"}
not json
)");
  const launcher::AskedSamples asked({file}, "the command line's");
  REQUIRE(asked.size() == 6);
  CHECK(last_question(asked.load(0, false).shown.sample) == "one?");
  const auto two = asked.load(1, false);
  CHECK((two.shown.pictures.size() == 2 && two.overlays.size() == 2));
  CHECK(two.overlays[0] != asked.load(0, false).overlays[0]);  // no overlay replaces another
  CHECK(last_question(asked.load(2, false).shown.sample) == "the command line's");
  CHECK_THROWS_MATCHES(asked.load(3, false), DataError,
                       MessageMatches(ContainsSubstring("q.jsonl:5")));
  CHECK_THROWS_MATCHES(asked.load(4, false), Error, MessageMatches(ContainsSubstring("gone.png")));
  CHECK_THROWS_MATCHES(asked.load(5, false), DataError,
                       MessageMatches(ContainsSubstring("q.jsonl:7")));
}

TEST_CASE("predict: a training JSONL and a pack are asked their own questions", "[unit]") {
  const Pictures pictures;
  const std::string file = pictures.text(
      "train.jsonl",
      R"({"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "a thing"}]})"
      "\n");
  CHECK_THAT(last_question(launcher::AskedSamples({file}, "").load(0, false).shown.sample),
             ContainsSubstring("what?"));

  data::Sample sample;
  sample.name = "packed";
  for (const char* name : {"a.png", "b.png"})
    sample.pictures.push_back({.path = pictures.path(name), .width = 40, .height = 30});
  sample.turns = {{data::Role::kUser, "which?", false}};
  data::Sample words;
  words.name = "words";
  words.turns = {{data::Role::kUser, "why?", false}, {data::Role::kAssistant, "so", false}};
  data::write_pack(pictures.path("p.h5"), {words, sample}, {});
  const launcher::AskedSamples asked({pictures.path("p.h5").string()}, "other");
  REQUIRE(asked.size() == 1);  // words alone show nothing
  const auto loaded = asked.load(0, false);
  CHECK(loaded.shown.names == std::vector<std::string>{"packed", "packed-2"});
  CHECK(last_question(loaded.shown.sample) == "which?");
}

TEST_CASE("predict: a picture that EXIF would turn is named, or turned", "[unit]") {
  const std::string file = (test::source_dir() / "tests/data/images/samples/exif6.jpg").string();
  const launcher::AskedSamples asked({file}, "");
  const auto stored = asked.load(0, false), turned = asked.load(0, true);
  CHECK(stored.turned == std::vector<std::string>{file});
  CHECK(turned.turned.empty());
  const data::Picture &a = stored.shown.sample.pictures[0], &b = turned.shown.sample.pictures[0];
  REQUIRE(a.width != a.height);
  CHECK((a.width == b.height && a.height == b.width));
  CHECK(turned.shown.pictures[0].width == b.width);
}
