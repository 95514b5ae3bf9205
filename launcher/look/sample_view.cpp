#include "launcher/look/sample_view.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

using nlohmann::ordered_json;

const char* role_word(data::Role role) {
  switch (role) {
    case data::Role::kSystem: return "system";
    case data::Role::kUser: return "user";
    case data::Role::kAssistant: return "assistant";
  }
  return "";
}

ordered_json images_json(const data::Sample& sample) {
  ordered_json images = ordered_json::array();
  for (const data::Picture& picture : sample.pictures) {
    ordered_json one{{"path", picture.path.string()},
                     {"width", picture.width},
                     {"height", picture.height},
                     {"picture", picture.index}};
    if (picture.orientation != 1) one["orientation"] = picture.orientation;
    images.push_back(std::move(one));
  }
  return images;
}

ordered_json turns_json(const data::Sample& sample) {
  ordered_json turns = ordered_json::array();
  int picture = 0;
  for (const data::Turn& turn : sample.turns) {
    ordered_json one{{"role", role_word(turn.role)}, {"text", shown_text(turn.text, picture)}};
    if (turn.lists_objects) one["lists_objects"] = true;
    turns.push_back(std::move(one));
  }
  return turns;
}

void add_objects(const data::Sample& sample, const ClassList& classes, ordered_json& json) {
  ordered_json boxes = ordered_json::array();
  ordered_json labels = ordered_json::array();
  ordered_json categories = ordered_json::array();
  ordered_json pictures = ordered_json::array();
  ordered_json crowds = ordered_json::array();
  for (const data::Object& object : sample.objects) {
    boxes.push_back(object.box);
    labels.push_back(object.caption);
    categories.push_back(classes.name(object.category));
    pictures.push_back(object.picture);
    crowds.push_back(object.crowd);
  }
  json["boxes"] = std::move(boxes);
  json["labels"] = std::move(labels);
  json["categories"] = std::move(categories);
  json["box_images"] = std::move(pictures);
  json["crowd"] = std::move(crowds);
}

trainer::ShownTurn shown_turn(const data::Turn& turn, int& picture) {
  const std::string text = turn.lists_objects ? "(the boxes, in the form of data.answer)"
                                              : shown_text(turn.text, picture);
  return {role_word(turn.role), {{text, false}}};
}

std::string size_note(const data::Picture& picture) {
  return fmt::format("{} x {}, {}{}", picture.width, picture.height,
                     picture.path.filename().string(),
                     picture.orientation == 1 ? "" : ", turned upright");
}

std::string boxes_note(const data::Sample& sample) {
  if (!sample.boxed) return "nobody annotated boxes: no detection loss";
  if (sample.objects.empty()) return "annotated: nothing there";
  return sample.objects.size() == 1 ? "1 box" : fmt::format("{} boxes", sample.objects.size());
}

std::int64_t find_sample(const data::SampleSet& set, const std::string& named) {
  std::int64_t index = -1;
  const char* const end = named.data() + named.size();
  const auto [stopped, error] = std::from_chars(named.data(), end, index);
  if (error == std::errc() && stopped == end) {
    if (index >= 0 && index < set.size()) return index;
    throw UsageError(fmt::format("--sample {}: there are {} samples, 0 to {}", named, set.size(),
                                 set.size() - 1));
  }
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < set.size(); ++i) {
    names.push_back(set.sample(i).name);
    if (names.back() == named) return i;
  }
  const std::string near = nearest_name(named, names);
  throw UsageError(fmt::format("--sample {}: no sample has that name{}", named,
                               near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
}

}  // namespace

ordered_json sample_json(const data::SampleSet& set, std::int64_t index, const ClassList& classes) {
  const data::Sample sample = set.sample(index);
  ordered_json json{{"index", index}, {"name", sample.name}, {"images", images_json(sample)}};
  json["size"] = sample.has_picture()
                     ? ordered_json{sample.pictures.front().width, sample.pictures.front().height}
                     : ordered_json(nullptr);
  json["turns"] = turns_json(sample);
  add_objects(sample, classes, json);
  json["boxed"] = sample.boxed;
  json["source_id"] = sample.source_id;
  return json;
}

ClassList::ClassList(const data::SampleSet& set) {
  const data::ClassMap& map = set.class_map();
  for (std::int64_t i = 0; i < map.size(); ++i) {
    place_[map.category(i).id] = i;
    classes_.push_back({map.category(i).name, 0});
  }
}

std::int64_t ClassList::place(std::int64_t category) const {
  const auto found = place_.find(category);
  return found == place_.end() ? -1 : found->second;
}

std::string ClassList::name(std::int64_t category) const {
  const std::int64_t at = place(category);
  return at < 0 ? "" : classes_[static_cast<std::size_t>(at)].name;
}

std::int64_t ClassList::place_named(const std::string& name) const {
  const auto found = std::ranges::find(classes_, name, &trainer::ClassCount::name);
  return found == classes_.end() ? -1 : found - classes_.begin();
}

void ClassList::count_named(const std::string& name) {
  const std::int64_t at = place_named(name);
  if (at >= 0) ++classes_[static_cast<std::size_t>(at)].boxes;
}

void ClassList::count(std::int64_t category) {
  const std::int64_t at = place(category);
  if (at >= 0) ++classes_[static_cast<std::size_t>(at)].boxes;
}

trainer::ShownBox shown_box(const data::Object& object, const ClassList& classes) {
  trainer::ShownBox box;
  box.box = object.box;
  box.label = object.caption;
  box.category = classes.place(object.category);
  const std::string name = classes.name(object.category);
  if (name != object.caption) box.note = "class " + name;
  if (object.crowd) box.note += box.note.empty() ? "crowd" : ", crowd";
  return box;
}

std::string shown_text(const std::string& text, int& picture) {
  std::string shown;
  std::size_t from = 0;
  while (true) {
    const std::size_t mark = text.find(data::kPictureMark, from);
    shown += text.substr(from, mark - from);
    if (mark == std::string::npos) return shown;
    shown += fmt::format("[picture {}]", ++picture);
    from = mark + data::kPictureMark.size();
  }
}

trainer::Card sample_card(const data::SampleSet& set, std::int64_t index, const ClassList& classes,
                          const PictureRoom& room) {
  const data::Sample sample = set.sample(index);
  trainer::Card card;
  card.name = sample.name;
  card.note = boxes_note(sample);
  std::vector<data::Image> images;
  try {
    images = set.pictures(index, sample);
  } catch (const DataError& error) {
    card.note += fmt::format("; {}", error.what());
  }
  for (std::size_t p = 0; p < sample.pictures.size(); ++p) {
    trainer::ShownPicture& shown = card.pictures.emplace_back();
    shown.width = sample.pictures[p].width;
    shown.height = sample.pictures[p].height;
    shown.note = size_note(sample.pictures[p]);
    if (p < images.size()) shown.jpeg = thumbnail(images[p], room);
    for (const data::Object& object : sample.objects) {
      if (object.picture == static_cast<std::int64_t>(p))
        shown.boxes.push_back(shown_box(object, classes));
    }
  }
  int picture = 0;
  for (const data::Turn& turn : sample.turns) card.turns.push_back(shown_turn(turn, picture));
  return card;
}

std::vector<std::int64_t> find_samples(const data::SampleSet& set,
                                       const std::vector<std::string>& named) {
  std::vector<std::int64_t> found;
  std::ranges::transform(named, std::back_inserter(found),
                         [&](const std::string& name) { return find_sample(set, name); });
  return found;
}

}  // namespace muster::launcher
