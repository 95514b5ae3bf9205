#include "model/head/class_trie.h"

#include <ATen/core/grad_mode.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "model/head/detection_head.h"
#include "model/head/loss_values.h"

namespace muster::model {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::noise;

constexpr std::int64_t kTrieText = 24, kTrieVocab = 40, kTrieEnd = 39;
// Two classes start with 7 and one of them ends there; 5 stands alone.
const std::vector<CaptionIds> kTrieNames{{4}, {7, 2}, {7, 9, 1}, {7}, {5, 6}};

HeadConfig closed_head(std::vector<CaptionIds> classes = kTrieNames) {
  HeadConfig config = test::one_layer_head();
  config.classes = std::move(classes);
  return config;
}

DetectionHead closed_set_head(const HeadConfig& config) {
  return {config, {kTrieText, kTrieText}, kTrieEnd, 5, at::kFloat, at::kCPU};
}

// log p(id | prefix) over the whole vocabulary: what teacher forcing of both captions differs in.
double full_log_prob(const DetectionHead& head, const at::Tensor& query, const CaptionIds& prefix,
                     std::int64_t id, const at::Tensor& embedding) {
  const CaptionTable table = head.captions().table(embedding);
  const auto loss = [&](const CaptionIds& ids) {
    const CaptionIds* caption = &ids;
    return head.captions().loss_sum(query, {&caption, 1}, table).item<double>();
  };
  const auto first = [&](std::int64_t token) {
    return head.captions().first_log_probs(query, {&token, 1}, table).item<double>();
  };
  if (prefix.empty()) return first(id);
  return -loss(prefix) - first(prefix.front());  // of one id: what is left is the end token's
}

TEST_CASE("class trie: branchings are where something is to be told", "[unit]") {
  const ClassTrie trie(kTrieNames, kTrieEnd);
  REQUIRE(trie.branchings().size() == 2);
  CHECK(trie.branchings()[0].prefix.empty());
  CHECK(trie.branchings()[0].choices == CaptionIds{4, 5, 7});
  CHECK(trie.branchings()[1].prefix == CaptionIds{7});
  CHECK(trie.branchings()[1].choices == CaptionIds{2, 9, kTrieEnd});
  CHECK(trie.paths().sum(1).equal(at::tensor({1.F, 2.F, 2.F, 2.F, 1.F})));
  CHECK(trie.index_of({7, 9, 1}) == 2);
  CHECK_THROWS_WITH(trie.index_of({7, 9}), ContainsSubstring("none of the 5 class names"));
  CHECK(ClassTrie({{3}}, kTrieEnd).branchings().empty());
}

TEST_CASE("class trie: names that cannot be told apart are refused", "[fault]") {
  CHECK_THROWS_WITH(ClassTrie({{4}, {7}, {4}}, kTrieEnd), ContainsSubstring("classes 0 and 2"));
  CHECK_THROWS_WITH(ClassTrie({{4}, {}}, kTrieEnd), ContainsSubstring("class 1"));
}

TEST_CASE("closed labels: a class's probability is the vocabulary's, among the choices", "[unit]") {
  const DetectionHead head = closed_set_head(closed_head());
  const ClassTrie trie(kTrieNames, kTrieEnd);
  const at::Tensor embedding = noise(1, {kTrieVocab, kTrieText});
  const at::Tensor queries = noise(2, {6, 16});
  const at::Tensor log_p = head.captions().class_log_probs(queries, trie, embedding);
  CHECK(log_p.exp().sum(1).sub(1).abs().max().item<float>() < 1e-6);
  for (std::int64_t i = 0; i < 6; ++i) {
    const at::Tensor query = queries.narrow(0, i, 1);
    const auto p = [&](std::int64_t id) {
      return std::exp(full_log_prob(head, query, {}, id, embedding));
    };
    CHECK(log_p[i][0].exp().item<double>() == Catch::Approx(p(4) / (p(4) + p(5) + p(7))));
    // The end after 7, against the two that go on: their odds are the vocabulary's.
    const double starts_with_7 = p(7) / (p(4) + p(5) + p(7));
    const at::Tensor of_7 = log_p[i].exp().index_select(0, at::tensor({1, 2, 3}, at::kLong));
    CHECK(of_7.sum().item<double>() == Catch::Approx(starts_with_7));
    CHECK(of_7[2].item<double>() / starts_with_7 >
          std::exp(full_log_prob(head, query, {7}, kTrieEnd, embedding)));
  }
}

TEST_CASE("closed labels: only the rows of choices and prefixes learn", "[unit]") {
  const DetectionHead head = closed_set_head(closed_head());
  const ClassTrie trie(kTrieNames, kTrieEnd);
  const at::Tensor embedding = noise(1, {kTrieVocab, kTrieText}).requires_grad_();
  const at::Tensor queries = noise(2, {3, 16}).requires_grad_();
  head.captions().class_log_probs(queries, trie, embedding).select(1, 2).sum().neg().backward();
  const at::Tensor touched = embedding.grad().abs().sum(1).gt(0).nonzero().squeeze(1);
  CHECK(touched.equal(at::tensor({2, 4, 5, 7, 9, static_cast<int>(kTrieEnd)}, at::kLong)));
  CHECK(queries.grad().abs().sum().item<float>() > 0);
}

TEST_CASE("closed labels: every detection is called by a class", "[unit]") {
  const DetectionHead head = closed_set_head(closed_head());
  const at::NoGradGuard no_grad;
  const at::Tensor embedding = noise(1, {kTrieVocab, kTrieText});
  const at::Tensor states = noise(3, {40, 16}) * 2;
  const at::Tensor log_p =
      head.captions().class_log_probs(states, ClassTrie(kTrieNames, kTrieEnd), embedding);
  const std::vector<DecodedCaption> said = head.likeliest_captions(states, embedding);
  std::set<CaptionIds> seen;
  for (std::int64_t i = 0; i < 40; ++i) {
    const std::int64_t best = log_p[i].argmax().item<std::int64_t>();
    CHECK(said[i].ids == kTrieNames[best]);
    CHECK(said[i].log_probability == log_p[i][best].item<float>());
    seen.insert(said[i].ids);
  }
  CHECK(seen.size() > 1);
}

TEST_CASE("closed labels: one class needs no decision", "[unit]") {
  const DetectionHead head = closed_set_head(closed_head({{3, 4}}));
  const at::NoGradGuard no_grad;
  const std::vector<DecodedCaption> said =
      head.likeliest_captions(noise(3, {2, 16}), noise(1, {kTrieVocab, kTrieText}));
  CHECK(said[1].ids == CaptionIds{3, 4});
  CHECK(said[1].log_probability == 0);
}

TEST_CASE("closed labels: classes travel with the head, and heads without them are open",
          "[unit]") {
  nlohmann::json json = head_to_json(closed_head());
  CHECK(head_from_json(json).classes == kTrieNames);
  json.erase("classes");
  CHECK(head_from_json(json).classes.empty());
}

}  // namespace
}  // namespace muster::model
