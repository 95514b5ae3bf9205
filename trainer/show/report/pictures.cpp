#include "trainer/show/report/pictures.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>

#include "base/files.h"
#include "trainer/show/base64.h"

namespace muster::trainer {
namespace {

constexpr std::size_t kMostPictures = 24;  // keeps the file small enough to mail

// What a box is drawn with, and called by who cannot see the colour.
struct Style {
  const char* css;
  const char* word;
};
Style style_of(BoxVerdict verdict) {
  switch (verdict) {
    case BoxVerdict::kFound: return {"tp", "found"};
    case BoxVerdict::kFalse: return {"fp", "false"};
    case BoxVerdict::kMissed: return {"fn", "missed"};
    default: return {"none", ""};
  }
}

std::string box_shape(const JudgedBox& box, const JudgedPicture& picture) {
  const Style style = style_of(box.verdict);
  const auto [x1, y1, x2, y2] = box.box;
  const std::string score = box.score < 0 ? "" : fmt::format(" {:.2f}", box.score);
  // The label stands above the box where there is room, and ends inside the picture.
  const bool above = y1 > 0.08 * static_cast<double>(picture.height);
  const bool at_right = x1 > 0.6 * static_cast<double>(picture.width);
  return fmt::format(
      "<g class=\"{}\"><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">"
      "<title>{}{} {}</title></rect><text x=\"{:.1f}\" y=\"{:.1f}\" dy=\"{}\"{}>{}{}</text></g>",
      style.css, x1, y1, std::max(0.0, x2 - x1), std::max(0.0, y2 - y1), escape_html(box.label),
      score, style.word, at_right ? x2 : x1, y1, above ? "-.3em" : "1em",
      at_right ? " text-anchor=\"end\"" : "", escape_html(box.label), score);
}

// The picture lies in the page once; both sides show it.
std::string side(const JudgedPicture& picture, const std::vector<JudgedBox>& boxes,
                 const std::string& image, const std::string& name) {
  std::string shapes;
  for (const JudgedBox& box : boxes) shapes += box_shape(box, picture);
  return fmt::format(
      "<div><p>{} <b>{}</b></p><svg class=\"shot\" viewBox=\"0 0 {} {}\" style=\"--u:{}\" "
      "role=\"img\" aria-label=\"{} of {}\">{}{}</svg></div>",
      name, boxes.size(), picture.width, picture.height, static_cast<double>(picture.width) / 100.0,
      name, escape_html(picture.name), image, shapes);
}

std::string pair_figure(const JudgedPicture& picture, const fs::path& file, std::size_t number) {
  const std::string image = fmt::format(
      "<image id=\"p{}\" width=\"{}\" height=\"{}\" href=\"data:image/jpeg;base64,{}\"/>", number,
      picture.width, picture.height, base64(read_text(file)));
  const std::string again = fmt::format("<use href=\"#p{}\"/>", number);
  return fmt::format(
      "<figure class=\"card pair\"><figcaption>{} <small>{} found, {} false, {} "
      "missed{}</small></figcaption><div class=\"sides\">{}{}</div></figure>\n",
      escape_html(picture.name), picture.count(BoxVerdict::kFound),
      picture.count(BoxVerdict::kFalse), picture.count(BoxVerdict::kMissed),
      picture.annotated ? "" : "; nobody annotated it",
      side(picture, picture.truth, image, "truth"),
      side(picture, picture.predicted, again, "predicted"));
}

std::string judged_section(const RunFolder& run) {
  std::vector<JudgedPicture> pictures = run.pictures.pictures;
  std::ranges::stable_sort(pictures, std::greater{}, &JudgedPicture::errors);
  std::string text;
  std::size_t number = 0;
  for (const JudgedPicture& picture : pictures) {
    const fs::path file = run.path / "predictions" / picture.file;
    if (picture.file.empty() || !fs::is_regular_file(file) || number == kMostPictures) continue;
    text += pair_figure(picture, file, number++);
  }
  if (text.empty()) return "";
  return fmt::format(
      "<h2>Predictions beside the truth <small>worst first; score at least {:.3g}, IoU at least "
      "0.5</small></h2>\n<ul class=\"legend\"><li><i class=\"tp\"></i>found</li><li><i "
      "class=\"fp\"></i>false</li><li><i class=\"fn\"></i>missed</li></ul>\n<section "
      "class=\"pairs\">\n{}</section>\n",
      run.pictures.threshold, text);
}

// By name. Empty when the folder is not there.
std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string ext = entry.path().extension().string();
    if (ext == ".png" || ext == ".jpg" || ext == ".jpeg") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

// The picture itself lies in the page, with the text of the file beside it, or its name, below.
std::string figure(const fs::path& picture) {
  const std::string name = escape_html(picture.stem().string());
  const fs::path words = fs::path(picture).replace_extension(".txt");
  return fmt::format(
      "<figure class=\"card\"><img alt=\"{}\" "
      "src=\"data:image/{};base64,{}\"><figcaption>{}</figcaption></figure>\n",
      name, picture.extension() == ".png" ? "png" : "jpeg", base64(read_text(picture)),
      fs::exists(words) ? escape_html(read_text(words)) : name);
}

std::string drawn_section(const fs::path& folder) {
  const std::vector<fs::path> files = pictures_in(folder);
  if (files.empty()) return "";
  std::string text;
  for (std::size_t i = 0; i < std::min(files.size(), kMostPictures); ++i) text += figure(files[i]);
  std::string count;
  if (files.size() > kMostPictures)
    count = fmt::format(" <small>{} of {}</small>", kMostPictures, files.size());
  return fmt::format("<h2>Predictions{}</h2>\n<section class=\"gallery\">\n{}</section>\n", count,
                     text);
}

}  // namespace

std::string pictures_section(const RunFolder& run) {
  const std::string judged = judged_section(run);
  return judged.empty() ? drawn_section(run.path / "predictions") : judged;
}

}  // namespace muster::trainer
