#include "data/encoder.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <numeric>

#include "base/error.h"
#include "data/images/codec.h"
#include "data/sources/small_sets.h"
#include "data/tokenizer/tokenizer.h"
#include "support/test_paths.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

std::vector<std::int64_t> to_vector(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.data_ptr<std::int64_t>(), flat.data_ptr<std::int64_t>() + flat.numel()};
}

std::string learned_text(const Tokenizer& tokenizer, const MicroBatch& batch) {
  std::vector<std::int64_t> ids;
  for (const std::int64_t id : to_vector(batch.labels))
    if (id != kIgnoreLabel) ids.push_back(id);
  return tokenizer.decode(ids, false);
}

// A pack of two samples: one 56x28 image with three objects (one a crowd), one of words only.
struct Hand {
  Hand() : set(1) {
    data::Image image{56, 28, std::vector<std::uint8_t>(56 * 28 * 3, 90)};
    test::write_bytes(set.dir.path() / "hand.png", encode_png(image));
    Sample sample;
    sample.name = "hand";
    sample.pictures = {{.path = set.dir.path() / "hand.png", .width = 56, .height = 28}};
    sample.objects = {{{0, 0, 28, 14}, 4, "red ellipse", false, 1},
                      {{1, 1, 50, 20}, 1, "crowd", true, 1},
                      {{7, 7, 21, 28}, 2, "a \"b\"", false, 1}};
    Sample words;
    words.name = "words";
    words.turns = {{Role::kUser, "Why?", false}, {Role::kAssistant, "red", false}};
    write_pack(set.pack_path, {sample, words}, {{1, "one"}, {2, "two"}, {4, "four"}});
  }
  test::SmallSet set;
  Tokenizer tokenizer{set.dir.path()};
};

// The config's question about pictures of no pack.
MicroBatch ask(const SampleEncoder& encoder, const std::vector<Image>& pictures) {
  BatchBuilder batch;
  encoder.add_question(batch, -1, SampleEncoder::question("x", "", pictures), pictures, "x");
  return batch.finish();
}

void check_measure(const SampleSet& set, const SampleEncoder& encoder) {
  const std::vector<SampleSize> sizes = measure_all(set, encoder, 1);
  for (std::int64_t i = 0; i < set.size(); ++i) {
    const SampleSize& size = sizes[i];
    REQUIRE_FALSE(size.dropped);
    const MicroBatch batch = encoder.encode(set, std::vector<std::int64_t>{i}, true);
    const std::int64_t merge = encoder.options().patches.merge_size;
    REQUIRE(batch.input_ids.numel() == size.tokens);
    REQUIRE(batch.pixel_values.size(0) == size.vision_tokens * merge * merge);
    REQUIRE(batch.denominators == size.denominators);
    REQUIRE((batch.labels != kIgnoreLabel).sum().item<std::int64_t>() == size.denominators.tokens);
  }
}

}  // namespace

TEST_CASE("the answer is the published JSON in pixels of the resized image", "[unit]") {
  const Hand hand;
  const SampleSet set = open_set({hand.set.pack_path});
  EncodeOptions options = test::encode_options();
  options.patches.min_pixels = 4 * 56 * 28;  // 56x28 becomes 112x56: boxes double
  const SampleEncoder encoder(hand.tokenizer, options);
  const MicroBatch batch = encoder.encode(set, std::vector<std::int64_t>{0}, true);
  CHECK(learned_text(hand.tokenizer, batch) ==
        "```json\n[\n\t{\"bbox_2d\": [0, 0, 56, 28], \"label\": \"red ellipse\"},\n"
        "\t{\"bbox_2d\": [14, 14, 42, 56], \"label\": \"a \\\"b\\\"\"}\n]\n```<|im_end|>\n");
  options.answer = AnswerFormat::kJson1000;
  CHECK(learned_text(
            hand.tokenizer,
            SampleEncoder(hand.tokenizer, options).encode(set, std::vector<std::int64_t>{0}, true))
            .starts_with(
                "```json\n[\n\t{\"bbox_2d\": [0, 0, 500, 500], \"label\": \"red ellipse\"},\n"));
  CHECK(to_vector(batch.grid_thw) == std::vector<std::int64_t>{1, 4, 8});
  CHECK((batch.pixel_values.size(0) == 32 && batch.pixel_values.size(1) == 1176));
  CHECK((batch.image_samples == std::vector<std::int64_t>{0} &&
         batch.image_sizes[0] == std::array<std::int64_t, 2>{56, 28}));
}

