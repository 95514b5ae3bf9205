// An augmentation, done: to a sample's texts and boxes, which needs no pixels, and to its pictures.
#pragma once

#include <vector>

#include "data/augment/augmentation.h"
#include "data/images/image.h"
#include "data/pack/class_map.h"
#include "data/pack/sample.h"

namespace muster::data {

// The sample with its new picture's size, its objects where they are now, and its words. With
// swapped words an object's category is the one of the swapped name, where there is one ("left
// glove"). `at` gives the samples of tiles.
Sample apply(const Augmentation& augmentation, const Sample& sample, const SampleAt& at,
             const ClassMap& classes);

// The new sample's pictures. REQUIRES `pictures`: one per tile, in order; without tiles, the
// sample's own.
std::vector<Image> apply(const Augmentation& augmentation, std::vector<Image> pictures);

}  // namespace muster::data
