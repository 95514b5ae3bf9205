// Whether a picture can be read, told without its pixels where its format allows.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/images/image.h"

namespace muster::data {

struct ImageCheck {
  ImageInfo info;
  std::vector<std::string> warnings;
};

// Throws the DataError of decode_image() for a picture that it throws for. A JPEG of one scan whose
// headers libjpeg takes, whose scan has no marker but restarts in their order and which has an end
// marker, and a PNG whose chunks have their checksums, are known to decode; everything else is
// decoded. What libjpeg would warn of within a scan is not told.
ImageCheck check_image(std::span<const std::byte> bytes, std::string_view name);

}  // namespace muster::data