TEST_CASE("targets: stored-size boxes, class map indices, captions; no crowds", "[unit]") {
  const Hand hand;
  const SampleSet set = open_set({hand.set.pack_path});
  const SampleEncoder encoder(hand.tokenizer, test::encode_options());
  const MicroBatch batch = encoder.encode(set, std::vector<std::int64_t>{0}, true);
  REQUIRE(batch.targets.size() == 1);
  const ImageTargets& targets = batch.targets[0];
  CHECK(targets.boxes.equal(
      at::tensor({0.25f, 0.25f, 0.5f, 0.5f, 0.25f, 0.625f, 0.25f, 0.75f}).view({2, 4})));
  CHECK(targets.categories == std::vector<std::int64_t>{2, 1});  // of the active ids 1, 2, 4
  CHECK(hand.tokenizer.decode(targets.captions[0]) == "red ellipse");
  CHECK(batch.denominators.boxes == 2);
  CHECK(batch.denominators.caption_tokens ==
        static_cast<std::int64_t>(targets.captions[0].size() + targets.captions[1].size()) + 2);
}

TEST_CASE("labels and none as answers; prediction leaves the turn open", "[unit]") {
  const Hand hand;
  const SampleSet set = open_set({hand.set.pack_path});
  const auto encode = [&](AnswerFormat answer, bool with_answer) {
    return SampleEncoder(hand.tokenizer, test::encode_options(answer))
        .encode(set, std::vector<std::int64_t>{0}, with_answer);
  };
  CHECK(learned_text(hand.tokenizer, encode(AnswerFormat::kLabels, true)) ==
        "red ellipse, a \"b\"<|im_end|>\n");
  const std::string open = "<|im_start|>assistant\n";
  for (const MicroBatch& batch :
       {encode(AnswerFormat::kNone, true), encode(AnswerFormat::kJson, false)}) {
    CHECK(learned_text(hand.tokenizer, batch).empty());
    CHECK(batch.denominators.tokens == 0);
    CHECK(hand.tokenizer.decode(to_vector(batch.input_ids), false).ends_with(open));
  }
  CHECK(encode(AnswerFormat::kNone, true).targets.size() == 1);
  CHECK(encode(AnswerFormat::kJson, false).targets.empty());
}

TEST_CASE("the system turn is there exactly when it is configured", "[unit]") {
  const Hand hand;
  const SampleSet set = open_set({hand.set.pack_path});
  EncodeOptions options = test::encode_options();
  const auto text = [&] {
    return hand.tokenizer.decode(to_vector(SampleEncoder(hand.tokenizer, options)
                                               .encode(set, std::vector<std::int64_t>{1}, true)
                                               .input_ids),
                                 false);
  };
  CHECK(text() == "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nred<|im_end|>\n");
  options.system_prompt = "You see.";
  CHECK(text().starts_with("<|im_start|>system\nYou see.<|im_end|>\n<|im_start|>user\n"));
}

TEST_CASE("samples are concatenated, with and without images", "[unit]") {
  const Hand hand;
  const SampleSet set = open_set({hand.set.pack_path});
  const SampleEncoder encoder(hand.tokenizer, test::encode_options());
  const MicroBatch words = encoder.encode(set, std::vector<std::int64_t>{1}, true),
                   image = encoder.encode(set, std::vector<std::int64_t>{0}, true),
                   both = encoder.encode(set, std::vector<std::int64_t>{1, 0}, true);
  CHECK((!words.pixel_values.defined() && !words.grid_thw.defined() && words.targets.empty() &&
         words.num_images() == 0));
  CHECK(encoder.measure(set.sample(1)).tokens == words.input_ids.numel());
  CHECK(both.input_ids.equal(at::cat({words.input_ids, image.input_ids})));
  CHECK(both.cu_seqlens ==
        std::vector<std::int64_t>{0, words.input_ids.numel(), both.input_ids.numel()});
  CHECK(both.pixel_values.equal(image.pixel_values));
  CHECK(both.image_samples == std::vector<std::int64_t>{1});
  Denominators sum = words.denominators;
  sum += image.denominators;
  CHECK(both.denominators == sum);
}

