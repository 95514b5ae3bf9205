// The gallery page: whole, bounded, closed to the outside, and unmoved by what labels say.
#include "trainer/show/gallery/gallery.h"

#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <set>

#include "base/files.h"
#include "base/pattern.h"
#include "support/test_paths.h"
#include "trainer/show/base64.h"
#include "trainer/show/gallery/html_text.h"
#include "trainer/show/gallery/page_files.h"

using namespace muster;
using namespace muster::trainer;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

ShownPicture picture(const std::string& label, std::size_t bytes = 100) {
  ShownPicture shown;
  shown.jpeg = std::string(bytes, 'j');
  shown.width = 64;
  shown.height = 48;
  shown.boxes.push_back({{1, 2, 30.5, 40}, label, 0, 0.75, Verdict::kFound, ""});
  return shown;
}

Card card(const std::string& name, const std::string& label = "cat", std::size_t bytes = 100) {
  Card card;
  card.name = name;
  card.tags = {"first"};
  card.pictures = {picture(label, bytes)};
  card.turns = {{"user", {{"what is it?", false}}}, {"assistant", {{"a cat", true}}}};
  return card;
}

Gallery gallery(std::vector<Card> cards) {
  Gallery made;
  made.title = "train.h5";
  made.place = "/data/train.h5";
  made.facts = {{"samples", "1"}};
  made.notes = {"a note"};
  made.classes = {{"cat", 1}, {"dog", 0}};
  DoublingBins bins(4);
  bins.add(3);
  bins.add(9);
  made.histograms = {bins.histogram("sizes")};
  made.sections = {{"Section", "why", std::move(cards)}};
  return made;
}

// What is wrong with the nesting of a page's tags; "" when every tag that opens is closed in order.
std::string nesting_fault(const std::string& html) {
  static const std::set<std::string> kVoid{"meta", "input", "image", "br", "link", "!doctype"};
  static const Pattern tag(R"(<(/?)([!a-zA-Z0-9]+)((?:[^>"]|"[^"]*")*)>)",
                           Pattern::Letters::kAsWritten);
  static const Pattern inert(R"((?s)(<(?:script|style)>).*?(</(?:script|style)>))",
                             Pattern::Letters::kAsWritten);
  std::string text;
  std::size_t from = 0;
  for (const Pattern::Match& match : inert.all_in(html)) {
    text += html.substr(from, match.begin - from) + match.text(1) + match.text(2);
    from = match.end;
  }
  text += html.substr(from);
  std::vector<std::string> open;
  for (const Pattern::Match& match : tag.all_in(text)) {
    const std::string name = match.text(2);
    if (kVoid.contains(name) || match.text(3).ends_with('/')) continue;
    if (match.text(1).empty()) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return fmt::format("</{}> closes <{}>", name, open.empty() ? "" : open.back());
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

}  // namespace

TEST_CASE("gallery: the page nests its tags, and names what it shows", "[unit]") {
  CHECK(nesting_fault("<p><b></p></b>") == "</p> closes <b>");  // the control
  const std::string page = render_gallery(gallery({card("one"), card("two")}));
  CHECK(nesting_fault(page) == "");
  CHECK_THAT(page, StartsWith("<!doctype html>") && ContainsSubstring("</html>"));
  CHECK_THAT(page, ContainsSubstring("data-c=\"0\" data-z=\"33.5\"") &&
                       ContainsSubstring("data-s=\"0.7500\" data-v=\"tp\"") &&
                       ContainsSubstring("<mark>a cat</mark>") &&
                       ContainsSubstring("aria-label=\"one: 1 box: cat\""));
  CHECK_THAT(page, ContainsSubstring("data:image/jpeg;base64," + base64(std::string(100, 'j'))));
}

TEST_CASE("gallery: it fetches nothing, and runs its own script alone", "[unit]") {
  const std::string page = render_gallery(gallery({card("one")}));
  CHECK_THAT(page, ContainsSubstring("default-src 'none'; img-src data:; style-src 'sha256-") &&
                       ContainsSubstring("script-src 'sha256-"));
  CHECK(page.find("unsafe-inline") == std::string::npos);
  CHECK(page.find("http://") == std::string::npos);
  CHECK(page.find("https://") == std::string::npos);
  CHECK(page.find(" style=") == std::string::npos);  // the policy would not let it act
  CHECK(page.find(" onclick=") == std::string::npos);
}

