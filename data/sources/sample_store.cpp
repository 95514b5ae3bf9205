#include "data/sources/sample_store.h"

#include <stdexcept>
#include <type_traits>
#include <utility>

namespace muster::data {
namespace {

template <typename T>
concept Number = std::is_arithmetic_v<T> || std::is_enum_v<T>;

// What is written and read back within one process: the machine's own form of each value.
class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  template <Number T>
  void operator()(const T& value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void operator()(const std::string& text) {
    (*this)(static_cast<std::uint32_t>(text.size()));
    out_ += text;
  }
  template <typename T>
  void list(const std::vector<T>& values) {
    (*this)(static_cast<std::uint32_t>(values.size()));
  }

 private:
  std::string& out_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}

  template <Number T>
  void operator()(T& value) {
    in_.copy(reinterpret_cast<char*>(&value), sizeof value);
    in_.remove_prefix(sizeof value);
  }
  void operator()(std::string& text) {
    const std::uint32_t bytes = count();
    text.assign(in_.substr(0, bytes));
    in_.remove_prefix(bytes);
  }
  template <typename T>
  void list(std::vector<T>& values) {
    values.resize(count());
  }
  std::string_view rest() const { return in_; }

 private:
  std::uint32_t count() {
    std::uint32_t count = 0;
    (*this)(count);
    return count;
  }

  std::string_view in_;
};

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
  Encoder encoder(encoded_);
  each_field(encoder, sample);
  encoded_ += attached;
  records_->add(encoded_);
}

bool SampleStore::Pass::next() {
  std::string_view record;
  if (!reader_.next(record)) return false;
  Decoder decoder(record);
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