TEST_CASE("vision tokens over budget: dropped, or shrunk to fit", "[unit]") {
  EncodeOptions options = test::encode_options();
  options.max_vision_tokens = 200;
  options.resize_over_budget = false;
  CHECK(plan_image(640, 480, options.budget(), "x").dropped);
  options.resize_over_budget = true;
  const ImagePlan bccd = plan_image(640, 480, options.budget(), "x");
  CHECK((bccd.resized == Size{336, 448} && bccd.vision_tokens == 192 && bccd.shrunk &&
         !bccd.dropped));
  for (std::int64_t width = 20; width < 3000; width += 37)
    for (std::int64_t height = 20; height < 3000; height += 91) {
      const ImagePlan plan = plan_image(width, height, options.budget(), "x");
      REQUIRE((plan.dropped || plan.vision_tokens <= 200));
      REQUIRE((!plan.dropped || std::max(width, height) > 28 * std::min(width, height)));
    }
  CHECK_THROWS_MATCHES(plan_image(6000, 10, options.budget(), "sample 'thin'"), DataError,
                       MessageMatches(ContainsSubstring("sample 'thin'")));
}

namespace {

// Two pictures of other sizes and a small tokenizer, for samples of turns.
struct Talk {
  Talk() : set(1) {
    sample.name = "talk";
    for (const Image& image : pictures)
      sample.pictures.push_back({.path = "p", .width = image.width, .height = image.height});
  }
  std::string text(const EncodeOptions& options, bool learned, bool with_answer = true) const {
    const MicroBatch batch = encode(options, with_answer);
    if (learned) return learned_text(tokenizer, batch);
    std::string all = tokenizer.decode(to_vector(batch.input_ids), false);
    for (std::size_t at = all.find(kPad); at != std::string::npos; at = all.find(kPad, at + 1))
      while (all.compare(at + kPad.size(), kPad.size(), kPad) == 0) all.erase(at, kPad.size());
    return all;
  }
  MicroBatch encode(const EncodeOptions& options, bool with_answer = true) const {
    const SampleEncoder encoder(tokenizer, options);
    BatchBuilder batch;
    if (with_answer)
      encoder.add(batch, 0, sample, pictures, ClassMap({{1, "one"}}), "talk");
    else
      encoder.add_question(batch, 0, sample, pictures, "talk");
    return batch.finish();
  }
  static constexpr std::string_view kPad = "<|image_pad|>";
  test::SmallSet set;
  Tokenizer tokenizer{set.dir.path()};
  std::vector<Image> pictures{{56, 28, std::vector<std::uint8_t>(56 * 28 * 3, 90)},
                              {28, 84, std::vector<std::uint8_t>(28 * 84 * 3, 20)}};
  Sample sample;
};

const std::string kShown = "<|vision_start|><|image_pad|><|vision_end|>";

}  // namespace

TEST_CASE("pictures stand where the text marks them, else before it", "[unit]") {
  Talk talk;
  const EncodeOptions options = test::encode_options(AnswerFormat::kNone);
  const auto user = [&](const std::string& text) {
    talk.sample.turns = {{Role::kUser, text, false}};
    const std::string all = talk.text(options, false);
    const std::size_t begin = std::string_view("<|im_start|>user\n").size();
    return all.substr(begin, all.find("<|im_end|>") - begin);
  };
  const std::string mark(kPictureMark);
  CHECK(user("go") == kShown + kShown + "go");
  CHECK(user("a" + mark + "b" + mark) == "a" + kShown + "b" + kShown);
  CHECK(user("a" + mark) == kShown + "a" + kShown);
  CHECK_THROWS_MATCHES(
      user(mark + mark + mark), DataError,
      MessageMatches(ContainsSubstring("talk") && ContainsSubstring("3 pictures")));
  talk.sample.turns = {{Role::kUser, "x", false}, {Role::kAssistant, mark, false}};
  CHECK_THROWS_MATCHES(talk.text(options, false), DataError,
                       MessageMatches(ContainsSubstring("not the user's")));
  talk.sample.turns.clear();
  const MicroBatch batch = talk.encode(options);
  CHECK(batch.image_samples == std::vector<std::int64_t>{0, 0});
  CHECK(to_vector(batch.grid_thw) == std::vector<std::int64_t>{1, 2, 4, 1, 6, 2});
}

