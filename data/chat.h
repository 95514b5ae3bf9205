// Qwen2.5-VL's chat template and the expansion of <|image_pad|>.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/images/patchify.h"
#include "data/tokenizer/tokenizer.h"

namespace muster::data {

struct ContentPart {
  bool is_image = false;
  std::string text;  // when not an image
};
struct Message {
  std::string role;
  std::vector<ContentPart> parts;
  bool learned = true;  // an assistant's: its text is labelled
};

// "You are a helpful assistant." is put first when the first message is not a system message, as
// the published template does. A first system message without any parts leaves the system turn out.
std::string render_chat(std::span<const Message> messages, bool add_generation_prompt);

struct ChatTokens {
  std::vector<std::int64_t> input_ids;
  // kIgnoreLabel except the learned assistants' text, <|im_end|> and the newline after it. Text
  // that starts with a newline may share its first token with the template's "assistant\n": that
  // token has no label.
  std::vector<std::int64_t> labels;
};
// Renders, expands the k-th <|image_pad|> to grids[k].patches() / merge_size^2 copies, encodes.
// Throws DataError (naming `where`) when images and grids differ in number, a role is not system,
// user or assistant, or a message's text holds a special token.
ChatTokens encode_chat(const Tokenizer& tokenizer, std::span<const Message> messages,
                       std::span<const Grid> grids, std::int64_t merge_size,
                       bool add_generation_prompt, std::string_view where);

}  // namespace muster::data
