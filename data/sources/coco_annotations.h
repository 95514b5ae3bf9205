// Annotations of a COCO file until its images and categories are known, which may stand behind
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "data/pack/sample.h"
#include "data/pack/spool.h"
#include "data/sources/record_code.h"

namespace muster::data {

struct CocoAnnotation {
  std::string image, category, caption;
  Object object;
  std::int64_t index = 0;
  std::string fault;  // why there is no box
};

// One behind the other, not in memory.
class CocoAnnotations {
 public:
  explicit CocoAnnotations(const std::filesystem::path& scratch) : records_(scratch) {}

  void add(const CocoAnnotation& annotation) {
    std::string record;
    RecordEncoder encoder(record);
    each_field(encoder, annotation);
    records_.add(record);
  }

  // take(annotation, place) for all in order.
  template <typename Take>
  void for_each(Take&& take) const {
    Records::Reader reader(records_);
    for (std::string_view record; reader.next(record);) take(decoded(record), reader.place());
  }
  CocoAnnotation at(std::int64_t place) const { return decoded(records_.at(place)); }

 private:
  template <typename Code, typename AnyAnnotation>
  static void each_field(Code& code, AnyAnnotation& annotation) {
    code(annotation.image);
    code(annotation.category);
    code(annotation.caption);
    for (auto& coordinate : annotation.object.box) code(coordinate);
    code(annotation.object.area);
    code(annotation.object.crowd);
    code(annotation.index);
    code(annotation.fault);
  }

  static CocoAnnotation decoded(std::string_view record) {
    CocoAnnotation made;
    RecordDecoder decoder(record);
    each_field(decoder, made);
    return made;
  }

  Records records_;
};

}  // namespace muster::data
