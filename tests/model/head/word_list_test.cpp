// Open captions over the words of a pack: a softmax over some rows of the token embedding.
#include "model/head/word_list.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "base/error.h"
#include "model/head/detection_head.h"
#include "model/head/loss_values.h"

namespace muster::model {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::loss_options, test::noise, test::values;
using Captions = std::vector<CaptionIds>;

constexpr std::int64_t kListText = 24, kListVocab = 40, kListEnd = 39;
// Not from 0 and with holes: nearly no place is the id itself.
const CaptionIds kSomeWords{2, 4, 7, 9, 15, 21, kListEnd};

CaptionIds every_word() {
  CaptionIds ids(kListVocab);
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

HeadConfig config_saying(CaptionIds tokens) {
  HeadConfig config = test::one_layer_head();
  config.denoising_groups = 2;
  config.denoising_box_noise = 0.4;
  config.caption_tokens = std::move(tokens);
  return config;
}

// All have the same parameters: they differ in what their captions can say alone.
DetectionHead head_saying(CaptionIds tokens) {
  DetectionHead head{
      config_saying(std::move(tokens)), {kListText, kListText}, kListEnd, 5, at::kFloat, at::kCPU};
  head.visit("", [](const std::string&, at::Tensor& tensor) { tensor.set_requires_grad(true); });
  return head;
}

at::Tensor list_embedding() { return noise(1, {kListVocab, kListText}); }

at::Tensor caption_loss(const DetectionHead& head, const at::Tensor& queries,
                        const Captions& captions, const at::Tensor& embedding) {
  std::vector<const CaptionIds*> all;
  for (const CaptionIds& caption : captions) all.push_back(&caption);
  return head.captions().loss_sum(queries, all, head.captions().table(embedding));
}

// log p(word | prefix) of one query for each of `words`, whose last is the end token: one
// log_softmax over rows that are looked up, as classes that part after the prefix are told.
at::Tensor reference_log_probs(const DetectionHead& head, const at::Tensor& query,
                               const CaptionIds& prefix, const CaptionIds& words,
                               const at::Tensor& embedding) {
  if (prefix.empty()) {  // no class has an empty name
    return head.captions()
        .first_log_probs(query, words, {embedding, embedding})
        .log_softmax(1)
        .squeeze(0);
  }
  Captions names;
  for (const std::int64_t word : words) {
    names.push_back(prefix);
    if (word != kListEnd) names.back().push_back(word);
  }
  return head.captions().class_log_probs(query, ClassTrie(names, kListEnd), embedding).squeeze(0);
}

// -log p summed over the ids of one caption and its end that are among `words`.
at::Tensor reference_loss(const DetectionHead& head, const at::Tensor& query,
                          const CaptionIds& caption, const CaptionIds& words,
                          const at::Tensor& embedding) {
  at::Tensor sum = at::zeros({});
  for (std::size_t t = 0; t <= caption.size(); ++t) {
    const CaptionIds prefix(caption.begin(), caption.begin() + static_cast<std::ptrdiff_t>(t));
    const auto place = std::ranges::find(words, t < caption.size() ? caption[t] : kListEnd);
    if (place == words.end()) continue;
    sum = sum - reference_log_probs(head, query, prefix, words, embedding)[place - words.begin()];
  }
  return sum;
}

at::Tensor gradient_of(DetectionHead& head, const std::string& wanted) {
  at::Tensor gradient;
  head.visit("", [&](const std::string& name, at::Tensor& tensor) {
    if (name == wanted) gradient = tensor.grad();
  });
  return gradient;
}

TEST_CASE("word list: places and ids", "[unit]") {
  const WordList some(kSomeWords, kListEnd);
  CHECK(some.place_of(2) == 0);
  CHECK(some.place_of(15) == 4);
  CHECK(some.id_at(4) == 15);
  for (const std::int64_t outside : {0, 3, 38, 40}) CHECK_FALSE(some.place_of(outside));
  CHECK(some.places_of(CaptionIds{39, 4}) == CaptionIds{6, 1});
  CHECK_FALSE(some.places_of(CaptionIds{39, 5}));
  const at::Tensor embedding = list_embedding();
  CHECK(at::equal(some.table(embedding).said[4], embedding[15]));
  const WordList all;
  CHECK(all.whole());
  CHECK(all.place_of(17) == 17);
  CHECK(all.id_at(17) == 17);
  CHECK(all.table(embedding).said.is_same(embedding));  // no copy of the vocabulary
}

TEST_CASE("word list: what is no list of words is refused", "[fault]") {
  CHECK_THROWS_WITH(WordList({4, 2, kListEnd}, kListEnd), ContainsSubstring("no ascending list"));
  CHECK_THROWS_WITH(WordList({2, 2, kListEnd}, kListEnd), ContainsSubstring("no ascending list"));
  CHECK_THROWS_WITH(WordList({-1, kListEnd}, kListEnd), ContainsSubstring("no ascending list"));
  CHECK_THROWS_WITH(WordList({2, 4}, kListEnd), ContainsSubstring("lack 39"));
  HeadConfig both = config_saying(kSomeWords);
  both.classes = {{4}, {7}};
  CHECK_THROWS_WITH(check_head(both), ContainsSubstring("this head has classes"));
}

TEST_CASE("caption words: the list of all ids is the whole vocabulary", "[unit]") {
  const DetectionHead whole = head_saying({}), listed = head_saying(every_word());
  const at::Tensor embedding = list_embedding();
  const at::Tensor queries = noise(2, {30, 16}) * 2;
  const Captions captions{{4, 7, 9}, {}, {2}};
  const at::Tensor few = queries.narrow(0, 0, 3);
  CHECK(caption_loss(listed, few, captions, embedding).item<double>() ==
        Catch::Approx(caption_loss(whole, few, captions, embedding).item<double>()));
  const CaptionIds words{4, kListEnd, 0};
  const auto first = [&](const DetectionHead& head) {
    return head.captions().first_log_probs(queries, words, head.captions().table(embedding));
  };
  CHECK(at::allclose(first(listed), first(whole), 1e-5, 1e-6));
  const at::NoGradGuard no_grad;
  const std::vector<DecodedCaption> a = listed.likeliest_captions(queries, embedding);
  const std::vector<DecodedCaption> b = whole.likeliest_captions(queries, embedding);
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].ids == b[i].ids);
    CHECK(a[i].log_probability == Catch::Approx(b[i].log_probability));
  }
}

