// The turns of a row, in the dialects of QwenLM's fine-tuning, LLaMA-Factory, ms-swift and OpenAI.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "data/pack/sample.h"

namespace muster::data {

struct Conversation {
  std::vector<Turn> turns;            // texts as written, with "<image>" for kPictureMark
  std::vector<std::string> pictures;  // named inside the turns, in order
};

// Whether a row holds turns in any dialect.
bool has_conversation(const nlohmann::json& row);

// `conversations`, `messages` or `conversation`; or one question and answer as `query` and
// `response`, `instruction`, `input` and `output`, `question` and `answer`, after an optional
// `history` and `system`. Throws DataError naming the turn.
Conversation read_conversation(const nlohmann::json& row);

// The keys that this reader looks at.
bool is_conversation_key(std::string_view key);

inline constexpr std::string_view kPicturePlaceholder = "<image>";

}  // namespace muster::data
