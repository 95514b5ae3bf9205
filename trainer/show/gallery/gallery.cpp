#include "trainer/show/gallery/gallery.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/version.h"
#include "trainer/show/base64.h"
#include "trainer/show/gallery/html_text.h"
#include "trainer/show/gallery/page_files.h"

namespace muster::trainer {
namespace {

constexpr std::size_t kMostClassesListed = 24;
constexpr std::size_t kMostClassesOffered = 2000;
constexpr std::size_t kMostNotes = 40;
constexpr std::size_t kMostNoteCharacters = 600;

std::string csp_hash(std::string_view sha256) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < sha256.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(sha256.substr(i, 2)), nullptr, 16));
  return "'sha256-" + base64(bytes) + "'";
}

// Nothing is loaded, sent or run but the two texts that belong to the page and the pictures in it.
std::string security_policy() {
  return fmt::format(
      "default-src 'none'; img-src data:; style-src {}; script-src {}; base-uri 'none'; "
      "form-action 'none'",
      csp_hash(kPageStyle.sha256), csp_hash(kPageScript.sha256));
}

std::string page_head(const Gallery& gallery) {
  const std::string title = html_text(gallery.title);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta name=\"referrer\" content=\"no-referrer\"><title>{} - muster look</title>"
      "<style>{}</style></head>\n<body><main>\n<header><h1 dir=\"auto\">{}</h1><p>muster {}, "
      "{}</p></header>\n",
      security_policy(), title, kPageStyle.text, title, kVersion, html_text(gallery.place));
}

std::string fact_tiles(const Gallery& gallery) {
  std::string text;
  for (const Fact& fact : gallery.facts)
    text += fmt::format("<div class=\"tile\"><dt>{}</dt><dd>{}</dd></div>\n", html_text(fact.name),
                        html_text(fact.value));
  return "<dl class=\"tiles\">\n" + text + "</dl>\n";
}

std::string note_list(std::vector<std::string> notes) {
  if (notes.empty()) return "";
  if (notes.size() > kMostNotes) {
    const std::size_t more = notes.size() - kMostNotes;
    notes.resize(kMostNotes);
    notes.push_back(fmt::format("and {} more of these lines", more));
  }
  std::string text;
  for (const std::string& note : notes)
    text += fmt::format("<li>{}</li>", html_text(shortened(note, kMostNoteCharacters)));
  return "<ul class=\"notes\">" + text + "</ul>\n";
}

std::vector<std::size_t> classes_by_boxes(const Gallery& gallery) {
  std::vector<std::size_t> order(gallery.classes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, std::greater{},
                           [&](std::size_t i) { return gallery.classes[i].boxes; });
  return order;
}

std::string class_bar(const ClassCount& one, std::size_t index, std::int64_t most) {
  const double percent =
      100.0 * static_cast<double>(one.boxes) / static_cast<double>(std::max<std::int64_t>(1, most));
  return fmt::format(
      "<li><button type=\"button\" data-c=\"{}\" dir=\"auto\">{}</button><svg viewBox=\"0 0 100 "
      "8\" "
      "preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect width=\"{:.2f}\" "
      "height=\"8\"/></svg>"
      "<b>{}</b></li>",
      index, html_text(shortened(one.name, 60)), percent, one.boxes);
}

std::string class_chart(const Gallery& gallery, const std::vector<std::size_t>& order) {
  if (order.empty()) return "";
  std::string text;
  for (std::size_t i = 0; i < std::min(order.size(), kMostClassesListed); ++i) {
    text += class_bar(gallery.classes[order[i]], order[i], gallery.classes[order.front()].boxes);
  }
  if (order.size() > kMostClassesListed)
    text += fmt::format("<li class=\"note\">and {} classes with fewer boxes</li>",
                        order.size() - kMostClassesListed);
  return "<figure class=\"tile\"><figcaption>Boxes by class</figcaption><ol class=\"classes\">" +
         text + "</ol></figure>\n";
}

std::string charts(const Gallery& gallery, const std::vector<std::size_t>& order) {
  std::string text = class_chart(gallery, order);
  for (const Histogram& histogram : gallery.histograms) text += render_histogram(histogram);
  return text.empty() ? "" : "<section class=\"charts\">\n" + text + "</section>\n";
}

std::string option(const std::string& value, const std::string& text) {
  return fmt::format("<option value=\"{}\">{}</option>", html_text(value), html_text(text));
}

std::string select(const char* id, const char* name, const std::string& options) {
  return fmt::format(
      "<label>{}<select id=\"{}\"><option value=\"\">all</option>{}</select></label>", name, id,
      options);
}

std::string class_filter(const Gallery& gallery, const std::vector<std::size_t>& order) {
  if (order.empty()) return "";
  std::string options;
  for (std::size_t i = 0; i < std::min(order.size(), kMostClassesOffered); ++i) {
    const ClassCount& one = gallery.classes[order[i]];
    options += option(std::to_string(order[i]),
                      fmt::format("{} ({})", shortened(one.name, 60), one.boxes));
  }
  return select("class", "Class", options);
}