// 5 and 11 are no words: they are left out of the sum, but what follows them hears them.
TEST_CASE("caption words: loss and gradients are those of a softmax over the rows", "[unit]") {
  const Captions captions{{4, 7, 9}, {}, {15, 5, 2}, {11}};
  DetectionHead head = head_saying(kSomeWords), reference = head_saying({});
  const at::Tensor embedding = list_embedding().requires_grad_();
  const at::Tensor queries = noise(2, {4, 16}).requires_grad_();
  const at::Tensor loss = caption_loss(head, queries, captions, embedding);
  loss.backward();
  const at::Tensor same_embedding = list_embedding().requires_grad_();
  const at::Tensor same_queries = noise(2, {4, 16}).requires_grad_();
  at::Tensor expected = at::zeros({});
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const at::Tensor query = same_queries.narrow(0, static_cast<std::int64_t>(i), 1);
    expected = expected + reference_loss(reference, query, captions[i], kSomeWords, same_embedding);
  }
  expected.backward();
  CHECK(loss.item<double>() == Catch::Approx(expected.item<double>()));
  CHECK(at::allclose(embedding.grad(), same_embedding.grad(), 1e-4, 1e-5));
  CHECK(at::allclose(queries.grad(), same_queries.grad(), 1e-4, 1e-5));
  for (const char* name : {"caption.output.weight", "caption.input.weight", "caption.position"}) {
    INFO(name);
    CHECK(at::allclose(gradient_of(head, name), gradient_of(reference, name), 1e-4, 1e-5));
  }
  const at::Tensor touched = embedding.grad().abs().sum(1).gt(0).nonzero().squeeze(1);
  CHECK(touched.equal(at::tensor({2, 4, 5, 7, 9, 11, 15, 21, 39}, at::kLong)));
}

TEST_CASE("caption words: an id that cannot be said has no probability", "[unit]") {
  const DetectionHead head = head_saying(kSomeWords), whole = head_saying({});
  const at::NoGradGuard no_grad;
  const at::Tensor embedding = list_embedding();
  const at::Tensor queries = noise(2, {6, 16});
  const CaptionIds asked{5, 15, 38, 2, 15};
  const at::Tensor log_p =
      head.captions().first_log_probs(queries, asked, head.captions().table(embedding));
  CHECK(log_p.sizes() == at::IntArrayRef({6, 5}));
  for (const std::int64_t column : {0, 2})
    CHECK((log_p.select(1, column) == -std::numeric_limits<float>::infinity()).all().item<bool>());
  const at::Tensor selected =
      whole.captions()
          .first_log_probs(queries, kSomeWords, whole.captions().table(embedding))
          .log_softmax(1);
  CHECK(at::allclose(log_p.select(1, 1), selected.select(1, 4), 1e-5, 1e-6));
  CHECK(at::allclose(log_p.select(1, 3), selected.select(1, 0), 1e-5, 1e-6));
  CHECK(at::equal(log_p.select(1, 4), log_p.select(1, 1)));
}