TEST_CASE("gallery: the script and the style in the program are the files of the tree", "[unit]") {
  const fs::path folder = test::source_dir() / "trainer/show/gallery";
  CHECK(kPageScript.text == read_text(folder / "page.js"));
  CHECK(kPageStyle.text == read_text(folder / "page.css"));
  CHECK(kPageScript.sha256.size() == 64);
  CHECK(kPageScript.sha256 != kPageStyle.sha256);
  // Nothing in them ends their element early.
  CHECK(kPageScript.text.find("</") == std::string_view::npos);
  CHECK(kPageStyle.text.find("</") == std::string_view::npos);
}

TEST_CASE("gallery: text from outside is text, and is seen", "[unit]") {
  CHECK(html_text("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#39;");
  CHECK(html_text("a\nb\tc") == "a\nb\tc");
  CHECK(html_text(std::string("\x1b[31m\0", 6)) == "\u241b[31m\u2400");
  CHECK(html_text("\x7f") == "\u2421");
  CHECK(html_text("ab\u202egnp.exe") == "ab&lt;U+202E&gt;gnp.exe");
  CHECK(html_text("\u2066\u200b\ufeff") == "&lt;U+2066&gt;&lt;U+200B&gt;&lt;U+FEFF&gt;");
  CHECK(html_text("\xff\xc3") == "\ufffd\ufffd");
  CHECK(html_text("猫 кот قط") == "猫 кот قط");

  const std::string hostile = "</title></script><script>alert(1)</script><img src=x onerror=y>\"'";
  Card bad = card(hostile, hostile);
  bad.note = hostile;
  bad.tags = {hostile};
  bad.turns = {{hostile, {{hostile, true}}}};
  bad.pictures.front().note = hostile;
  bad.pictures.front().boxes.front().note = hostile;
  Gallery made = gallery({bad});
  made.title = made.place = hostile;
  made.notes = {hostile};
  made.facts = {{hostile, hostile}};
  made.classes = {{hostile, 1}};
  made.histograms.front().title = hostile;
  made.sections.front().title = made.sections.front().note = hostile;
  const std::string page = render_gallery(made);
  CHECK(nesting_fault(page) == "");
  CHECK(page.find("<img") == std::string::npos);
  CHECK(page.find("<script>alert") == std::string::npos);
}

TEST_CASE("gallery: the page is bounded, and says what is left out", "[unit]") {
  std::vector<Card> cards;
  for (int i = 0; i < 40; ++i) cards.push_back(card(fmt::format("card {}", i), "cat", 30'000));
  const std::string whole = render_gallery(gallery(cards));
  CHECK(whole.find("would make this page larger") == std::string::npos);
  CHECK_THAT(whole, ContainsSubstring("card 39"));
  const std::string cut = render_gallery(gallery(cards), 1'000'000);
  CHECK(cut.size() <= 1'000'000);
  CHECK(cut.size() > 800'000);
  CHECK_THAT(cut, ContainsSubstring("of 40 samples are shown: all would make this page larger"));
  CHECK(nesting_fault(cut) == "");
}

TEST_CASE("gallery: one huge sample is cut, and says so", "[unit]") {
  Card huge = card("huge");
  huge.pictures.front().boxes.resize(5000, huge.pictures.front().boxes.front());
  huge.turns.front().parts.front().text = std::string(1'000'000, 'x');
  const std::string html = render_card(huge);
  CHECK(html.size() < 300'000);
  CHECK_THAT(html, ContainsSubstring("the first 400 of 5000 boxes are drawn") &&
                       ContainsSubstring("(and 994000 more characters)"));
}

TEST_CASE("gallery: scores bring the slider and the verdicts, nothing else does", "[unit]") {
  Gallery made = gallery({card("one")});
  CHECK(render_gallery(made).find("id=\"score\"") == std::string::npos);
  made.threshold = 0.3;
  CHECK_THAT(render_gallery(made), ContainsSubstring("value=\"0.30\"") &&
                                       ContainsSubstring("id=\"fn\"") &&
                                       ContainsSubstring("id=\"size\""));
}

TEST_CASE("gallery: bins double", "[unit]") {
  DoublingBins bins(4);
  for (const double value : {0.0, 3.9, 7.9, 8.0, 15.0, 16.0}) bins.add(value);
  const Histogram histogram = bins.histogram("t");
  REQUIRE(histogram.bars.size() == 3);
  CHECK(histogram.bars[0].count == 3);
  CHECK(histogram.bars[1].from == "8");
  CHECK(histogram.bars[1].count == 2);
  CHECK(histogram.bars[2].count == 1);
  CHECK(render_histogram({"empty", {}}) == "");
}
