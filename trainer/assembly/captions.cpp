#include "trainer/assembly/captions.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "data/augment/left_right.h"

namespace muster::trainer {
namespace {

// One caption of a set: most are class names, which repeat.
struct UsedCaption {
  std::string text;
  std::string first_sample;
  std::int64_t count = 0;

  std::string named() const { return fmt::format("\"{}\" of {}", text, first_sample); }
};

// In the order in which they are met first. A deque: its texts stay where they are.
std::deque<UsedCaption> used_captions(const data::SampleSet& set) {
  std::deque<UsedCaption> captions;
  std::unordered_map<std::string_view, UsedCaption*> known;
  for (std::int64_t i = 0; i < set.size(); ++i) {
    const data::Sample sample = set.sample(i);
    for (const data::Object& object : sample.objects) {
      auto found = known.find(object.caption);
      if (found == known.end()) {
        UsedCaption& added = captions.emplace_back(UsedCaption{object.caption, sample.name});
        found = known.emplace(added.text, &added).first;
      }
      ++found->second->count;
    }
  }
  return captions;
}

// Finds captions that do not fit the decoder.
class LengthCheck {
 public:
  explicit LengthCheck(std::int64_t most) : most_(most), longest_(most) {}

  void add(const UsedCaption& caption, std::int64_t tokens) {
    if (tokens > most_) too_long_ += caption.count;
    if (tokens <= longest_) return;
    longest_ = tokens;
    worst_ = caption.named();
  }

  void refuse(const char* key) const {
    if (too_long_ == 0) return;
    throw ConfigError(fmt::format(
        "{}: {} of its captions are longer than detection.caption_max_tokens {}; the longest has "
        "{} tokens: {}. Set detection.caption_max_tokens: {}, or shorten the labels",
        key, too_long_, most_, longest_, worst_, longest_));
  }

 private:
  std::int64_t most_, longest_;
  std::int64_t too_long_ = 0;
  std::string worst_;
};

bool lists_words(const configs::Detection& detection) {
  return detection.enabled && detection.labels == configs::Labels::kOpen &&
         detection.caption_words == configs::CaptionWords::kPack;
}

// Gathers the token ids of captions.
class WordsUsed {
 public:
  explicit WordsUsed(const data::Tokenizer& tokenizer)
      : tokenizer_(tokenizer), ids_{caption_end_token(tokenizer)} {}

  void add(const UsedCaption& caption, const std::vector<std::int64_t>& tokens) {
    ids_.insert(tokens.begin(), tokens.end());
    if (!data::says_left_or_right(caption.text)) return;
    const std::vector<std::int64_t> mirrored =
        tokenizer_.encode_user_text(data::swap_left_right(caption.text), caption.first_sample);
    ids_.insert(mirrored.begin(), mirrored.end());
  }

  std::vector<std::int64_t> sorted() const { return {ids_.begin(), ids_.end()}; }

 private:
  const data::Tokenizer& tokenizer_;
  std::set<std::int64_t> ids_;
};

void note_unsaid(CaptionUse& use, const UsedCaption& caption,
                 const std::vector<std::int64_t>& tokens,
                 const std::vector<std::int64_t>& sayable) {
  const bool said = std::ranges::all_of(
      tokens, [&](std::int64_t id) { return std::ranges::binary_search(sayable, id); });
  if (said) return;
  if (use.unsaid == 0) use.first_unsaid = caption.named();
  use.unsaid += caption.count;
}

void check_names(const char* key, const std::deque<UsedCaption>& captions,
                 const data::ClassMap& classes) {
  std::unordered_set<std::string> names;
  for (std::int64_t i = 0; i < classes.size(); ++i) names.insert(classes.category(i).name);
  std::int64_t others = 0;
  std::string first;
  for (const UsedCaption& caption : captions) {
    if (names.contains(caption.text)) continue;
    if (others == 0) first = caption.named();
    others += caption.count;
  }
  if (others == 0) return;
  throw ConfigError(
      fmt::format("{}: {} captions are no class name of data.train, the first is {}: with "
                  "detection.labels: closed every caption must be one. Set detection.labels: open "
                  "to train captions as they are",
                  key, others, first));
}

}  // namespace

std::int64_t caption_end_token(const data::Tokenizer& tokenizer) {
  const auto id = tokenizer.token_id("<|im_end|>");
  if (!id)
    throw ConfigError(
        "the tokenizer has no <|im_end|>, which ends captions: tokens.tokenizer is not Qwen's");
  return *id;
}

CaptionUse check_captions(const char* key, const data::SampleSet& set,
                          const data::Tokenizer& tokenizer, const data::ClassMap& classes,
                          const configs::Detection& detection,
                          const std::vector<std::int64_t>& sayable) {
  if (!detection.enabled) return {};
  const std::deque<UsedCaption> captions = used_captions(set);
  LengthCheck lengths(detection.caption_max_tokens);
  const bool lists = lists_words(detection) && sayable.empty();  // of the training set alone
  WordsUsed words(tokenizer);
  CaptionUse use;
  for (const UsedCaption& caption : captions) {
    const std::vector<std::int64_t> tokens =
        tokenizer.encode_user_text(caption.text, caption.first_sample);
    lengths.add(caption, static_cast<std::int64_t>(tokens.size()));
    if (lists) words.add(caption, tokens);
    use.captions += caption.count;
    if (!sayable.empty()) note_unsaid(use, caption, tokens, sayable);
  }
  lengths.refuse(key);
  if (detection.labels == configs::Labels::kClosed) check_names(key, captions, classes);
  if (lists) use.words = words.sorted();
  return use;
}

std::int64_t count_caption_words(const data::SampleSet& set, const data::Tokenizer& tokenizer,
                                 const configs::Detection& detection) {
  if (!lists_words(detection)) return 0;
  WordsUsed words(tokenizer);
  for (const UsedCaption& caption : used_captions(set))
    words.add(caption, tokenizer.encode_user_text(caption.text, caption.first_sample));
  return static_cast<std::int64_t>(words.sorted().size());
}

std::string words_text(const CaptionUse& train, std::int64_t vocab_size) {
  if (train.words.empty()) return "";
  return fmt::format("can say {} of {} token ids (detection.caption_words: pack)",
                     train.words.size(), vocab_size);
}

std::string unsaid_text(const CaptionUse& val) {
  if (val.unsaid == 0) return "";
  return fmt::format(
      "{} of {} captions of data.val have words that data.train's do not have, the first is {}: "
      "they cannot be said, and their loss leaves those words out (detection.caption_words: all "
      "learns every word of the vocabulary)",
      val.unsaid, val.captions, val.first_unsaid);
}

}  // namespace muster::trainer