TEST_CASE("caption words: nothing else is ever said", "[unit]") {
  const DetectionHead head = head_saying(kSomeWords), whole = head_saying({});
  const at::NoGradGuard no_grad;
  const at::Tensor embedding = list_embedding();
  const at::Tensor states = noise(3, {200, 16}) * 2;
  const auto ids_of = [&](const DetectionHead& of) {
    std::set<std::int64_t> ids;
    for (const DecodedCaption& caption : of.likeliest_captions(states, embedding))
      ids.insert(caption.ids.begin(), caption.ids.end());
    return ids;
  };
  const std::set<std::int64_t> words(kSomeWords.begin(), kSomeWords.end());
  const std::set<std::int64_t> said = ids_of(head), unbound = ids_of(whole);
  CHECK(said.size() > 3);
  CHECK(std::ranges::includes(words, said));
  CHECK_FALSE(std::ranges::includes(words, unbound));
  // Its probability is the one that the loss gives what was said.
  for (std::int64_t i = 0; i < 40; ++i) {
    const DecodedCaption caption = head.likeliest_captions(states.narrow(0, i, 1), embedding)[0];
    if (caption.ids.size() == 4) continue;  // its end was not counted where there was no room
    const double loss =
        caption_loss(head, states.narrow(0, i, 1), {caption.ids}, embedding).item<double>();
    CHECK(caption.log_probability == Catch::Approx(-loss).epsilon(1e-3));
  }
}

// All terms at once: the table that matching, queries and denoising read is one.
TEST_CASE("caption words: terms and the embedding's gradient of a whole head", "[unit]") {
  const TokenLayout layout = token_layout(at::tensor({1, 6, 8}, at::kLong).view({1, 3}), 2);
  const at::Tensor vision = noise(4, {12, kListText}), language = noise(6, {12, kListText});
  const std::vector<ImageTargets> targets{
      {at::tensor({0.3F, 0.4F, 0.2F, 0.3F, 0.7F, 0.6F, 0.3F, 0.2F}).view({2, 4}),
       {{4, 7}, {9}},
       {0, 0}}};
  const DenoisingQueries denoising = make_denoising(targets, 2, 0.4, 77);
  const auto terms_of = [&](const DetectionHead& head, const at::Tensor& embedding) {
    return head.loss(head.forward(vision, language, layout, denoising), targets, denoising,
                     loss_options(1), embedding);
  };
  const auto gradient = [&](const DetectionHead& head) {
    const at::Tensor embedding = list_embedding().requires_grad_();
    at::Tensor total = at::zeros({});
    for (const LossTerm& term : terms_of(head, embedding)) total = total + term.sum;
    total.backward();
    return embedding.grad();
  };
  const DetectionHead whole = head_saying({}), listed = head_saying(every_word()),
                      some = head_saying(kSomeWords);
  CHECK(at::allclose(gradient(listed), gradient(whole), 1e-4, 1e-5));
  CHECK(gradient(some).abs().sum(1).gt(0).sum().item<std::int64_t>() ==
        static_cast<std::int64_t>(kSomeWords.size()));
  const auto all_terms = values(terms_of(whole, list_embedding()));
  for (const auto& [name, value] : values(terms_of(listed, list_embedding())))
    CHECK(value == Catch::Approx(all_terms.at(name)).epsilon(1e-4));
  const auto some_terms = values(terms_of(some, list_embedding()));
  CHECK(some_terms.at("dn_caption") < all_terms.at("dn_caption"));  // fewer words to tell apart
}

TEST_CASE("caption words: they travel with the head, and heads without them say all", "[unit]") {
  nlohmann::json json = head_to_json(config_saying(kSomeWords));
  CHECK(head_from_json(json).caption_tokens == kSomeWords);
  json.erase("caption_tokens");
  CHECK(head_from_json(json).caption_tokens.empty());
}

}  // namespace
}  // namespace muster::model
