#include "data/sources/sample_store.h"

#include <stdexcept>
#include <utility>

#include "data/sources/record_code.h"

namespace muster::data {
namespace {

// Every field of a sample but its pictures' paths, in one order for both directions.
template <typename Code, typename AnySample>
void each_field(Code& code, AnySample& sample) {
  code(sample.name);
  code(sample.source_id);
  code(sample.boxed);
  code(sample.where);
  code.list(sample.pictures);
  for (auto& picture : sample.pictures) {
    code(picture.index);
    code(picture.width);
    code(picture.height);
    code(picture.orientation);
  }
  code.list(sample.objects);
  for (auto& object : sample.objects) {
    for (auto& coordinate : object.box) code(coordinate);
    code(object.category);
    code(object.caption);
    code(object.crowd);
    code(object.area);
    code(object.picture);
    code(object.turn);
  }
  code.list(sample.turns);
  for (auto& turn : sample.turns) {
    code(turn.role);
    code(turn.text);
    code(turn.lists_objects);
  }
}

}  // namespace

SampleStore::SampleStore(std::filesystem::path scratch)
    : scratch_(std::move(scratch)),
      pictures_(std::make_shared<PictureTable>(scratch_)),
      records_(std::make_shared<Records>(scratch_)) {}

SampleStore::SampleStore(const std::vector<Sample>& samples) : SampleStore() {
  for (Sample sample : samples) {
    for (Picture& picture : sample.pictures) picture.index = -1;  // another table's, if any
    add(sample);
  }
}

SampleStore SampleStore::sibling() const {
  SampleStore made(*this);
  made.records_ = std::make_shared<Records>(scratch_);
  return made;
}

void SampleStore::add(Sample& sample, std::string_view attached) {
  for (Picture& picture : sample.pictures)
    if (picture.index < 0) picture.index = pictures_->index_of(picture.path.native());
  encoded_.clear();
  RecordEncoder encoder(encoded_);
  each_field(encoder, sample);
  encoded_ += attached;
  records_->add(encoded_);
}

bool SampleStore::Pass::next() {
  std::string_view record;
  if (!reader_.next(record)) return false;
  RecordDecoder decoder(record);
  each_field(decoder, sample_);
  for (Picture& picture : sample_.pictures) picture.path.clear();  // of the sample before
  attached_ = decoder.rest();
  return true;
}

SampleStore::Iterator& SampleStore::Iterator::operator++() {
  ended_ = !pass_.next();
  if (!ended_) store_->set_paths(pass_.sample());
  return *this;
}

Sample SampleStore::at(std::int64_t i) const {
  if (i < 0 || i >= size()) throw std::out_of_range("SampleStore::at");
  Pass pass(*this);
  for (std::int64_t read = 0; read <= i; ++read) pass.next();
  set_paths(pass.sample());
  return std::move(pass.sample());
}

void SampleStore::set_paths(Sample& sample) const {
  for (Picture& picture : sample.pictures) picture.path = pictures_->path(picture.index);
}

std::vector<Sample> all_of(const SampleStore& store) {
  std::vector<Sample> samples;
  for (const Sample& sample : store) samples.push_back(sample);
  return samples;
}

}  // namespace muster::data
