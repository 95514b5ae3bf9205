// Annotation formats -> samples.
#pragma once

#include <filesystem>
#include <string>

#include "data/sources/read_options.h"
#include "data/sources/source.h"

namespace muster::data {

// `path`: a folder or file of any format in docs/data.md. Boxes come out in pixels of the pictures
// as trained on, categories numbered. What no sample can be made of is in the source's faults, all
// of it; DataError is thrown when there is nothing to read at all, UsageError for options that do
// not fit the format.
Source read_source(const std::filesystem::path& path, const ReadOptions& options);
Source read_source(const std::filesystem::path& path, const std::string& format,
                   const std::string& split);

}  // namespace muster::data
