#include "data/tokenizer/tokenizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <catch2/benchmark/catch_benchmark.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "data/tokenizer/tokenizer_fixture.h"
#include "support/test_paths.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using nlohmann::json;
using Ids = std::vector<std::int64_t>;

Tokenizer small(const std::function<void(json&)>& change = [](json&) {}) {
  const TempDir dir;
  json file = test::small_tokenizer();
  change(file);
  return Tokenizer(test::write_tokenizer(dir, file));
}

// The definition of byte-pair encoding, in the most direct way: of all adjacent pairs, merge the
// leftmost of lowest rank.
Ids merge_plainly(const std::string& text,
                  const std::vector<std::pair<std::string, std::string>>& merges,
                  const std::function<std::int64_t(const std::string&)>& id) {
  std::vector<std::string> parts;
  for (const char c : text) parts.emplace_back(1, c);
  for (;;) {
    std::size_t best = merges.size(), where = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = std::find(merges.begin(), merges.end(), std::pair(parts[i], parts[i + 1]));
      const auto rank = static_cast<std::size_t>(found - merges.begin());
      if (rank < best) {
        best = rank;
        where = i;
      }
    }
    if (best == merges.size()) break;
    parts[where] += parts[where + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
  Ids ids;
  for (const std::string& part : parts) ids.push_back(id(part));
  return ids;
}

TEST_CASE("tokenizer: every oracle text has the oracle's ids", "[golden]") {
  const Tokenizer tokenizer(test::shared("data/qwen_tokenizer"));
  std::istringstream lines(read_text(test::shared("golden/processor/tokenizer_cases.jsonl")));
  std::string line;
  int cases = 0;
  while (std::getline(lines, line)) {
    const json test = json::parse(line);
    const auto text = test.at("text").get<std::string>();
    const Ids ids = tokenizer.encode(text);
    INFO(text);
    CHECK(ids == test.at("ids").get<Ids>());
    CHECK(tokenizer.encode(tokenizer.decode(ids, false)) == ids);
    ++cases;
  }
  CHECK(cases > 200);
  CHECK(tokenizer.size() == 151665);
  CHECK(tokenizer.token_id("<|image_pad|>") == 151655);
  CHECK(tokenizer.token_id("\xC4\xA0the") == 279);
  CHECK_FALSE(tokenizer.token_id("<|no_such|>"));
}

TEST_CASE("tokenizer: spaces are Unicode's White_Space, as Oniguruma has it", "[golden]") {
  const Tokenizer tokenizer(test::shared("data/qwen_tokenizer"));
  // Expected ids from tokenizers 0.23.3. U+180E is no space; U+0085 and U+3000 are.
  CHECK(tokenizer.encode("a\xE1\xA0\x8E"
                         "b") == Ids{64, 123970, 236, 65});
  CHECK(tokenizer.encode("a\xE3\x80\x80\xE3\x80\x80"
                         "b") == Ids{64, 22441, 22441, 65});
  CHECK(tokenizer.encode("a\xC2\x85 b") == Ids{64, 126, 227, 293});
}

TEST_CASE("tokenizer: merges in order of rank, and only inside a piece", "[unit]") {
  const Tokenizer tokenizer = small();
  CHECK(tokenizer.encode("hello") == Ids{259});
  CHECK(tokenizer.encode("hell world") == Ids{258, 260, 'o', 'r', 'l', 'd'});
  CHECK(tokenizer.encode("h e") == Ids{'h', ' ', 'e'});
  CHECK(tokenizer.encode("aaaaa") == Ids{262, 'a'});
  CHECK(tokenizer.encode("").empty());
  CHECK(tokenizer.decode(Ids{258, 260, 'o', 5000, -1, 500}) ==
        "hell wo");  // ids that stand for nothing are left out
}

TEST_CASE("tokenizer: merges as pairs and as strings are the same", "[unit]") {
  const Tokenizer pairs = small([](json& file) {
    for (json& merge : file["model"]["merges"]) {
      const auto text = merge.get<std::string>();
      merge = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
    }
  });
  CHECK(pairs.encode("hello hell aaaa waa") == small().encode("hello hell aaaa waa"));
}

TEST_CASE("tokenizer: agrees with plain byte-pair merging for random merges", "[unit]") {
  std::mt19937 random(7);
  const auto pick = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> known{"a", "b", "c"};
    std::vector<std::pair<std::string, std::string>> merges;
    const Tokenizer tokenizer = small([&](json& file) {
      json &vocab = file["model"]["vocab"], list = json::array();
      for (int i = 0; i < 40; ++i) {
        const std::string left = known[pick(known.size())], right = known[pick(known.size())];
        if (left.size() + right.size() > 12 || vocab.contains(left + right)) continue;
        vocab[left + right] = 300 + merges.size();
        known.push_back(left + right);
        list.push_back(fmt::format("{} {}", left, right));
        merges.emplace_back(left, right);
      }
      file["model"]["merges"] = list;
    });
    for (int i = 0; i < 50; ++i) {
      std::string text;
      for (std::size_t n = pick(40); n > 0; --n) text += "abc"[pick(3)];
      const auto id = [&](const std::string& token) { return *tokenizer.token_id(token); };
      REQUIRE(tokenizer.encode(text) == merge_plainly(text, merges, id));
      REQUIRE(tokenizer.encode(text) ==
              merge_plainly(text, merges, id));  // again, from what was remembered
    }
  }
}

