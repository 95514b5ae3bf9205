// Law 1, for every field of the table.
#include "configs/fields.h"

#include <yaml-cpp/yaml.h>

#include <catch2/matchers/catch_matchers_string.hpp>
#include <numeric>
#include <set>

#include "configs/config_files.h"
#include "configs/value.h"

namespace muster::configs {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using test::ConfigFiles;
using test::Lines;

// The map that holds a field's key, inside a parsed file.
YAML::Node parent_of(const YAML::Node& root, const Field& field) {
  YAML::Node at = root;
  const auto parts = split(field.name, '.');
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) at.reset(at[parts[i]]);
  return at;
}

std::string key_of(const Field& field) { return split(field.name, '.').back(); }

Lines differing(const Config& a, const Config& b) {
  Lines names;
  for (const Field& field : fields()) {
    if (field.get(a) != field.get(b)) names.push_back(field.name);
  }
  return names;
}

TEST_CASE("removing any one key is an error that names it: no field has a default", "[unit]") {
  const ConfigFiles files;
  for (const Field& field : fields()) {
    const YAML::Node root = YAML::LoadFile(files.path("complete.yaml").string());
    REQUIRE(parent_of(root, field).remove(key_of(field)));
    const Lines problems = files.problems(files.write("cut.yaml", YAML::Dump(root)));
    REQUIRE(problems.size() == 1);
    CHECK_THAT(problems[0], ContainsSubstring(": " + field.name + ": missing key"));
    CHECK_THAT(problems[0], ContainsSubstring(allowed(field)));
    CHECK_THAT(problems[0], ContainsSubstring(field.meaning));
  }
}

TEST_CASE("misspelling any key suggests it, and its absence is seen too", "[unit]") {
  const ConfigFiles files;
  for (const Field& field : fields()) {
    const YAML::Node root = YAML::LoadFile(files.path("complete.yaml").string());
    YAML::Node parent = parent_of(root, field);
    parent[key_of(field) + "x"] = YAML::Clone(parent[key_of(field)]);
    parent.remove(key_of(field));
    const Lines problems = files.problems(files.write("cut.yaml", YAML::Dump(root)));
    REQUIRE(problems.size() == 2);
    CHECK_THAT(problems[0], ContainsSubstring(field.name + "x: unknown key (did you mean '" +
                                              field.name + "'?)"));
    CHECK_THAT(problems[1], ContainsSubstring(field.name + ": missing key"));
  }
}

TEST_CASE("no field takes a null or a value of another kind", "[unit]") {
  const ConfigFiles files;
  for (const Field& field : fields()) {
    CAPTURE(field.name);
    // A null says that the other key is meant, or that nothing is known.
    if (field.kind == Kind::kOptionalInt || field.kind == Kind::kOptionalNumber) continue;
    const bool is_map = field.kind == Kind::kIntMap || field.kind == Kind::kStringMap;
    for (const std::string& wrong : {std::string("~"), std::string(is_map ? "5" : "{a: {b: c}}")}) {
      const Lines problems =
          files.problems(files.path("complete.yaml"), {field.name + "=" + wrong});
      REQUIRE(problems.size() == 1);
      CHECK_THAT(problems[0], StartsWith("--set " + field.name + ": "));
    }
  }
}

std::size_t size_of(Kind kind) {
  switch (kind) {
    case Kind::kString: return sizeof(std::string);
    case Kind::kStrings: return sizeof(Strings);
    case Kind::kBool: return sizeof(bool);
    case Kind::kInt: return sizeof(std::int64_t);
    case Kind::kNumber: return sizeof(double);
    case Kind::kNumbers: return sizeof(Numbers);
    case Kind::kIntMap: return sizeof(IntMap);
    case Kind::kStringMap: return sizeof(StringMap);
    case Kind::kPacks: return sizeof(Packs);
    case Kind::kOptionalInt: return sizeof(OptionalInt);
    case Kind::kOptionalNumber: return sizeof(OptionalNumber);
    case Kind::kChoice: return sizeof(Device);  // every enum of a choice has this size
  }
  return 0;
}

// Where the compiler would end a struct made of the section's fields in table order.
std::size_t laid_out(const std::string& section) {
  std::size_t end = 0;
  for (const Field& field : fields()) {
    if (!field.name.starts_with(section + ".")) continue;
    const std::size_t size = size_of(field.kind), alignment = std::min<std::size_t>(size, 8);
    end = (end + alignment - 1) / alignment * alignment + size;
  }
  return (end + 7) / 8 * 8;
}

