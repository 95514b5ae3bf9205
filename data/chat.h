// Qwen2.5-VL's chat template and the expansion of <|image_pad|>.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/image.h"
#include "data/tokenizer.h"

namespace muster::data {

struct ContentPart {
  bool is_image = false;
  std::string text;   // when not an image
};
struct Message {
  std::string role;
  std::vector<ContentPart> parts;
};

// "You are a helpful assistant." is put first when no system message is given, as the published template does.
std::string render_chat(std::span<const Message> messages, bool add_generation_prompt);

struct ChatTokens {
  std::vector<std::int64_t> input_ids;
  std::vector<std::int64_t> labels;   // kIgnoreLabel except the assistants' text, <|im_end|> and the newline after it
};
// Renders, expands the k-th <|image_pad|> to grids[k].patches() / merge_size^2 copies, encodes. Throws DataError (naming
// `where`) when images and grids differ in number or user text holds a special token.
ChatTokens encode_chat(const Tokenizer& tokenizer, std::span<const Message> messages, std::span<const Grid> grids,
                       std::int64_t merge_size, bool add_generation_prompt, std::string_view where);

}  // namespace muster::data
