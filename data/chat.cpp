#include "data/chat.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/tensors/micro_batch.h"

namespace muster::data {
namespace {

// A rendered chat in order: the template's own special tokens, and the text between two of them.
// Text is one run because tokens cross from the template's words ("user\n") into the message's.
struct Run {
  enum Kind { kText, kControl, kImage } kind;
  std::string text;  // of a control or image run: the token
  std::optional<std::size_t>
      labelled_from;  // byte from which it is what the assistant learns to write
};

class Template {
 public:
  void message(const Message& message) {
    const bool learned = message.role == "assistant" && message.learned;
    control("<|im_start|>", false);
    text(message.role + "\n", false);
    if (learned) runs_.back().labelled_from = runs_.back().text.size();
    for (const ContentPart& part : message.parts) {
      if (part.is_image)
        image();
      else
        text(part.text, learned);
    }
    control("<|im_end|>", learned);
    text("\n", learned);
  }

  void open_assistant() {
    control("<|im_start|>", false);
    text("assistant\n", false);
  }

  std::vector<Run> take() { return std::move(runs_); }

 private:
  void control(const char* token, bool labelled) {
    runs_.push_back(
        {Run::kControl, token, labelled ? std::optional<std::size_t>(0) : std::nullopt});
  }
  void image() {
    control("<|vision_start|>", false);
    runs_.push_back({Run::kImage, "<|image_pad|>", std::nullopt});
    control("<|vision_end|>", false);
  }
  void text(const std::string& text, bool labelled) {
    if (text.empty()) return;
    if (!runs_.empty() && runs_.back().kind == Run::kText) {
      runs_.back().text += text;
    } else {
      runs_.push_back({Run::kText, text, labelled ? std::optional<std::size_t>(0) : std::nullopt});
    }
  }

  std::vector<Run> runs_;
};

std::vector<Run> apply_template(std::span<const Message> messages, bool add_generation_prompt) {
  Template chat;
  if (!messages.empty() && messages.front().role != "system") {
    chat.message({"system", {{false, "You are a helpful assistant."}}});
  } else if (!messages.empty() && messages.front().parts.empty()) {
    messages = messages.subspan(1);
  }
  for (const Message& message : messages) chat.message(message);
  if (add_generation_prompt) chat.open_assistant();
  return chat.take();
}

// A token belongs to the byte it starts at.
void append_text(const Tokenizer& tokenizer, const Run& run, std::string_view where,
                 ChatTokens& out) {
  std::size_t start = 0;
  for (const std::int64_t id : tokenizer.encode_user_text(run.text, where)) {
    out.input_ids.push_back(id);
    out.labels.push_back(run.labelled_from && start >= *run.labelled_from ? id : kIgnoreLabel);
    start += tokenizer.token_bytes(id).size();
  }
}

void append_token(const Tokenizer& tokenizer, const Run& run, std::int64_t copies,
                  std::string_view where, ChatTokens& out) {
  const auto id = tokenizer.token_id(run.text);
  if (!id)
    throw DataError(
        fmt::format("{}: the tokenizer has no {}, which the chat template needs", where, run.text));
  out.input_ids.insert(out.input_ids.end(), static_cast<std::size_t>(copies), *id);
  out.labels.insert(out.labels.end(), static_cast<std::size_t>(copies),
                    run.labelled_from ? *id : kIgnoreLabel);
}

void check_chat(std::span<const Message> messages, std::span<const Grid> grids,
                std::int64_t merge_size, std::string_view where) {
  std::size_t images = 0;
  for (const Message& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      throw DataError(
          fmt::format("{}: role \"{}\" is not system, user or assistant", where, message.role));
    }
    images +=
        static_cast<std::size_t>(std::ranges::count_if(message.parts, &ContentPart::is_image));
  }
  if (images != grids.size()) {
    throw DataError(
        fmt::format("{}: the chat shows {} images, {} were given", where, images, grids.size()));
  }
  for (const Grid& grid : grids) {
    if (grid.t >= 1 && grid.h >= 1 && grid.w >= 1 && grid.h % merge_size == 0 &&
        grid.w % merge_size == 0)
      continue;
    throw DataError(fmt::format("{}: a grid of {} x {} x {} patches does not divide into {} x {}",
                                where, grid.t, grid.h, grid.w, merge_size, merge_size));
  }
}

}  // namespace

std::string render_chat(std::span<const Message> messages, bool add_generation_prompt) {
  std::string text;
  for (const Run& run : apply_template(messages, add_generation_prompt)) text += run.text;
  return text;
}

ChatTokens encode_chat(const Tokenizer& tokenizer, std::span<const Message> messages,
                       std::span<const Grid> grids, std::int64_t merge_size,
                       bool add_generation_prompt, std::string_view where) {
  check_chat(messages, grids, merge_size, where);
  ChatTokens tokens;
  std::size_t image = 0;
  for (const Run& run : apply_template(messages, add_generation_prompt)) {
    switch (run.kind) {
      case Run::kText: append_text(tokenizer, run, where, tokens); break;
      case Run::kControl: append_token(tokenizer, run, 1, where, tokens); break;
      case Run::kImage:
        append_token(tokenizer, run, grids[image++].patches() / (merge_size * merge_size), where,
                     tokens);
        break;
    }
  }
  return tokens;
}

}  // namespace muster::data
