// The `pack` command's work: repair what was asked for, judge every sample, say what is odd about
// the set, write what is good.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/sources/source.h"

namespace muster::data {

struct PackOptions {
  bool skip_bad = false;             // bad samples are left out and listed, instead of refused
  bool check_only = false;           // nothing is written
  bool clip = false;                 // boxes are cut to their pictures
  bool drop_bad_boxes = false;       // bad boxes are left out and listed, their samples stay
  std::vector<std::string> classes;  // kept; empty: all
  std::vector<std::pair<std::string, std::string>> rename;  // old name, new name
  double val_fraction = 0;  // of the pictures, written to val_pack_path(out)
  std::uint64_t seed = 0;   // of that draw
  int threads = 0;          // that decode pictures; 0: one per core
};

struct PackReport {
  std::int64_t read = 0;                    // samples, those included that could not be made
  std::int64_t packed = 0, val_packed = 0;  // samples; `packed` are those of `out` alone
  std::int64_t pictures = 0, objects = 0, crowds = 0, unboxed = 0;  // of both
  std::vector<std::pair<std::string, std::int64_t>>
      objects_per_category;  // in the category table's order, zeros included
  std::vector<std::pair<std::string, std::int64_t>> other_classes;  // boxes that --classes left out
  std::vector<std::string> left_out;                                // names, with the reason
  std::vector<std::string> clipped;                                 // boxes, before and after
  std::vector<std::string> dropped_boxes;                           // with the reason
  std::vector<std::string> turned;                                  // pictures
  std::vector<std::string> repaired;                                // what else was put right
  std::vector<std::string> warnings;                                // used, but worth a look
};

// What cannot be packed, all of it; the text lists the first hundred.
struct PackError : DataError {
  PackError(const std::string& what, std::vector<std::string> all)
      : DataError(what), faults(std::move(all)) {}
  std::vector<std::string> faults;
};

// Nothing is written when it throws: PackError for bad samples without skip_bad, DataError when
// none is good, UsageError for options that do not fit.
PackReport pack_source(Source source, const std::filesystem::path& out, const PackOptions& options);

// The same with nothing repaired.
inline PackReport pack_source(const Source& source, const std::filesystem::path& out, bool skip_bad,
                              bool check_only) {
  PackOptions options;
  options.skip_bad = skip_bad;
  options.check_only = check_only;
  return pack_source(source, out, options);
}

std::filesystem::path val_pack_path(const std::filesystem::path& out);  // x.h5 -> x.val.h5

}  // namespace muster::data
