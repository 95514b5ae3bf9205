// A pack's columns, changed in places: what is let through must make samples.
#include <fuzzer/FuzzedDataProvider.h>

#include <type_traits>

#include "data/pack/columns.h"
#include "fuzz.h"

using namespace muster;

namespace {

// Two samples, the first with a picture and an object in it.
data::PackColumns small_pack() {
  data::PackColumns columns;
  data::Picture picture{.path = "a.jpg", .width = 13, .height = 9};
  picture.index = 0;
  data::add_picture(columns, picture, 100, std::string(data::kChecksumDigits, '0'));
  data::Object object;
  object.box = {1, 2, 5, 6};
  object.category = 1;
  object.caption = "a cat";
  object.turn = 1;
  data::Sample boxed;
  boxed.name = "boxed";
  boxed.pictures = {picture};
  boxed.objects = {object};
  boxed.turns = {{data::Role::kUser, "find", false}, {data::Role::kAssistant, "", true}};
  data::add_sample(columns, boxed);
  data::Sample words;
  words.name = "words";
  words.boxed = false;
  words.turns = {{data::Role::kUser, "hello", false}, {data::Role::kAssistant, "world", false}};
  data::add_sample(columns, words);
  columns.category_id = {1, 2};
  for (const char* name : {"cat", "dog"}) columns.category_name.add(name);
  columns.active = {1};
  return columns;
}

// Sets, adds or removes one value of one column.
void change(data::PackColumns& columns, FuzzedDataProvider& bytes) {
  const int chosen = bytes.ConsumeIntegralInRange(0, 40);
  const int how = bytes.ConsumeIntegralInRange(0, 2);
  int at = 0;
  data::for_each_column(columns, [&](std::string_view, auto& column, std::int64_t) {
    using Value = typename std::remove_reference_t<decltype(column)>::value_type;
    if (at++ != chosen) return;
    Value value{};
    if constexpr (std::is_floating_point_v<Value>)
      value = bytes.ConsumeFloatingPoint<Value>();
    else
      value = bytes.ConsumeBool() ? bytes.ConsumeIntegral<Value>()
                                  : bytes.ConsumeIntegralInRange<Value>(0, 9);
    if (how == 0) column.push_back(value);
    if (column.empty()) return;
    if (how == 1) column.pop_back();
    if (how == 2) column[bytes.ConsumeIntegralInRange<std::size_t>(0, column.size() - 1)] = value;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider bytes(data, size);
  data::PackColumns columns = small_pack();
  while (bytes.remaining_bytes() > 0) change(columns, bytes);
  return fuzz::read_damaged([&] {
    data::check_columns(data::view_of(columns), 100, "input");
    for (std::int64_t i = 0; i < columns.num_samples(); ++i) data::sample_at(columns, i);
    for (std::int64_t i = 0; i < columns.num_pictures(); ++i) data::checksum_at(columns, i);
    data::to_categories(columns);
  });
}
