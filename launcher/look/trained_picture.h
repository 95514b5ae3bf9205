// What a model is shown, as a picture again.
#pragma once

#include <span>

#include "data/images/image.h"
#include "data/images/patchify.h"

namespace muster::launcher {

// Undoes data::patchify: rows of one picture, [grid.patches(), patch_dim] f32, back to 8-bit
// colours with the normalisation taken out. The first of equal frames is taken.
data::Image trained_picture(std::span<const float> rows, const data::Grid& grid,
                            const data::PatchOptions& patches);

}  // namespace muster::launcher
