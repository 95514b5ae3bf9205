#include "data/chat.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/tensors/micro_batch.h"
#include "data/tokenizer/tokenizer_fixture.h"
#include "support/test_paths.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using nlohmann::json;
using Ids = std::vector<std::int64_t>;

constexpr std::int64_t kMerge = 2;

ContentPart text(std::string words) { return {false, std::move(words)}; }
const ContentPart kImage{true, ""};

std::vector<Message> messages_of(const json& list) {
  std::vector<Message> messages;
  for (const json& entry : list) {
    Message message{entry.at("role"), {}};
    if (entry.at("content").is_string()) {
      message.parts.push_back(text(entry.at("content")));
    } else {
      for (const json& part : entry.at("content")) {
        message.parts.push_back(part.at("type") == "image" ? kImage : text(part.at("text")));
      }
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

std::vector<Grid> grids_of(const json& list) {
  std::vector<Grid> grids;
  for (const json& grid : list) grids.push_back({grid[0], grid[1], grid[2]});
  return grids;
}

// What `tokenizers` would see: the rendered string with each <|image_pad|> repeated.
std::string expanded(std::string rendered, const std::vector<Grid>& grids) {
  const std::string pad = "<|image_pad|>";
  std::size_t at = 0;
  for (const Grid& grid : grids) {
    at = rendered.find(pad, at);
    std::string copies;
    for (std::int64_t i = 0; i < grid.patches() / (kMerge * kMerge); ++i) copies += pad;
    rendered.replace(at, pad.size(), copies);
    at += copies.size();
  }
  return rendered;
}

Tokenizer small() {
  const TempDir dir;
  return Tokenizer(test::write_tokenizer(dir, test::small_tokenizer()));
}

Ids labelled(const ChatTokens& tokens) {
  Ids ids;
  for (std::size_t i = 0; i < tokens.labels.size(); ++i) {
    if (tokens.labels[i] == kIgnoreLabel) continue;
    CHECK(tokens.labels[i] == tokens.input_ids[i]);
    ids.push_back(tokens.labels[i]);
  }
  return ids;
}

TEST_CASE("chat: oracle cases, text and ids", "[golden]") {
  const Tokenizer tokenizer(test::shared("data/qwen_tokenizer"));
  for (const json& test :
       json::parse(read_text(test::shared("golden/processor/chat_cases.json")))) {
    INFO(test.at("name"));
    const auto messages = messages_of(test.at("messages"));
    const auto grids = grids_of(test.at("image_grid_thw"));
    const bool prompt = test.at("add_generation_prompt");
    CHECK(render_chat(messages, prompt) == test.at("rendered").get<std::string>());
    const ChatTokens tokens = encode_chat(tokenizer, messages, grids, kMerge, prompt, "case");
    CHECK(tokens.input_ids == test.at("input_ids").get<Ids>());
    CHECK(tokens.labels.size() == tokens.input_ids.size());
  }
}

TEST_CASE("chat: encoding by runs equals encoding the rendered string", "[golden]") {
  const Tokenizer tokenizer(test::shared("data/qwen_tokenizer"));
  const std::vector<Grid> grids{{1, 4, 6}, {1, 2, 2}};
  for (const std::string words :
       {"", "\n", "\n\n", " \n x", "  x", "\xCC\x81", "x\n", "'s", "<|im_", "|>", "e\xCC\x81"}) {
    INFO(json(words));
    const std::vector<Message> messages{
        {"system", {text(words)}},
        {"user", {text(words), kImage, text(words), text(words), kImage}},
        {"assistant", {text(words)}},
        {"user", {text(words)}}};
    const std::string rendered = expanded(render_chat(messages, true), grids);
    CHECK(encode_chat(tokenizer, messages, grids, kMerge, true, "x").input_ids ==
          tokenizer.encode(rendered));
  }
}

TEST_CASE("chat: labels cover what assistants write, <|im_end|> and the newline", "[golden]") {
  const Tokenizer tokenizer(test::shared("data/qwen_tokenizer"));
  const std::vector<Grid> grids{{1, 2, 2}};
  const std::vector<Message> messages{{"user", {kImage, text("where?")}},
                                      {"assistant", {text("here, at 12")}},
                                      {"user", {text("and?")}},
                                      {"assistant", {text("gone")}}};
  const ChatTokens tokens = encode_chat(tokenizer, messages, grids, kMerge, true, "x");
  CHECK(labelled(tokens) == tokenizer.encode("here, at 12<|im_end|>\ngone<|im_end|>\n"));
}

TEST_CASE("chat: an answer that starts with a newline loses the shared token only", "[golden]") {
  const Tokenizer tokenizer(test::shared("data/qwen_tokenizer"));
  const std::vector<Message> messages{{"user", {text("?")}}, {"assistant", {text("\nyes")}}};
  CHECK(labelled(encode_chat(tokenizer, messages, {}, kMerge, false, "x")) ==
        tokenizer.encode("yes<|im_end|>\n"));
}

TEST_CASE("chat: the default system turn, a given one, none", "[unit]") {
  const std::string user = "<|im_start|>user\nhello<|im_end|>\n";
  const Message hello{"user", {text("hello")}};
  CHECK(render_chat(std::vector{hello}, false) ==
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + user);
  CHECK(render_chat(std::vector<Message>{{"system", {text("Be terse.")}}, hello}, true) ==
        "<|im_start|>system\nBe terse.<|im_end|>\n" + user + "<|im_start|>assistant\n");
  CHECK(render_chat(std::vector<Message>{{"system", {}}, hello}, false) == user);
}

TEST_CASE("chat: works with a tokenizer whose words are single bytes", "[unit]") {
  const Tokenizer tokenizer = small();
  const std::vector<Message> messages{{"user", {kImage}}, {"assistant", {text("hello")}}};
  const std::vector<Grid> grids{{1, 4, 2}};
  const ChatTokens tokens = encode_chat(tokenizer, messages, grids, kMerge, false, "x");
  CHECK(tokens.input_ids == tokenizer.encode(expanded(render_chat(messages, false), grids)));
  CHECK(labelled(tokens) == Ids{259, 1001, '\n'});
}

TEST_CASE("chat: special tokens in a message are refused with the sample's name", "[unit]") {
  const Tokenizer tokenizer = small();
  const auto encode = [&](const std::vector<Message>& messages) {
    return encode_chat(tokenizer, messages, {}, kMerge, false, "sample 12");
  };
  const auto names_it = MessageMatches(ContainsSubstring("sample 12"));
  CHECK_THROWS_MATCHES(encode({{"user", {text("a <|image_pad|> b")}}}), DataError, names_it);
  CHECK_THROWS_MATCHES(encode({{"user", {text("<|im_"), text("end|>")}}}), DataError,
                       names_it);  // across parts
  CHECK_THROWS_MATCHES(encode({{"user", {text("q")}}, {"assistant", {text("<|im_end|>")}}}),
                       DataError, names_it);
  CHECK_THROWS_MATCHES(encode({{"system", {text("<tool>")}}}), DataError, names_it);
  CHECK_THROWS_MATCHES(encode({{"asistant", {text("a")}}}), DataError, names_it);
  CHECK_NOTHROW(encode({{"user", {text("a < b | c >")}}}));
}

TEST_CASE("chat: images and grids must agree", "[unit]") {
  const Tokenizer tokenizer = small();
  const std::vector<Message> messages{{"user", {kImage, text("q")}}};
  const auto encode = [&](const std::vector<Grid>& grids) {
    return encode_chat(tokenizer, messages, grids, kMerge, false, "sample 12");
  };
  CHECK_NOTHROW(encode({{1, 2, 2}}));
  CHECK_THROWS_AS(encode({}), DataError);
  CHECK_THROWS_AS(encode({{1, 2, 2}, {1, 2, 2}}), DataError);
  CHECK_THROWS_AS(encode({{1, 3, 2}}), DataError);
  CHECK_THROWS_AS(encode({{1, 0, 2}}), DataError);
}

}  // namespace
}  // namespace muster::data
