// How the model of a Hugging Face folder wants images: preprocessor_config.json, or since
// transformers 5 the "image_processor" of processor_config.json.
#pragma once

#include <filesystem>
#include <optional>

#include "data/images/patchify.h"

namespace muster::data {

inline constexpr const char* kPreprocessorFile = "preprocessor_config.json";
inline constexpr const char* kProcessorFile = "processor_config.json";

// The file of the folder that says it: processor_config.json where it holds an "image_processor",
// as transformers looks first, else preprocessor_config.json. Neither reads
// video_preprocessor_config.json. Throws DataError for a file that is no JSON object.
std::optional<std::filesystem::path> preprocessor_in(const std::filesystem::path& folder);

// Any spelling of the limits (min_pixels and max_pixels, at the top or in size, or
// size.shortest_edge and size.longest_edge, which are pixel counts too), any of the two files.
// Throws DataError listing everything missing, of a wrong type, or computed otherwise here (no
// resizing, no normalisation, another resampling).
PatchOptions read_preprocessor(const std::filesystem::path& file);

// The file for these options, as transformers reads it.
std::string preprocessor_json(const PatchOptions& options);

// `text`, one of the two files, with the values of these options, the limits in the spellings that
// it has and in those that transformers 4.49 to 5 read; the rest as it was.
std::string preprocessor_with(const std::string& text, const PatchOptions& options);

// processor_config.json of transformers 5, taken apart into the files that every version
// reads, 4.49 and 5 alike. `videos` is empty where the file has no "video_processor".
struct ProcessorParts {
  std::string images;  // preprocessor_config.json
  std::string videos;  // video_preprocessor_config.json
};
// REQUIRES an "image_processor" in the text.
ProcessorParts processor_parts(const std::string& text);

}  // namespace muster::data
