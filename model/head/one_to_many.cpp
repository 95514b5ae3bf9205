#include "model/head/one_to_many.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace muster::model {
namespace {

struct Candidate {
  std::int64_t token = 0;
  double overlap = 0;    // IoU
  double agreement = 0;  // sqrt(objectness) * IoU^4
};

// One image: its tokens' predictions and centres.
struct Tokens {
  const float* boxes;  // cx,cy,w,h each
  const float* logits;
  const float* centres;  // x,y each
  std::int64_t count;

  Box corners(std::int64_t token) const {
    const float* box = boxes + 4 * token;
    return cxcywh_to_xyxy(Box{box[0], box[1], box[2], box[3]});
  }
  double objectness(std::int64_t token) const {
    return 1 / (1 + std::exp(-static_cast<double>(logits[token])));
  }
  bool inside(std::int64_t token, const Box& box) const {
    const float x = centres[2 * token], y = centres[2 * token + 1];
    return x > box[0] && x < box[2] && y > box[1] && y < box[3];
  }
  double distance(std::int64_t token, double x, double y) const {
    return std::hypot(centres[2 * token] - x, centres[2 * token + 1] - y);
  }
};

std::int64_t nearest(const Tokens& tokens, const Box& box) {
  const double x = 0.5 * (box[0] + box[2]), y = 0.5 * (box[1] + box[3]);
  std::int64_t best = 0;
  double least = tokens.distance(best, x, y);
  for (std::int64_t token = 1; token < tokens.count; ++token) {
    const double distance = tokens.distance(token, x, y);
    if (distance < least) {
      best = token;
      least = distance;
    }
  }
  return best;
}

// The best of one object, best first.
std::vector<Candidate> candidates(const Tokens& tokens, const Box& truth, std::int64_t most) {
  std::vector<Candidate> all;
  const std::int64_t middle = nearest(tokens, truth);
  for (std::int64_t token = 0; token < tokens.count; ++token) {
    if (token != middle && !tokens.inside(token, truth)) continue;
    const double overlap = iou(tokens.corners(token), truth);
    const double agreement = std::sqrt(tokens.objectness(token)) * std::pow(overlap, 4);
    if (agreement > 0) all.push_back({token, overlap, agreement});
  }
  std::ranges::stable_sort(all, std::greater(), &Candidate::agreement);
  if (static_cast<std::int64_t>(all.size()) > most) all.resize(most);
  return all;
}

// What a token was given to.
struct Owner {
  std::int64_t object = -1;
  Candidate candidate;
};

std::vector<Owner> owners(const Tokens& tokens, const std::vector<Box>& truths,
                          std::int64_t per_object) {
  std::vector<Owner> owner(tokens.count);
  for (std::size_t object = 0; object < truths.size(); ++object) {
    for (const Candidate& candidate : candidates(tokens, truths[object], per_object)) {
      Owner& now = owner[candidate.token];
      if (now.object < 0 || candidate.overlap > now.candidate.overlap)
        now = {static_cast<std::int64_t>(object), candidate};
    }
  }
  return owner;
}

std::vector<Box> truths_of(const ImageTargets& target) {
  std::vector<Box> truths;
  const float* box = target.boxes.const_data_ptr<float>();
  for (std::int64_t i = 0; i < target.boxes.size(0); ++i, box += 4)
    truths.push_back(cxcywh_to_xyxy(Box{box[0], box[1], box[2], box[3]}));
  return truths;
}

bool all_finite(const Tokens& tokens) {
  const auto finite = [](float x) { return std::isfinite(x); };
  return std::all_of(tokens.boxes, tokens.boxes + 4 * tokens.count, finite) &&
         std::all_of(tokens.logits, tokens.logits + tokens.count, finite);
}

void add_matches(std::vector<Match>& matches, const std::vector<Owner>& owner, std::size_t objects,
                 std::int64_t first_row, std::int64_t image) {
  std::vector<double> agreement(objects, 0), overlap(objects, 0);
  for (const Owner& own : owner) {
    if (own.object < 0) continue;
    agreement[own.object] = std::max(agreement[own.object], own.candidate.agreement);
    overlap[own.object] = std::max(overlap[own.object], own.candidate.overlap);
  }
  for (const Owner& own : owner) {
    if (own.object < 0) continue;
    const double share = own.candidate.agreement / agreement[own.object];
    matches.push_back({first_row + own.candidate.token, image, own.object,
                       static_cast<float>(share * overlap[own.object])});
  }
}

}  // namespace

std::vector<Match> match_many(const Predictions& cpu, const PredictionSet& set,
                              std::span<const ImageTargets> targets, const at::Tensor& centres,
                              std::int64_t per_object) {
  std::vector<Match> matches;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto image = static_cast<std::int64_t>(i);
    const std::int64_t first = set.first + image * set.width;
    const Tokens tokens{cpu.boxes.const_data_ptr<float>() + 4 * first,
                        cpu.logits.const_data_ptr<float>() + first,
                        centres.const_data_ptr<float>() + 2 * image * set.width, set.counts[i]};
    if (!all_finite(tokens)) continue;
    const std::vector<Box> truths = truths_of(targets[i]);
    add_matches(matches, owners(tokens, truths, per_object), truths.size(), first, image);
  }
  return matches;
}

}  // namespace muster::model