TEST_CASE("every member of every section is in the table, in order", "[unit]") {
  const std::map<std::string, std::size_t> sizes = {{"run", sizeof(Run)},
                                                    {"model", sizeof(Model)},
                                                    {"lora", sizeof(Lora)},
                                                    {"tokens", sizeof(Tokens)},
                                                    {"data", sizeof(Data)},
                                                    {"loss", sizeof(Loss)},
                                                    {"detection", sizeof(Detection)},
                                                    {"groups", sizeof(Groups)},
                                                    {"optimizer", sizeof(Optimizer)},
                                                    {"ema", sizeof(Ema)},
                                                    {"schedule", sizeof(Schedule)},
                                                    {"batch", sizeof(Batch)},
                                                    {"sharding", sizeof(Sharding)},
                                                    {"checkpoint", sizeof(Checkpoint)},
                                                    {"eval", sizeof(Eval)},
                                                    {"health", sizeof(Health)},
                                                    {"logging", sizeof(Logging)},
                                                    {"launch", sizeof(Launch)}};
  std::size_t total = 0;
  for (const std::string& section : keys_under("")) {
    CAPTURE(section);
    REQUIRE(sizes.contains(section));
    CHECK(laid_out(section) == sizes.at(section));
    total += sizes.at(section);
  }
  CHECK(total == sizeof(Config));
}

// Some other value of the same kind; but for a choice it need not be allowed.
Value changed(const Field& field, const Value& value) {
  if (field.kind == Kind::kChoice) {
    const Strings& words = field.limits.choices;
    return words[0] == std::get<std::string>(value) ? words[1] : words[0];
  }
  return std::visit(
      [](auto copy) -> Value {
        using T = decltype(copy);
        if constexpr (std::is_same_v<T, bool>)
          copy = !copy;
        else if constexpr (std::is_arithmetic_v<T>)
          copy += 1;
        else if constexpr (std::is_same_v<T, std::string>)
          copy += "x";
        else if constexpr (std::is_same_v<T, OptionalInt> || std::is_same_v<T, OptionalNumber>)
          copy = copy.value_or(0) + 1;
        else if constexpr (std::is_same_v<T, Strings> || std::is_same_v<T, Numbers> ||
                           std::is_same_v<T, Packs>)
          copy.emplace_back();
        else
          copy["another"] = {};
        return Value(std::in_place_type<T>, copy);
      },
      value);
}

TEST_CASE("each field has a member of its own", "[unit]") {
  const Config base = load(test::shipped("demo.yaml"));
  std::set<std::string> names;
  for (const Field& field : fields()) {
    Config config = base;
    field.set(config, changed(field, field.get(base)));
    CHECK(differing(base, config) == Lines{field.name});
    CHECK(names.insert(field.name).second);
    CHECK_FALSE(field.meaning.empty());
  }
}

TEST_CASE("to_yaml reads back to the same values", "[unit]") {
  const ConfigFiles files;
  for (const std::string name : {"demo.yaml", "bccd_small.yaml"}) {
    const Config config = load(test::shipped(name));
    CHECK(differing(config, load(files.write("again.yaml", to_yaml(config)))) == Lines{});
  }
}

TEST_CASE("to_yaml keeps every bit of hard numbers and every byte of hard strings", "[unit]") {
  const ConfigFiles files;
  Config config = load(files.path("complete.yaml"));
  config.groups.model.lr = 0.1 + 0.2;
  config.groups.visual.lr = 5e-324;
  config.groups.merger.lr = 1.7976931348623157e308;
  config.groups.lm_head.lr = 1.0 / 3.0;
  config.data.image_mean = {0.1, 2.0 / 3.0, 1.0};
  config.run.seed = std::numeric_limits<std::int64_t>::max();
  config.sharding.bucket_bytes = (std::int64_t{1} << 53) + 1;
  config.data.prompt = "a: \"b\" # c\n\ttab\\ {x} %y - 'z' caf\xc3\xa9 \xe6\xa3\x80\x01";
  config.data.system_prompt = "true";
  config.run.dir = "~";
  config.model.path = {"[a, b]", "1e3", "null"};
  config.tokens.expected = {{"<|im_start|>", 0}, {"\n", 1}, {"<<", 2}, {"a: b", 3}};
  config.launch.environment = {{"A", ""}, {"B", "yes"}, {"C", "1"}};
  CHECK(differing(config, load(files.write("again.yaml", to_yaml(config)))) == Lines{});
  CHECK(differing(config, load(files.path("complete.yaml"))).size() ==
        13);  // the comparison itself can fail
}

}  // namespace
}  // namespace muster::configs
