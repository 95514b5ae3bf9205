// A folder to build a source in.
#pragma once

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "data/images/codec.h"
#include "data/sources/sources.h"

namespace muster::test {

// With one 40x30 JPEG at each given path.
struct SourceFolder {
  explicit SourceFolder(std::initializer_list<const char*> images) {
    for (const char* image : images) put(image, jpeg());
  }
  static std::vector<std::byte> jpeg(std::int64_t width = 40, std::int64_t height = 30,
                                     std::uint8_t gray = 120) {
    const auto bytes = static_cast<std::size_t>(width * height * 3);
    data::Image image;
    image.width = width;
    image.height = height;
    image.rgb.assign(bytes, gray);
    return data::encode_jpeg(image, 90);
  }
  void put(const fs::path& at, const std::vector<std::byte>& bytes) const {
    text(at, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  void text(const fs::path& at, std::string_view content) const {
    fs::create_directories((dir.path() / at).parent_path());
    write_text(dir.path() / at, content);
  }
  data::Source read(const fs::path& at = "", const std::string& split = "") const {
    return data::read_source(dir.path() / at, "", split);
  }
  data::Source read(const fs::path& at, const data::ReadOptions& options) const {
    return data::read_source(dir.path() / at, options);
  }
  TempDir dir;
};

// The faults of a source, or its warnings, as one text without the folder's own path.
inline std::string shortened(std::string text, const SourceFolder& folder) {
  const std::string prefix = folder.dir.path().string() + "/";
  for (std::size_t at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at))
    text.erase(at, prefix.size());
  return text;
}
inline std::string fault_texts(const data::Source& source, const SourceFolder& folder) {
  std::vector<std::string> lines;
  for (const data::Fault& fault : source.faults) lines.push_back(fault.text());
  return shortened(join(lines, "\n"), folder);
}
inline std::string warning_texts(const data::Source& source, const SourceFolder& folder) {
  return shortened(join(source.warnings, "\n"), folder);
}

// "label x1,y1,x2,y2" of every object of a sample, joined by " | ".
inline std::string objects_text(const data::Sample& sample) {
  std::vector<std::string> all;
  for (const data::Object& object : sample.objects) {
    std::vector<std::string> numbers;
    for (const double number : object.box) {
      std::string digits = std::to_string(number);
      digits.erase(digits.find_last_not_of('0') + 1);
      if (digits.back() == '.') digits.pop_back();
      numbers.push_back(digits);
    }
    all.push_back(object.caption + " " + join(numbers, ","));
  }
  return join(all, " | ");
}

}  // namespace muster::test
