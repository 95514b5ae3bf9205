// Samples one behind the other, encoded, in a spool: a source of millions is not in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/pack/sample.h"
#include "data/pack/spool.h"
#include "data/sources/picture_table.h"

namespace muster::data {

// A copy shares what was added: REQUIRES that nothing is added to either afterwards. Picture::index
// of its samples is that of the store's table of pictures.
class SampleStore {
 public:
  // `scratch`: where what does not fit into memory lies; empty: the system's temporary folder.
  explicit SampleStore(std::filesystem::path scratch = {});
  explicit SampleStore(const std::vector<Sample>& samples);
  // An empty one of the same pictures.
  SampleStore sibling() const;

  // Pictures without an index get that of their path. `attached`: bytes that go with the sample.
  void add(Sample& sample, std::string_view attached = {});  // throws IoError
  std::int64_t size() const { return records_->size(); }
  bool empty() const { return size() == 0; }
  PictureTable& pictures() { return *pictures_; }
  const PictureTable& pictures() const { return *pictures_; }

  // Reads all samples in order. Pictures have their index and no path: who needs one asks
  // pictures(), which is dear for millions. REQUIRES that none is added meanwhile.
  class Pass {
   public:
    explicit Pass(const SampleStore& store) : reader_(*store.records_) {}
    bool next();  // false behind the last
    Sample& sample() { return sample_; }
    std::string_view attached() const { return attached_; }  // until next()

   private:
    Records::Reader reader_;
    Sample sample_;
    std::string_view attached_;
  };

  // The samples whole, with paths: for (const Sample& sample : store).
  class Iterator {
   public:
    explicit Iterator(const SampleStore& store) : store_(&store), pass_(store) { ++*this; }
    Sample& operator*() { return pass_.sample(); }
    Iterator& operator++();
    bool operator==(std::default_sentinel_t) const { return ended_; }

   private:
    const SampleStore* store_;
    Pass pass_;
    bool ended_ = false;
  };
  Iterator begin() const { return Iterator(*this); }
  std::default_sentinel_t end() const { return {}; }
  // One of a few: all before it are read over. Throws std::out_of_range.
  Sample at(std::int64_t i) const;

  void set_paths(Sample& sample) const;  // of pictures that have their index

 private:
  std::filesystem::path scratch_;
  std::shared_ptr<PictureTable> pictures_;
  std::shared_ptr<Records> records_;
  std::string encoded_;  // the record that is being made
};

std::vector<Sample> all_of(const SampleStore& store);

}  // namespace muster::data