TEST_CASE("tokenizer: a piece of a million bytes is not quadratic", "[unit]") {
  const Tokenizer tokenizer = small();
  CHECK(tokenizer.encode(std::string(1 << 20, 'a')) == Ids(1 << 18, 262));
}

TEST_CASE("tokenizer: added tokens are found first, leftmost and longest", "[unit]") {
  const Tokenizer tokenizer = small();
  CHECK(tokenizer.encode("<tool>er<tool>e<|im_end|><|im_end") ==
        Ids{1006, 1005, 'e', 1001, '<', '|', 'i', 'm', '_', 'e', 'n', 'd'});
  CHECK(tokenizer.encode("cafe\xCC\x81") == Ids{1007});  // e + combining acute: found after NFC
  const Tokenizer raw = small([](json& file) { file["added_tokens"][7]["normalized"] = false; });
  CHECK(raw.encode("cafe\xCC\x81") == Ids{'c', 'a', 'f', 0xC3, 0xA9});
  CHECK(tokenizer.decode(Ids{1001, 'x', 1005}) == "x<tool>");
  CHECK(tokenizer.decode(Ids{1001, 'x', 1005}, false) == "<|im_end|>x<tool>");
}

TEST_CASE("tokenizer: user text with an added token is refused by name", "[unit]") {
  const Tokenizer tokenizer = small();
  CHECK(tokenizer.encode_user_text("hello <|im_", "x") == tokenizer.encode("hello <|im_"));
  CHECK_THROWS_MATCHES(tokenizer.encode_user_text("a <|image_pad|>", "img_7.jpg, caption 2"),
                       DataError,
                       MessageMatches(ContainsSubstring("img_7.jpg, caption 2") &&
                                      ContainsSubstring("<|image_pad|>")));
}

TEST_CASE("tokenizer: bytes that are not UTF-8", "[unit]") {
  const Tokenizer tokenizer = small();
  CHECK_THROWS_AS(tokenizer.encode("a\xFF"), DataError);
  CHECK_THROWS_AS(tokenizer.encode("\xE2\x82"), DataError);
  CHECK_THROWS_AS(tokenizer.encode("\xED\xA0\x80"), DataError);  // a surrogate
  const std::string bad = "\xEF\xBF\xBD";
  CHECK(tokenizer.decode(Ids{'a', 0xE2, 0x82, 'b', 0xE2, 0x82, 0xAC}) ==
        "a" + bad + "b\xE2\x82\xAC");
  CHECK(tokenizer.decode(Ids{0xFF, 0xC0, 0x80, 0xF0, 0x9F}) == bad + bad + bad + bad);
}