TEST_CASE("every assistant's turn is learned; lists are written from their objects", "[unit]") {
  Talk talk;
  const std::string mark(kPictureMark);
  talk.sample.turns = {{Role::kSystem, "Be short.", false},
                       {Role::kUser, mark + "first", false},
                       {Role::kAssistant, "", true},
                       {Role::kUser, mark + "second", false},
                       {Role::kAssistant, "red", false}};
  talk.sample.objects = {{{0, 0, 28, 14}, 1, "one", false, 1, 0, 2},
                         {{0, 0, 14, 42}, 1, "other", false, 1, 1, -1}};
  const std::string listed =
      "```json\n[\n\t{\"bbox_2d\": [0, 0, 28, 14], \"label\": \"one\"}\n]\n```";
  EncodeOptions options = test::encode_options(AnswerFormat::kJson);
  options.system_prompt = "The config's.";
  CHECK(talk.text(options, true) == listed + "<|im_end|>\nred<|im_end|>\n");
  CHECK(talk.text(options, false) ==
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\n" + kShown +
            "first<|im_end|>\n<|im_start|>assistant\n" + listed + "<|im_end|>\n<|im_start|>user\n" +
            kShown + "second<|im_end|>\n<|im_start|>assistant\nred<|im_end|>\n");
  // Prediction leaves the last answer open and keeps what was said before it.
  CHECK(talk.text(options, false, false).ends_with("second<|im_end|>\n<|im_start|>assistant\n"));
  // The form of lists is the config's; prose is learned whatever it says.
  options.answer = AnswerFormat::kLabels;
  CHECK(talk.text(options, true) == "one<|im_end|>\nred<|im_end|>\n");
  options.answer = AnswerFormat::kNone;
  CHECK(talk.text(options, true) == "red<|im_end|>\n");
  const MicroBatch batch = talk.encode(options);
  REQUIRE(batch.targets.size() == 2);
  CHECK((batch.targets[0].captions.size() == 1 && batch.targets[1].captions.size() == 1));
  CHECK(batch.targets[1].boxes.equal(at::tensor({0.25f, 0.25f, 0.5f, 0.5f}).view({1, 4})));
  const SampleSize size = SampleEncoder(talk.tokenizer, options).measure(talk.sample);
  CHECK((size.denominators == batch.denominators && size.tokens == batch.input_ids.numel()));
}

TEST_CASE("boxes are in the scale of their own picture", "[unit]") {
  Talk talk;
  EncodeOptions options = test::encode_options(AnswerFormat::kJson1000);
  talk.sample.objects = {{{0, 0, 28, 14}, 1, "one", false, 1, 0, -1},
                         {{0, 0, 14, 42}, 1, "two", false, 1, 1, -1}};
  CHECK_THAT(talk.text(options, true),
             ContainsSubstring("[0, 0, 500, 500], \"label\": \"one\"") &&
                 ContainsSubstring("[0, 0, 500, 500], \"label\": \"two\""));
  options.answer = AnswerFormat::kJson;
  options.patches.min_pixels = 4 * 56 * 28;  // the first doubles; the second grows to 56 x 140
  const std::string text = talk.text(options, true);
  CHECK_THAT(text, ContainsSubstring("[0, 0, 56, 28]"));
  const MicroBatch batch = talk.encode(options);
  const std::vector<std::int64_t> grid = to_vector(batch.grid_thw);
  CHECK_THAT(text, ContainsSubstring("[0, 0, " + std::to_string(grid[5] * 14 / 2) + ", " +
                                     std::to_string(grid[4] * 14 / 2) + "]"));
}

TEST_CASE("unannotated is not annotated with nothing", "[unit]") {
  Talk talk;
  const EncodeOptions options = test::encode_options(AnswerFormat::kJson);
  const MicroBatch nothing = talk.encode(options);
  CHECK((nothing.targets[0].annotated && nothing.targets[0].captions.empty()));
  CHECK(talk.text(options, true) == "```json\n[]\n```<|im_end|>\n");
  talk.sample.boxed = false;
  CHECK(talk.text(options, true).empty());  // there is nothing to teach
  talk.sample.turns = {{Role::kUser, "Describe.", false},
                       {Role::kAssistant, "A red thing.", false}};
  const MicroBatch prose = talk.encode(options);
  CHECK((!prose.targets[0].annotated && !prose.targets[1].annotated));
  CHECK(talk.text(options, true) == "A red thing.<|im_end|>\n");
  CHECK(prose.denominators.boxes == 0);
  CHECK(SampleEncoder(talk.tokenizer, options).measure(talk.sample).denominators ==
        prose.denominators);
}

