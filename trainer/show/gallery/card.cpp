#include "trainer/show/gallery/card.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "trainer/show/base64.h"
#include "trainer/show/gallery/html_text.h"
#include "trainer/show/overlay.h"

namespace muster::trainer {
namespace {

// A card stays small enough to be looked at, whatever its sample holds; what is cut is said.
constexpr std::size_t kMostBoxes = 400;
constexpr std::size_t kMostLabelsAtOnce = 16;  // more would cover the picture
constexpr std::size_t kMostTextCharacters = 6000;
constexpr std::size_t kMostNameCharacters = 200;
constexpr std::size_t kMostLabelCharacters = 80;
constexpr std::size_t kMostTurns = 60;

std::string css_color(std::int64_t category) {
  if (category < 0) return "#8a8a8a";
  const Rgb color = category_color(category);
  return fmt::format("#{:02x}{:02x}{:02x}", color[0], color[1], color[2]);
}

std::string_view verdict_word(Verdict verdict) {
  switch (verdict) {
    case Verdict::kNone: return "";
    case Verdict::kFound: return "tp";
    case Verdict::kFalse: return "fp";
    case Verdict::kTruth: return "truth";
  }
  return "";
}

std::string box_text(const ShownBox& box) {
  const auto [x1, y1, x2, y2] = box.box;
  std::string text = fmt::format("{:.6g}, {:.6g}, {:.6g}, {:.6g}", x1, y1, x2, y2);
  if (!box.note.empty()) text += "; " + shortened(box.note, kMostLabelCharacters);
  return text;
}

std::string data_of(const ShownBox& box) {
  const double width = box.box[2] - box.box[0];
  const double height = box.box[3] - box.box[1];
  const double side = std::sqrt(std::max(0.0, width) * std::max(0.0, height));
  std::string data = fmt::format(
      " data-c=\"{}\" data-z=\"{:.1f}\" data-l=\"{}\" data-p=\"{}\"", box.category, side,
      html_text(shortened(box.label, kMostLabelCharacters)), html_text(box_text(box)));
  if (box.score) data += fmt::format(" data-s=\"{:.4f}\"", *box.score);
  if (box.verdict != Verdict::kNone)
    data += fmt::format(" data-v=\"{}\"", verdict_word(box.verdict));
  return data;
}

// The label stands above the box where there is room, and ends inside the picture.
std::string label_of(const ShownBox& box, const ShownPicture& picture) {
  const bool above = box.box[1] > 0.07 * static_cast<double>(picture.height);
  const bool at_right = box.box[0] > 0.65 * static_cast<double>(picture.width);
  std::string text = html_text(shortened(box.label, kMostLabelCharacters));
  const bool predicted = box.verdict == Verdict::kFound || box.verdict == Verdict::kFalse;
  if (box.score && predicted) text += fmt::format(" {:.2f}", *box.score);
  return fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" dy=\"{}\"{}>{}</text>",
                     at_right ? box.box[2] : box.box[0], box.box[1], above ? "-.35em" : "1.05em",
                     at_right ? " text-anchor=\"end\"" : "", text);
}

std::string render_box(const ShownBox& box, const ShownPicture& picture) {
  const auto [x1, y1, x2, y2] = box.box;
  return fmt::format(
      "<g class=\"b\"{} color=\"{}\"><rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" "
      "height=\"{:.2f}\"><title>{}\n{}</title></rect>{}</g>",
      data_of(box), css_color(box.category), x1, y1, std::max(0.0, x2 - x1), std::max(0.0, y2 - y1),
      html_text(shortened(box.label, kMostLabelCharacters)), html_text(box_text(box)),
      label_of(box, picture));
}

// "3 boxes: cat 2, dog", for who cannot see the picture.
std::string spoken(const ShownPicture& picture) {
  if (picture.boxes.empty()) return "no boxes";
  constexpr std::size_t kMostKinds = 8;
  std::map<std::string, int> count;
  for (const ShownBox& box : picture.boxes) ++count[shortened(box.label, kMostLabelCharacters)];
  std::vector<std::string> kinds;
  for (const auto& [label, times] : count) {
    if (kinds.size() == kMostKinds) {
      kinds.emplace_back("and others");
      break;
    }
    kinds.push_back(times == 1 ? label : fmt::format("{} {}", label, times));
  }
  return fmt::format("{} {}: {}", picture.boxes.size(), picture.boxes.size() == 1 ? "box" : "boxes",
                     join(kinds, ", "));
}

std::string drawing(const ShownPicture& picture, const std::string& name) {
  const std::string size = fmt::format("width=\"{}\" height=\"{}\"", picture.width, picture.height);
  const std::int64_t text_height = std::max<std::int64_t>(
      6, std::max(picture.width, picture.height) / 28);  // until the script knows the scale
  std::string text = fmt::format(
      "<svg class=\"pic{}\" viewBox=\"0 0 {} {}\" font-size=\"{}\" role=\"img\" "
      "aria-label=\"{}: {}\"><image {} href=\"data:image/jpeg;base64,{}\"/>",
      picture.boxes.size() > kMostLabelsAtOnce ? " full" : "", picture.width, picture.height,
      text_height, name, html_text(spoken(picture)), size, base64(picture.jpeg));
  for (std::size_t i = 0; i < std::min(picture.boxes.size(), kMostBoxes); ++i)
    text += render_box(picture.boxes[i], picture);
  return text + "</svg>";
}

std::string render_picture(const ShownPicture& picture, const std::string& name) {
  std::string text;
  if (picture.jpeg.empty()) {
    text = "<p class=\"gone\">no picture</p>";
  } else {
    text = fmt::format("<button class=\"view\" type=\"button\" title=\"enlarge\">{}</button>",
                       drawing(picture, name));
  }
  std::string note = picture.note;
  if (picture.boxes.size() > kMostBoxes)
    note += fmt::format("; the first {} of {} boxes are drawn", kMostBoxes, picture.boxes.size());
  if (!note.empty()) text += fmt::format("<p class=\"note\">{}</p>", html_text(note));
  return text;
}

std::string render_turn(const ShownTurn& turn) {
  std::string text;
  for (const ShownText& part : turn.parts) {
    const std::string words = html_text(shortened(part.text, kMostTextCharacters));
    text += part.learned ? "<mark>" + words + "</mark>" : words;
  }
  return fmt::format("<div class=\"turn\"><b>{}</b><pre dir=\"auto\">{}</pre></div>",
                     html_text(turn.role), text);
}

std::string render_turns(const Card& card) {
  if (card.turns.empty()) return "";
  std::string text;
  for (std::size_t i = 0; i < std::min(card.turns.size(), kMostTurns); ++i)
    text += render_turn(card.turns[i]);
  if (card.turns.size() > kMostTurns)
    text += fmt::format("<p class=\"note\">and {} more turns</p>", card.turns.size() - kMostTurns);
  return fmt::format("<details{}><summary>text</summary>{}</details>", card.open ? " open" : "",
                     text);
}

}  // namespace

std::string render_card(const Card& card) {
  const std::string name = html_text(shortened(card.name, kMostNameCharacters));
  std::string tags;
  for (const std::string& tag : card.tags)
    tags += fmt::format("<li>{}</li>", html_text(shortened(tag, kMostLabelCharacters)));
  if (!tags.empty()) tags = "<ul class=\"tags\">" + tags + "</ul>";
  std::string pictures;
  for (const ShownPicture& picture : card.pictures) pictures += render_picture(picture, name);
  const std::string note =
      card.note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>", html_text(card.note));
  return fmt::format("<article class=\"card\"><h3 dir=\"auto\">{}</h3>{}{}{}{}</article>\n", name,
                     tags, pictures, note, render_turns(card));
}

}  // namespace muster::trainer