TEST_CASE("tokenizer: what it cannot reproduce is refused", "[unit]") {
  const std::pair<const char*, json> changes[] = {
      {"/normalizer", {{"type", "NFKC"}}},
      {"/pre_tokenizer", {{"type", "Whitespace"}}},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Removed"},
      {"/pre_tokenizer/pretokenizers/0/pattern", {{"String", " "}}},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "(unclosed"},
      {"/pre_tokenizer/pretokenizers/1/use_regex", true},
      {"/post_processor", {{"type", "TemplateProcessing"}}},
      {"/post_processor", {{"type", "BertProcessing"}}},
      {"/post_processor",
       {{"type", "Sequence"},
        {"processors",
         {{{"type", "TemplateProcessing"},
           {"single",
            {{{"Sequence", {{"id", "A"}}}}, {{"SpecialToken", {{"id", "<|im_end|>"}}}}}}}}}}},
      {"/decoder", {{"type", "WordPiece"}}},
      {"/model/type", "Unigram"},
      {"/model/unk_token", "<unk>"},
      {"/model/ignore_merges", true},
      {"/model/byte_fallback", true},
      {"/model/merges/0", "nosuch pair"},
      {"/model/merges/0", "single"},
      {"/model/vocab/a", 98},
      {"/model/vocab/a", -1},
      {"/model/vocab/a", "x"},
      {"/added_tokens/0/lstrip", true},
      {"/added_tokens/0/content", ""},
  };
  for (const auto& [pointer, value] : changes) {
    INFO(pointer << " = " << value);
    CHECK_THROWS_AS(small([&](json& file) { file[json::json_pointer(pointer)] = value; }),
                    DataError);
  }
  CHECK_THROWS_AS(small([](json& file) { file["model"]["vocab"].erase("q"); }),
                  DataError);  // a byte without a token
  CHECK_THROWS_AS(Tokenizer("/no/such/folder"), DataError);
  const TempDir dir;
  write_text(dir.path() / "tokenizer.json", "{\"model\": ");
  CHECK_THROWS_MATCHES(Tokenizer(dir.path()), DataError,
                       MessageMatches(ContainsSubstring(dir.path().string())));
}

// One id of 2^24 made place_by_id() take 0.8 GB for a vocabulary of a few tokens.
TEST_CASE("tokenizer: ids far above the number of entries are refused", "[fault]") {
  for (const std::int64_t id :
       {std::int64_t{1} << 18, std::int64_t{1} << 24, std::int64_t{1} << 31}) {
    INFO(id);
    CHECK_THROWS_MATCHES(small([&](json& file) { file["model"]["vocab"]["zz"] = id; }), DataError,
                         MessageMatches(ContainsSubstring(fmt::format("\"zz\" has id {}", id))));
    if (id > 1 << 24)
      CHECK_THROWS_AS(small([&](json& file) { file["added_tokens"][0]["id"] = id; }), DataError);
  }
  CHECK_NOTHROW(small([](json& file) { file["model"]["vocab"]["zz"] = 5000; }));
}

TEST_CASE("tokenizer: a document nested 100,000 levels deep is refused", "[fault]") {
  const TempDir dir;
  const fs::path file = dir.path() / "tokenizer.json";
  write_text(file, "{\"model\": " + std::string(100000, '['));
  CHECK_THROWS_MATCHES(Tokenizer(file), DataError,
                       MessageMatches(ContainsSubstring("nested over")));
}