TEST_CASE("one budget for all pictures of a sample, shared in proportion", "[unit]") {
  EncodeOptions options = test::encode_options();
  options.max_vision_tokens = 200;
  const std::vector<Picture> pictures{{.path = {}, .width = 640, .height = 480},
                                      {.path = {}, .width = 320, .height = 240}};
  options.resize_over_budget = false;
  CHECK(plan_pictures(pictures, options.budget(), "x").dropped);
  options.resize_over_budget = true;
  const PicturesPlan plan = plan_pictures(pictures, options.budget(), "x");
  CHECK((plan.shrunk && !plan.dropped && plan.vision_tokens <= 200));
  const double share =
      static_cast<double>(plan.pictures[0].vision_tokens) / static_cast<double>(plan.vision_tokens);
  CHECK((share > 0.7 && share < 0.9));  // four times the pixels
  options.max_vision_tokens = 1;
  CHECK(plan_pictures(pictures, options.budget(), "x").dropped);  // more pictures than tokens
}

TEST_CASE("what does not fit together is refused with the sample's name", "[fault]") {
  const Hand hand;
  EncodeOptions options = test::encode_options();
  SECTION("an id beyond the vocabulary") {
    const SampleSet set = open_set({hand.set.pack_path});
    options.vocab_size = 300;
    CHECK_THROWS_MATCHES(
        SampleEncoder(hand.tokenizer, options).encode(set, std::vector<std::int64_t>{0}, true),
        DataError,
        MessageMatches(ContainsSubstring("'hand'") && ContainsSubstring("300") &&
                       ContainsSubstring("position")));
  }
  SECTION("a recorded size that is not the image's") {
    Sample sample = hand.set.samples[0];
    sample.pictures[0].width = 60;
    write_pack(hand.set.pack_path, {sample}, hand.set.source.categories);
    const SampleSet set = open_set({hand.set.pack_path});
    CHECK_THROWS_MATCHES(
        SampleEncoder(hand.tokenizer, options).encode(set, std::vector<std::int64_t>{0}, true),
        DataError,
        MessageMatches(ContainsSubstring("scene-000000") && ContainsSubstring("60x56") &&
                       ContainsSubstring("56x56")));
  }
  SECTION("a special token in a caption") {
    Sample sample = hand.set.samples[0];
    sample.objects[0].caption = "a <|im_end|> b";
    CHECK_THROWS_MATCHES(SampleEncoder(hand.tokenizer, options).measure(sample), DataError,
                         MessageMatches(ContainsSubstring("scene-000000")));
  }
  SECTION("a sample over budget where such samples are dropped") {
    const SampleSet set = open_set({hand.set.pack_path});
    options.max_vision_tokens = 1;
    options.resize_over_budget = false;
    const SampleEncoder encoder(hand.tokenizer, options);
    CHECK(encoder.measure(set.sample(0)).dropped);
    CHECK_THROWS_MATCHES(encoder.encode(set, std::vector<std::int64_t>{0}, true), DataError,
                         MessageMatches(ContainsSubstring("max_vision_tokens")));
  }
}

TEST_CASE("a loose image is asked about as a packed one", "[unit]") {
  const Hand hand;
  const SampleSet set = open_set({hand.set.pack_path});
  const SampleEncoder encoder(hand.tokenizer, test::encode_options());
  const MicroBatch packed = encoder.encode(set, std::vector<std::int64_t>{0}, false),
                   loose = ask(encoder, set.pictures(0, set.sample(0)));
  CHECK(packed.input_ids.equal(loose.input_ids));
  CHECK(packed.pixel_values.equal(loose.pixel_values));
}

TEST_CASE("measure is exact: synthetic set, every answer form", "[unit]") {
  const test::SmallSet small(15, 90);
  const SampleSet set = open_set({small.pack_path});
  const Tokenizer tokenizer(small.dir.path());
  for (const AnswerFormat answer :
       {AnswerFormat::kJson, AnswerFormat::kJson1000, AnswerFormat::kLabels, AnswerFormat::kNone})
    check_measure(set, SampleEncoder(tokenizer, test::encode_options(answer)));
}

TEST_CASE("measure is exact: BCCD with the Qwen tokenizer", "[golden]") {
  const fs::path bccd = test::shared("data/bccd");
  const Tokenizer tokenizer(test::shared("data/qwen_tokenizer"));
  const Source source = read_source(bccd, "", "val");
  std::vector<Sample> samples = all_of(source.samples);
  samples.resize(20);
  const TempDir dir;
  write_pack(dir.path() / "val.h5", samples, source.categories);
  EncodeOptions options = test::encode_options();
  options.vocab_size = 151936;
  options.system_prompt = "You are a helpful assistant.";
  const SampleSet set = open_set({dir.path() / "val.h5"});
  check_measure(set, SampleEncoder(tokenizer, options));
}

}  // namespace muster::data