// COCO's bounds, and one below them.
std::string size_filter() {
  return select("size", "Box size",
                option("0,16", "tiny, below 16 px") + option("16,32", "small, 16 to 32 px") +
                    option("32,96", "medium, 32 to 96 px") + option("96,1e9", "large, from 96 px"));
}

std::string tag_filter(const Gallery& gallery) {
  std::vector<std::string> tags;
  for (const Section& section : gallery.sections) {
    for (const Card& card : section.cards) {
      for (const std::string& tag : card.tags)
        if (std::ranges::find(tags, tag) == tags.end()) tags.push_back(tag);
    }
  }
  if (tags.empty()) return "";
  std::string options;
  for (const std::string& tag : tags) {
    const std::string shown = shortened(tag, 80);
    options += option(shown, shown);
  }
  return select("tag", "Shown because", options);
}

std::string verdict_filters() {
  std::string text;
  constexpr std::array<std::array<const char*, 2>, 4> kKinds{
      {{"tp", "found"}, {"fp", "false"}, {"fn", "missed"}, {"truth", "truth of found"}}};
  for (const auto& [id, name] : kKinds)
    text += fmt::format(
        "<label class=\"tick {0}\"><input type=\"checkbox\" id=\"{0}\" checked>{1}</label>", id,
        name);
  return "<fieldset><legend>Boxes</legend>" + text + "</fieldset>";
}

std::string score_filters(const Gallery& gallery) {
  if (!gallery.threshold) return "";
  return fmt::format(
             "<label><span>Score at least <output id=\"atleast\">{0:.2f}</output></span><input "
             "type=\"range\" "
             "id=\"score\" min=\"0\" max=\"1\" step=\"0.01\" value=\"{0:.2f}\"></label>",
             *gallery.threshold) +
         verdict_filters();
}

std::string filters(const Gallery& gallery, const std::vector<std::size_t>& order) {
  return "<noscript><p class=\"note\">The filters need JavaScript; pictures and boxes do "
         "not.</p></noscript>\n<form id=\"filters\" aria-label=\"filters\">"
         "<label>Name<input id=\"name\" type=\"search\" placeholder=\"part of it; key "
         "/\"></label>" +
         class_filter(gallery, order) + size_filter() + tag_filter(gallery) +
         score_filters(gallery) +
         "<label class=\"tick\"><input type=\"checkbox\" id=\"labels\" checked>labels</label>"
         "<button type=\"reset\">reset</button><output id=\"count\"></output></form>\n";
}

constexpr const char* kDialog =
    "<dialog id=\"big\" aria-label=\"enlarged picture\"><header><h2 dir=\"auto\"></h2>"
    "<button type=\"button\" id=\"before\" title=\"before (left arrow)\">&#8592;</button>"
    "<button type=\"button\" id=\"after\" title=\"after (right arrow)\">&#8594;</button>"
    "<button type=\"button\" id=\"close\" autofocus title=\"close "
    "(Escape)\">&#10005;</button></header>"
    "<div class=\"bigview\"></div><div class=\"wide\"><table></table></div></dialog>\n";

struct RenderedCards {
  std::string html;
  std::size_t shown = 0;
  std::size_t all = 0;
};

RenderedCards render_sections(const Gallery& gallery, std::size_t room) {
  RenderedCards result;
  for (const Section& section : gallery.sections) {
    std::string cards;
    for (const Card& card : section.cards) {
      ++result.all;
      std::string one = render_card(card);
      if (result.html.size() + cards.size() + one.size() > room) continue;
      cards += one;
      ++result.shown;
    }
    if (cards.empty()) continue;
    const std::string note =
        section.note.empty() ? "" : "<p class=\"note\">" + html_text(section.note) + "</p>";
    result.html += fmt::format(
        "<section class=\"cards\"><h2>{}</h2>{}<div class=\"grid\">\n{}</div>"
        "</section>\n",
        html_text(section.title), note, cards);
  }
  return result;
}

}  // namespace

std::string render_gallery(const Gallery& gallery, std::size_t most_bytes) {
  const std::vector<std::size_t> order = classes_by_boxes(gallery);
  const std::string head = page_head(gallery) + fact_tiles(gallery);
  const std::string middle = charts(gallery, order) + filters(gallery, order);
  const std::string tail =
      fmt::format("{}</main><script>{}</script></body></html>\n", kDialog, kPageScript.text);
  std::vector<std::string> notes = gallery.notes;
  constexpr std::size_t kOneMoreNote = 4096;
  const std::size_t own =
      head.size() + note_list(notes).size() + kOneMoreNote + middle.size() + tail.size();
  const RenderedCards cards = render_sections(gallery, most_bytes > own ? most_bytes - own : 0);
  if (cards.shown < cards.all) {
    notes.insert(
        notes.begin(),
        fmt::format("{} of {} samples are shown: all would make this page larger than {} MB",
                    cards.shown, cards.all, most_bytes / 1'000'000));
  }
  return head + note_list(std::move(notes)) + middle + "<div class=\"sections\">\n" + cards.html +
         "</div>\n" + tail;
}

}  // namespace muster::trainer
