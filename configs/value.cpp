#include "configs/value.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/text.h"

namespace muster::configs {
namespace {

bool is_plain(const YAML::Node& node) { return node.IsScalar() && node.Tag() == "?"; }

std::optional<double> to_double(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

// Takes decimal digits without leading zeros (010 is eight to some YAML readers), or an exponent
// form of a whole number.
std::optional<std::int64_t> to_int(const std::string& text) {
  constexpr double kExact = 0x1p53;
  const std::string digits = text.substr(text.starts_with('-') ? 1 : 0);
  if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
  if (text.find_first_of("eE") != std::string::npos) {
    const auto number = to_double(text);
    if (!number || std::abs(*number) > kExact || std::trunc(*number) != *number)
      return std::nullopt;
    return static_cast<std::int64_t>(*number);
  }
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// Reads one field's node into a Value.
class Parser {
 public:
  Parser(const Field& field, std::vector<Complaint>& complaints)
      : field_(field), complaints_(complaints) {}

  std::optional<Value> parse(const YAML::Node& node) {
    switch (field_.kind) {
      case Kind::kString: return lift(string(node));
      case Kind::kChoice: return lift(choice(node));
      case Kind::kStrings: return lift(strings(node));
      case Kind::kBool: return lift(boolean(node));
      case Kind::kInt: return lift(integer(node, ""));
      case Kind::kNumber: return lift(number(node, ""));
      case Kind::kNumbers: return lift(numbers(node));
      case Kind::kIntMap:
        return lift(map<IntMap>(
            node, [this](const auto& value, const auto& at) { return integer(value, at); }));
      case Kind::kStringMap:
        return lift(map<StringMap>(
            node, [this](const auto& value, const auto& at) { return text(value, at); }));
      case Kind::kPacks: return lift(packs(node));
      case Kind::kOptionalInt: return unless_null(node, [&] { return integer(node, ""); });
      case Kind::kOptionalNumber: return unless_null(node, [&] { return number(node, ""); });
    }
    return std::nullopt;
  }

 private:
  template <typename T>
  static std::optional<Value> lift(std::optional<T> value) {
    if (!value) return std::nullopt;
    return std::optional<Value>(std::in_place, std::in_place_type<T>, std::move(*value));
  }

  // A null is a value here.
  template <typename Read>
  static std::optional<Value> unless_null(const YAML::Node& node, Read read) {
    using Read_t = decltype(read());
    if (node.IsNull()) return Value(Read_t());
    const auto value = read();
    if (!value) return std::nullopt;
    return Value(Read_t(value));
  }

  std::nullopt_t refuse(const YAML::Node& node, const std::string& what,
                        const std::string& hint = "") {
    const std::string suggestion = hint.empty() ? "" : fmt::format(" (did you mean '{}'?)", hint);
    complaints_.push_back({line_of(node), fmt::format("{}, got {}, allowed {}{}", what,
                                                      spelled(node), allowed(field_), suggestion)});
    return std::nullopt;
  }

  std::optional<std::string> text(const YAML::Node& node, const std::string& at) {
    if (!node.IsScalar()) return refuse(node, "expected a string" + at);
    return node.Scalar();
  }

  std::optional<std::string> string(const YAML::Node& node) {
    auto value = text(node, "");
    if (!value) return std::nullopt;
    if (value->empty() && !field_.limits.may_be_empty) return refuse(node, "empty");
    return value;
  }

  std::optional<std::string> choice(const YAML::Node& node) {
    auto word = string(node);
    if (!word) return std::nullopt;
    const Strings& words = field_.limits.choices;
    if (std::ranges::find(words, *word) == words.end())
      return refuse(node, "unknown choice", nearest_name(*word, words));
    return word;
  }

  std::optional<Strings> strings(const YAML::Node& node) {
    if (node.IsScalar() && !node.Scalar().empty()) return Strings{node.Scalar()};
    if (!node.IsSequence()) return refuse(node, "expected a list of strings");
    if (node.size() == 0 && !field_.limits.may_be_empty) return refuse(node, "empty");
    Strings values;
    for (const YAML::Node& item : node) {
      if (!item.IsScalar() || item.Scalar().empty())
        return refuse(item, fmt::format("wrong item {}", values.size()));
      values.push_back(item.Scalar());
    }
    return values;
  }

  std::optional<bool> boolean(const YAML::Node& node) {
    if (is_plain(node) && node.Scalar() == "true") return true;
    if (is_plain(node) && node.Scalar() == "false") return false;
    const Strings both = {"true", "false"};
    return refuse(node, "expected a bool",
                  node.IsScalar() ? nearest_name(node.Scalar(), both) : "");
  }

  std::optional<std::int64_t> integer(const YAML::Node& node, const std::string& at) {
    const auto value = is_plain(node) ? to_int(node.Scalar()) : std::nullopt;
    if (!value) return refuse(node, "expected an integer" + at);
    if (!field_.limits.contains(static_cast<double>(*value)))
      return refuse(node, "out of range" + at);
    return value;
  }

  std::optional<double> number(const YAML::Node& node, const std::string& at) {
    const auto value = is_plain(node) ? to_double(node.Scalar()) : std::nullopt;
    if (!value) return refuse(node, "expected a number" + at);
    if (!field_.limits.contains(*value)) return refuse(node, "out of range" + at);
    return value;
  }

  std::optional<Numbers> numbers(const YAML::Node& node) {
    const std::size_t length = field_.limits.length;
    if (!node.IsSequence() || (length > 0 && node.size() != length)) {
      return refuse(node, length > 0 ? fmt::format("expected a list of {} numbers", length)
                                     : "expected a list of numbers");
    }
    Numbers values;
    bool whole = true;
    for (std::size_t i = 0; i < node.size(); ++i) {
      const auto value = number(node[i], fmt::format(" at item {}", i));
      whole = whole && value.has_value();
      values.push_back(value.value_or(0));
    }
    return whole ? std::optional(values) : std::nullopt;
  }

  // "" is no pack, a path is that pack once.
  std::optional<Packs> packs(const YAML::Node& node) {
    if (node.IsScalar()) {
      const auto path = string(node);
      if (!path) return std::nullopt;
      return path->empty() ? Packs{} : Packs{{*path, 1}};
    }
    if (!node.IsSequence()) return refuse(node, "expected a pack or a list of packs");
    if (node.size() == 0 && !field_.limits.may_be_empty) return refuse(node, "empty");
    Packs shares;
    bool whole = true;
    for (std::size_t i = 0; i < node.size(); ++i) {
      const auto share = pack_share(node[i], fmt::format(" at item {}", i));
      whole = whole && share.has_value();
      if (share) shares.push_back(*share);
    }
    return whole ? std::optional(shares) : std::nullopt;
  }

  std::optional<PackShare> pack_share(const YAML::Node& node, const std::string& at) {
    if (node.IsScalar() && !node.Scalar().empty()) return PackShare{node.Scalar(), 1};
    if (!node.IsMap()) return refuse(node, "expected a path or {pack, weight}" + at);
    const std::vector<Complaint> doubles = duplicate_keys(node);
    complaints_.insert(complaints_.end(), doubles.begin(), doubles.end());
    const Strings known = {"pack", "weight"};
    bool whole = doubles.empty() && known_keys(node, known, at);
    for (const std::string& key : known) {
      if (node[key].IsDefined()) continue;
      refuse(node, fmt::format("missing key '{}'{}", key, at));
      whole = false;
    }
    if (!whole) return std::nullopt;
    const auto path = text(node["pack"], at + ", pack");
    const auto weight = number(node["weight"], at + ", weight");
    if (!path || !weight) return std::nullopt;
    if (path->empty()) return refuse(node["pack"], "empty" + at + ", pack");
    return PackShare{*path, *weight};
  }

  bool known_keys(const YAML::Node& map, const Strings& known, const std::string& at) {
    bool all = true;
    for (const auto& pair : map) {
      const std::string key = pair.first.IsScalar() ? pair.first.Scalar() : spelled(pair.first);
      if (std::ranges::find(known, key) != known.end()) continue;
      refuse(pair.first, "unknown key" + at, nearest_name(key, known));
      all = false;
    }
    return all;
  }

  template <typename Map, typename Read>
  std::optional<Map> map(const YAML::Node& node, Read read) {
    if (!node.IsMap()) return refuse(node, "expected a map");
    if (node.size() == 0 && !field_.limits.may_be_empty) return refuse(node, "empty");
    const std::vector<Complaint> doubles = duplicate_keys(node);
    complaints_.insert(complaints_.end(), doubles.begin(), doubles.end());
    Map values;
    bool whole = doubles.empty();
    for (const auto& pair : node) {
      const auto name = text(pair.first, " as a name");
      if (!name) whole = false;
      if (!name) continue;
      const auto value = read(pair.second, fmt::format(" for '{}'", *name));
      whole = whole && value.has_value();
      if (value) values.emplace(*name, *value);
    }
    return whole ? std::optional(values) : std::nullopt;
  }

  const Field& field_;
  std::vector<Complaint>& complaints_;
};

std::string double_quoted(const std::string& text) {
  YAML::Emitter out;
  out << YAML::DoubleQuoted << text;
  return out.c_str();
}

struct TextOf {
  std::string operator()(const std::string& value) const { return double_quoted(value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return fmt::format("{}", value); }
  // The shortest form that reads back exactly.
  std::string operator()(double value) const { return fmt::format("{}", value); }
  template <typename Number>
  std::string operator()(const std::optional<Number>& value) const {
    return value ? fmt::format("{}", *value) : "null";
  }

  // One pack seen once is its path; config.yaml of most runs.
  std::string operator()(const Packs& shares) const {
    if (shares.empty()) return double_quoted("");
    if (shares.size() == 1 && shares[0].weight == 1) return double_quoted(shares[0].pack);
    Strings parts;
    for (const PackShare& share : shares) {
      parts.push_back(
          fmt::format("{{pack: {}, weight: {}}}", double_quoted(share.pack), share.weight));
    }
    return "[" + join(parts, ", ") + "]";
  }

  template <typename Item>
  std::string operator()(const std::vector<Item>& values) const {
    Strings parts;
    for (const Item& value : values) parts.push_back((*this)(value));
    return "[" + join(parts, ", ") + "]";
  }
  template <typename Item>
  std::string operator()(const std::map<std::string, Item>& values) const {
    Strings parts;
    for (const auto& [name, value] : values)
      parts.push_back(double_quoted(name) + ": " + (*this)(value));
    return "{" + join(parts, ", ") + "}";
  }
};

}  // namespace

int line_of(const YAML::Node& node) { return node.Mark().line + 1; }

std::string spelled(const YAML::Node& node) {
  constexpr std::size_t kLongest = 60;
  if (!node.IsDefined() || node.IsNull()) return "nothing";
  if (node.IsSequence()) return fmt::format("a list of {}", node.size());
  if (node.IsMap()) return "a map";
  std::string text = node.Scalar();
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return is_plain(node) ? text : double_quoted(text);
}

std::vector<Complaint> duplicate_keys(const YAML::Node& map) {
  std::vector<Complaint> found;
  std::map<std::string, int> first_line;
  for (const auto& pair : map) {
    if (!pair.first.IsScalar()) continue;
    const auto [place, is_new] = first_line.emplace(pair.first.Scalar(), line_of(pair.first));
    if (is_new) continue;
    found.push_back({line_of(pair.first), fmt::format("duplicate key '{}', first given on line {}",
                                                      place->first, place->second)});
  }
  return found;
}

std::optional<Value> parse_value(const Field& field, const YAML::Node& node,
                                 std::vector<Complaint>& complaints) {
  return Parser(field, complaints).parse(node);
}

std::string to_text(const Value& value) { return std::visit(TextOf{}, value); }

}  // namespace muster::configs
