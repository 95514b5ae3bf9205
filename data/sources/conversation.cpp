#include "data/sources/conversation.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/error.h"
#include "data/sources/parse/numbers.h"

namespace muster::data {
namespace {

using nlohmann::json;

constexpr std::array kListKeys{"conversations", "messages", "conversation"};
constexpr std::array kQuestionKeys{"query", "instruction", "question", "prompt", "problem"};
constexpr std::array kAnswerKeys{"response", "output", "answer", "solution"};

template <typename Keys>
const json* member(const json& row, const Keys& keys) {
  if (!row.is_object()) return nullptr;
  for (const char* key : keys)
    if (const auto at = row.find(key); at != row.end() && !at->is_null()) return &*at;
  return nullptr;
}

const json* member(const json& row, const char* key) { return member(row, std::array{key}); }

[[noreturn]] void refuse_video() { throw DataError("a video: pictures alone are trained on"); }

std::string address(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  for (const char* key : {"url", "path", "image"})
    if (const json* inner = member(value, key); inner != nullptr && inner->is_string())
      return inner->get<std::string>();
  throw DataError("a picture that is no path");
}

// One part of a content list.
void add_part(Conversation& made, std::string& text, const json& part) {
  if (part.is_string()) {
    text += part.get<std::string>();
    return;
  }
  if (!part.is_object()) throw DataError("a content part that is neither text nor picture");
  const json* type = member(part, "type");
  const std::string kind = type != nullptr && type->is_string() ? type->get<std::string>() : "";
  if (kind.find("video") != std::string::npos || part.contains("video")) refuse_video();
  if (kind.find("audio") != std::string::npos || part.contains("audio"))
    throw DataError("a sound: pictures alone are trained on");
  const json* image = member(part, std::array{"image", "image_url", "path", "url"});
  if (image != nullptr) {
    made.pictures.push_back(address(*image));
    text += kPicturePlaceholder;
  } else if (kind.starts_with("image")) {
    text += kPicturePlaceholder;  // the picture is in the row's list
  } else if (const json* words = member(part, std::array{"text", "value"});
             words != nullptr && words->is_string()) {
    text += words->get<std::string>();
  } else {
    throw DataError("a content part that is neither text nor picture");
  }
}

std::string content_of(Conversation& made, const json& content) {
  if (content.is_string()) return content.get<std::string>();
  if (content.is_object()) {
    std::string text;
    add_part(made, text, content);
    return text;
  }
  if (!content.is_array()) throw DataError("a turn's content is neither text nor a list of parts");
  std::string text;
  for (const json& part : content) add_part(made, text, part);
  return text;
}

Role role_of(const std::string& name) {
  if (name == "user" || name == "human") return Role::kUser;
  if (name == "assistant" || name == "gpt" || name == "model" || name == "bot" || name == "chatgpt")
    return Role::kAssistant;
  if (name == "system") return Role::kSystem;
  throw DataError(
      fmt::format("a turn of the role '{}': user, assistant and system are known", name));
}

void add_turn(Conversation& made, const json& turn) {
  const json* role = member(turn, std::array{"role", "from"});
  const json* content = member(turn, std::array{"content", "value"});
  // ms-swift's {"human": ..., "assistant": ...} is two turns.
  const json* human = member(turn, std::array{"human", "user"});
  const json* assistant = member(turn, std::array{"assistant", "gpt"});
  if (role == nullptr && human != nullptr && assistant != nullptr) {
    made.turns.push_back({Role::kUser, content_of(made, *human)});
    made.turns.push_back({Role::kAssistant, content_of(made, *assistant)});
    return;
  }
  if (role == nullptr || !role->is_string()) throw DataError("a turn without a role");
  const Role who = role_of(role->get<std::string>());
  if (content == nullptr) throw DataError("a turn without content");
  made.turns.push_back({who, content_of(made, *content)});
}

void add_list(Conversation& made, const json& list) {
  if (!list.is_array()) throw DataError("the conversation is no list of turns");
  std::size_t number = 0;
  for (const json& turn : list) {
    try {
      add_turn(made, turn);
    } catch (const DataError& error) {
      throw DataError(fmt::format("turn {}: {}", number, error.what()));
    }
    ++number;
  }
}

void add_single(Conversation& made, const json& row) {
  if (const json* history = member(row, "history"); history != nullptr && history->is_array())
    for (const json& pair : *history) {
      if (!pair.is_array() || pair.size() != 2)
        throw DataError("'history' is a list of [question, answer]");
      made.turns.push_back({Role::kUser, content_of(made, pair[0])});
      made.turns.push_back({Role::kAssistant, content_of(made, pair[1])});
    }
  const json* question = member(row, kQuestionKeys);
  const json* answer = member(row, kAnswerKeys);
  if (question != nullptr) {
    std::string text = content_of(made, *question);
    if (const json* input = member(row, "input"); input != nullptr && input->is_string())
      if (const auto more = input->get<std::string>(); !more.empty()) text += "\n" + more;
    made.turns.push_back({Role::kUser, text});
  }
  if (answer != nullptr) made.turns.push_back({Role::kAssistant, content_of(made, *answer)});
}

// A system's turn first, then question and answer in turn.
void check_order(const std::vector<Turn>& turns) {
  for (std::size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].role == Role::kSystem) {
      if (i != 0) throw DataError(fmt::format("turn {}: a system's turn that is not the first", i));
      continue;
    }
    const bool first = i == 0 || turns[i - 1].role == Role::kSystem;
    const Role expected =
        first || turns[i - 1].role == Role::kAssistant ? Role::kUser : Role::kAssistant;
    if (turns[i].role != expected)
      throw DataError(fmt::format("turn {}: {} turn expected", i,
                                  expected == Role::kUser ? "a user's" : "an assistant's"));
  }
}

}  // namespace

bool has_conversation(const json& row) {
  return member(row, kListKeys) != nullptr || member(row, kQuestionKeys) != nullptr;
}

Conversation read_conversation(const json& row) {
  Conversation made;
  const json* list = member(row, kListKeys);
  if (const json* system = member(row, "system"); system != nullptr && system->is_string())
    if (!system->get_ref<const std::string&>().empty())
      made.turns.push_back({Role::kSystem, system->get<std::string>()});
  if (list != nullptr)
    add_list(made, *list);
  else
    add_single(made, row);
  check_order(made.turns);
  return made;
}

bool is_conversation_key(std::string_view key) {
  const auto among = [&](const auto& keys) {
    return std::any_of(keys.begin(), keys.end(), [&](const char* known) { return key == known; });
  };
  return among(kListKeys) || among(kQuestionKeys) || among(kAnswerKeys) || key == "system" ||
         key == "history" || key == "input";
}

}  // namespace muster::data
