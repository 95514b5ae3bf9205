// Private to data/tokenizer: Unicode normalisation and the pre-tokenizer's regular expression.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace muster::data {

// NFC of `text`: in `storage` when anything had to change, else `text` itself. Throws DataError
// when it is not UTF-8.
std::string_view to_nfc(std::string_view text, std::string& storage);

// Cuts text at the matches of a regular expression; what lies between matches is a piece too
// ("Isolated").
class Splitter {
 public:
  explicit Splitter(const std::string& regex);  // throws DataError
  ~Splitter();
  Splitter(Splitter&&) noexcept;

  // Thread-safe. Throws DataError when `text` is not UTF-8.
  void split(std::string_view text, const std::function<void(std::string_view)>& piece) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::data
