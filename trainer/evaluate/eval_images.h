// Which pictures of a set are evaluated, and the truth about them. Each picture of each annotated
// sample is an image of its own for the matching, with its sample's question and its sample's
// objects: two samples that ask different things about one picture do not see each other's boxes.
// Samples that nobody annotated, and those without a picture, are left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/sample_set.h"
#include "trainer/evaluate/coco_eval.h"

namespace muster::trainer {

// The pictures of a set that are evaluated, numbered in the order of the samples.
struct EvalImages {
  std::vector<std::int64_t> sample;  // those with annotated pictures
  std::vector<std::int64_t> first;   // [samples + 1]: sample[k] has images first[k] .. first[k + 1]
  std::vector<std::int64_t> source_id;  // per image: the source's, which several may have
  std::vector<std::int64_t> image_id;   // per image: its COCO id; ids sort as the source's do

  bool has(std::int64_t of_set) const;  // whether a sample of the set is one of `sample`
  // The number of its first image. REQUIRES has(of_set).
  std::int64_t first_image(std::int64_t of_set) const;
};
// `max_samples`: of each pack, the first so many; 0: all.
EvalImages eval_images(const data::SampleSet& set, std::int64_t max_samples);
// Whether a sample is among each pack's first `max_samples`; 0: all are.
bool is_evaluated(const data::SampleSet& set, std::int64_t sample, std::int64_t max_samples);
CocoGroundTruth ground_truth(const data::SampleSet& set, const EvalImages& images);

// The stems of the packs' files, made different by a number.
std::vector<std::string> pack_names(const data::SampleSet& set);
// The pack that each image is of, by the image's id.
std::vector<std::size_t> packs_by_id(const data::SampleSet& set, const EvalImages& images);

}  // namespace muster::trainer
