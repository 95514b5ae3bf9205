// preprocessor_config.json of a Hugging Face folder: how its model wants images.
#pragma once

#include <filesystem>

#include "data/images/patchify.h"

namespace muster::data {

// Either spelling of the limits (min_pixels and max_pixels, or size.shortest_edge and
// size.longest_edge, which are pixel counts too). Throws DataError listing everything missing or of
// a wrong type.
PatchOptions read_preprocessor(const std::filesystem::path& file);
// The file for these options, as transformers reads it.
std::string preprocessor_json(const PatchOptions& options);

}  // namespace muster::data