// transformers turns a saved padding and truncation off unless the caller asks for them, and these
// post-processors add nothing.
TEST_CASE("tokenizer: settings that change no ids are passed over", "[unit]") {
  const json sequence = json::parse(R"({"Sequence": {"id": "A", "type_id": 0}})");
  const json plain = {{"type", "TemplateProcessing"}, {"single", {sequence}}, {"pair", {}}};
  const json bytes = {{"type", "ByteLevel"}, {"trim_offsets", false}};
  const std::vector<std::pair<std::string, json>> settings = {
      {"/truncation", {{"max_length", 5}, {"strategy", "LongestFirst"}}},
      {"/padding", {{"strategy", {{"Fixed", 64}}}, {"pad_id", 0}}},
      {"/post_processor", bytes},
      {"/post_processor", plain},
      {"/post_processor", {{"type", "Sequence"}, {"processors", {bytes, plain}}}},
      {"/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}}}};
  const std::string text = "hello world, hello again and again";
  for (const auto& [place, value] : settings) {
    INFO(place << " " << value.dump());
    CHECK(small([&](json& file) { file[json::json_pointer(place)] = value; }).encode(text) ==
          small().encode(text));
  }
}

// Writes a folder as transformers wrote it before tokenizer.json.
void write_pair(const json& file, const fs::path& folder, bool with_settings) {
  write_text(folder / "vocab.json", file["model"]["vocab"].dump());
  std::string merges = "#version: 0.2\n";
  for (const json& merge : file["model"]["merges"])
    merges += (merge.is_array() ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                                : merge.get<std::string>()) +
              "\n";
  write_text(folder / "merges.txt", merges);
  json ids = json::object(), settings = json::object();
  for (const json& token : file["added_tokens"]) {
    ids[token["content"].get<std::string>()] = token["id"];
    json& entry = settings["added_tokens_decoder"][token["id"].dump()] = token;
    entry.erase("id");
  }
  if (with_settings) write_text(folder / "tokenizer_config.json", settings.dump());
  write_text(folder / "added_tokens.json", ids.dump());
}

TEST_CASE("tokenizer: vocab.json and merges.txt give the ids of tokenizer.json", "[golden]") {
  const fs::path oracle = test::shared("data/qwen_tokenizer/tokenizer.json");
  const json file = json::parse(read_text(oracle));
  const TempDir dir, bare;
  write_pair(file, dir.path(), true);
  const Tokenizer tokenizer(dir.path());
  std::istringstream cases(read_text(test::shared("golden/processor/tokenizer_cases.jsonl")));
  for (std::string line; std::getline(cases, line);) {
    const json one = json::parse(line);
    INFO(one["text"]);
    CHECK(tokenizer.encode(one["text"].get<std::string>()) == one["ids"].get<Ids>());
  }
  // The oldest form knows the ids of added tokens alone.
  write_pair(file, bare.path(), false);
  CHECK(Tokenizer(bare.path()).encode("<|im_start|>user") == tokenizer.encode("<|im_start|>user"));
  fs::remove(bare.path() / "added_tokens.json");
  CHECK_THROWS_MATCHES(Tokenizer(bare.path()), DataError,
                       MessageMatches(ContainsSubstring("lack the added tokens")));
  fs::remove(bare.path() / "merges.txt");
  CHECK_THROWS_MATCHES(Tokenizer(bare.path()), DataError,
                       MessageMatches(ContainsSubstring("neither tokenizer.json nor vocab.json")));
}

TEST_CASE("tokenizer: a Git LFS pointer is named", "[unit][fault]") {
  const TempDir dir;
  write_text(dir.path() / "tokenizer.json",
             "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7031645\n");
  CHECK_THROWS_MATCHES(Tokenizer(dir.path()), DataError,
                       MessageMatches(ContainsSubstring("git lfs pull")));
}

TEST_CASE("tokenizer: special tokens are asserted, all at once", "[unit]") {
  const Tokenizer tokenizer = small();
  CHECK_NOTHROW(tokenizer.assert_tokens({{"<|im_end|>", 1001}, {"<|image_pad|>", 1004}}));
  CHECK_THROWS_MATCHES(
      tokenizer.assert_tokens(
          {{"<|im_end|>", 1001}, {"<|image_pad|>", 151655}, {"<|box_start|>", 151648}}),
      ConfigError,
      MessageMatches(ContainsSubstring("<|image_pad|>: expected id 151655, found 1004") &&
                     ContainsSubstring("<|box_start|>: expected id 151648, found no such token") &&
                     !ContainsSubstring("<|im_end|>")));
}

TEST_CASE("tokenizer: threads share one", "[unit]") {
  const Tokenizer tokenizer = small();
  const std::string text = "hello hell \xE8\xA1\x80 aaaa world<|im_end|>";
  const Ids expected = small().encode(text);
  std::vector<int> wrong(4);
  {
    std::vector<std::jthread> threads;
    for (int& count : wrong) {
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i) count += tokenizer.encode(text) != expected;
      });
    }
  }
  CHECK(wrong == std::vector<int>(4));
}

TEST_CASE("tokenizer: speed", "[.bench]") {
  const auto path = test::shared("data/qwen_tokenizer");
  const Tokenizer tokenizer(path);
  std::string text;
  while (text.size() < (1 << 20))
    text += read_text(test::source_dir() / "data/tokenizer/tokenizer.cpp");
  BENCHMARK("load") { return Tokenizer(path).size(); };
  BENCHMARK("encode 1 MiB of source code") { return tokenizer.encode(text).size(); };
}

}  // namespace
}  // namespace muster::data
