// JSON from outside: bounded in depth, and wrong in our words. Every file that muster did not write
// in this process is parsed here.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>

namespace muster {

// Annotations, configs and tokenizers nest about ten levels. What libraries do with a document
// afterwards (copy, compare, print) recurses, and 100,000 levels end the process.
inline constexpr int kMaxJsonDepth = 256;

// The library's exception with a text of ours: "line 3, column 7: unexpected ..." ("column 7: ..."
// of a text of one line). Who catches nlohmann's exceptions catches this one.
class JsonError : public nlohmann::json::exception {
 public:
  explicit JsonError(const std::string& what) : exception(kId, what.c_str()) {}

 private:
  static constexpr int kId = 101;  // the library's number of a syntax error
};

// The whole text as one value. Throws JsonError for what is no JSON, for numbers that no double
// holds, and for more than kMaxJsonDepth levels.
nlohmann::json parse_json(std::string_view text);
nlohmann::ordered_json parse_ordered_json(std::string_view text);  // keys keep their order

// The same, without the parts for which `keep` (see nlohmann's parser_callback_t) answers false.
nlohmann::json parse_json(std::string_view text, const nlohmann::json::parser_callback_t& keep);

// The same value, told part by part. What `reader` throws comes through.
void scan_json(std::string_view text, nlohmann::json_sax<nlohmann::json>& reader);

// Null instead of an exception: for files that a dying machine may have left torn.
nlohmann::json parse_json_or_null(std::string_view text);

// object[key] as a T, or `otherwise` where it is absent or of another kind, and where `object` is
// no object: for files that may be damaged.
template <typename T>
T member_or(const nlohmann::json& object, const char* key, T otherwise) {
  if (!object.is_object()) return otherwise;
  const auto member = object.find(key);
  if (member == object.end()) return otherwise;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
    if (!member->is_number_integer()) return otherwise;
  try {
    return member->template get<T>();
  } catch (const nlohmann::json::exception&) {
    return otherwise;
  }
}

// What an exception of the library says, without its number: "key 'images' not found".
std::string json_fault(const nlohmann::json::exception& error);

}  // namespace muster
