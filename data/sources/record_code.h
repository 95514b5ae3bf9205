// Values one behind the other in a record that is written and read back within one process: each in
// the machine's own form, texts and lists behind their length. One function that calls
// `code(field)` for all fields serves both directions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace muster::data {

template <typename T>
concept RecordNumber = std::is_arithmetic_v<T> || std::is_enum_v<T>;

class RecordEncoder {
 public:
  explicit RecordEncoder(std::string& out) : out_(out) {}

  template <RecordNumber T>
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

class RecordDecoder {
 public:
  explicit RecordDecoder(std::string_view in) : in_(in) {}

  template <RecordNumber T>
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

}  // namespace muster::data
