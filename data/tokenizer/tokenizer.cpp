#include "data/tokenizer/tokenizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <functional>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"
#include "base/utf8.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/file.h"
#include "data/tokenizer/text.h"

namespace muster::data {
namespace {

// Finds added tokens in text: the leftmost, of several there the longest.
class AddedTokenFinder {
 public:
  void add(const AddedToken* token) {
    auto& list = by_first_byte_[static_cast<unsigned char>(token->content.front())];
    list.push_back(token);
    std::stable_sort(list.begin(), list.end(), [](const auto* a, const auto* b) {
      return a->content.size() > b->content.size();
    });
  }

  // Calls `plain` for the text between added tokens (never empty) and `found` for each of them, in
  // order.
  template <typename Plain, typename Found>
  void split(std::string_view text, const Plain& plain, const Found& found) const {
    std::size_t done = 0;
    for (std::size_t i = 0; i < text.size();) {
      const AddedToken* token = starting_at(text.substr(i));
      if (token == nullptr) {
        ++i;
        continue;
      }
      if (i > done) plain(text.substr(done, i - done));
      found(*token);
      done = i += token->content.size();
    }
    if (done < text.size()) plain(text.substr(done));
  }

 private:
  const AddedToken* starting_at(std::string_view text) const {
    for (const AddedToken* token : by_first_byte_[static_cast<unsigned char>(text.front())]) {
      if (text.starts_with(token->content)) return token;
    }
    return nullptr;
  }

  std::array<std::vector<const AddedToken*>, 256> by_first_byte_;
};

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerFile file)
      : added(std::move(file.added)),
        nfc(file.nfc),
        splitter(file.split_regex),
        bpe(std::move(file.tokens), file.merges) {
    for (AddedToken& token : added) {
      std::string storage;
      if (token.normalized && nfc) token.content = std::string(to_nfc(token.content, storage));
      by_id.emplace(token.id, &token);
      by_content.emplace(token.content, &token);
      (token.normalized ? after_nfc : before_nfc).add(&token);
      largest_added = std::max(largest_added, token.id);
    }
  }

  // Calls `plain` for normalised text without added tokens and `found` for each added token.
  template <typename Plain, typename Found>
  void split(std::string_view text, const Plain& plain, const Found& found) const {
    std::string storage;
    before_nfc.split(
        text,
        [&](std::string_view part) {
          after_nfc.split(nfc ? to_nfc(part, storage) : part, plain, found);
        },
        found);
  }

  // `found` is called before an added token's id is appended.
  template <typename Found>
  std::vector<std::int64_t> encode(std::string_view text, const Found& found) const {
    std::vector<std::int64_t> ids;
    Bpe::Scratch scratch;
    const std::function<void(std::string_view)> piece = [&](std::string_view p) {
      bpe.encode(p, scratch, ids);
    };
    split(
        text, [&](std::string_view part) { splitter.split(part, piece); },
        [&](const AddedToken& token) {
          found(token);
          ids.push_back(token.id);
        });
    return ids;
  }

  std::vector<AddedToken> added;  // never changed after construction: pointed into
  bool nfc;
  Splitter splitter;
  Bpe bpe;
  AddedTokenFinder before_nfc, after_nfc;
  std::unordered_map<std::int64_t, const AddedToken*> by_id;
  std::unordered_map<std::string_view, const AddedToken*> by_content;
  std::int64_t largest_added = -1;
};

Tokenizer::Tokenizer(const std::filesystem::path& path)
    : impl_(std::make_unique<Impl>(read_tokenizer_file(path))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::vector<std::int64_t> Tokenizer::encode(std::string_view text) const {
  return impl_->encode(text, [](const AddedToken&) {});
}

std::vector<std::int64_t> Tokenizer::encode_user_text(std::string_view text,
                                                      std::string_view where) const {
  return impl_->encode(text, [&](const AddedToken& token) {
    throw DataError(fmt::format(
        "{}: the text contains the token {} (id {}), which would be read as control, not as text; "
        "remove it or spell it differently",
        where, token.content, token.id));
  });
}

std::string Tokenizer::decode(std::span<const std::int64_t> ids, bool skip_special) const {
  std::string bytes;
  for (const std::int64_t id : ids) {
    const auto added = impl_->by_id.find(id);
    if (skip_special && added != impl_->by_id.end() && added->second->special) continue;
    bytes += token_bytes(id);
  }
  return to_valid_utf8(bytes);
}

std::optional<std::int64_t> Tokenizer::token_id(std::string_view token) const {
  if (const auto added = impl_->by_content.find(token); added != impl_->by_content.end())
    return added->second->id;
  const auto bytes = spelled_to_bytes(token);
  const std::int32_t id = bytes ? impl_->bpe.find(*bytes) : -1;
  return id < 0 ? std::nullopt : std::optional<std::int64_t>(id);
}

std::string_view Tokenizer::token_bytes(std::int64_t id) const {
  const auto added = impl_->by_id.find(id);
  return added != impl_->by_id.end() ? std::string_view(added->second->content)
                                     : impl_->bpe.bytes(id);
}

std::int64_t Tokenizer::size() const {
  return std::max(impl_->largest_added + 1, impl_->bpe.size());
}

void Tokenizer::assert_tokens(const std::map<std::string, std::int64_t>& expected) const {
  std::vector<std::string> problems;
  for (const auto& [token, id] : expected) {
    const auto found = token_id(token);
    if (found == id) continue;
    problems.push_back(fmt::format("{}: expected id {}, found {}", token, id,
                                   found ? std::to_string(*found) : "no such token"));
  }
  if (problems.empty()) return;
  throw ConfigError(fmt::format(
      "special tokens drifted; use the tokenizer the model was trained with, or correct "
      "tokens.expected:\n  {}",
      join(problems, "\n  ")));
}

}  // namespace muster::data
