// Whether a sample can be trained on as it stands: pictures whole and as recorded, boxes inside
// them (diary rows D-002 to D-004, D-013 and P-002).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "data/pack/sample.h"

namespace muster::data {

// How a picture file is read: its pixels too, or what check_image() needs, which is a tenth of it.
enum class Reading { kPixels, kStructure };

// What a picture file is.
struct PictureFacts {
  std::int64_t width = 0, height = 0;  // as stored
  int orientation = 1;                 // EXIF's
  Digest checksum;                     // of its bytes
  std::string fault;                   // why it cannot be read, "" when it can
  std::vector<std::string> warnings;   // what was not as it should be in a file that can be read
};
PictureFacts examine_picture(const std::filesystem::path& path, Reading reading);

struct BoxFault {
  std::size_t object = 0;  // in Sample::objects
  std::string what;
};
struct Judgement {
  std::vector<std::string> faults;  // of the sample as a whole
  std::vector<BoxFault> boxes;
};
// `facts` are those of the sample's pictures, in order.
Judgement judge(const Sample& sample, const std::vector<PictureFacts>& facts);

// "object 3 (cell): box [1,2,1,9]: zero area"
std::string box_fault_text(const Sample& sample, const BoxFault& fault);

// Both together as texts with the sample's place in front; empty for a good sample.
std::vector<std::string> validate(const Sample& sample, Reading reading = Reading::kPixels);

}  // namespace muster::data
