#include "data/sources/element.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

TEST_CASE("XML that is not well formed names file and line", "[fault]") {
  for (const char* bad :
       {"", "x", "<a>", "<a><b></a></b>", "<a>\n</b>", "<a b=c/>", "<a>&nbsp;</a>", "<a/><b/>",
        "<a>&#0;</a>", "<a", "<!-- a", "<a>\xff</a>", "<?xml version='1.0' encoding='none'?><a/>"})
    CHECK_THROWS_MATCHES(parse_xml(bad, "f.xml"), DataError,
                         MessageMatches(ContainsSubstring("f.xml:")));
  CHECK_THROWS_MATCHES(parse_xml("<a>\n\n<b></c>\n</a>", "f.xml"), DataError,
                       MessageMatches(ContainsSubstring("f.xml:3")));
}

TEST_CASE("XML: text, CDATA, references, comments, lines", "[unit]") {
  const XmlElement root = parse_xml(
      "<?xml version='1.0'?>\n<!DOCTYPE a [<!ENTITY cell \"red cell\">]>\n"
      "<a>\n <b x='1>2'>one &cell;</b> t&amp;u <![CDATA[<v> & w]]><!-- no -->\n<b>two</b></a>",
      "f");
  CHECK(root.name == "a");
  CHECK(root.line == 3);
  CHECK(root.text == "t&u <v> & w");
  REQUIRE(root.children.size() == 2);
  CHECK(root.child("b")->text == "one red cell");
  CHECK(root.children[1].line == 5);
  CHECK(root.child("c") == nullptr);
}

TEST_CASE("XML: encodings that the file declares", "[unit]") {
  const auto text = [](const std::string& encoding, const std::string& bytes) {
    return parse_xml("<?xml version='1.0' encoding='" + encoding + "'?><a>" + bytes + "</a>", "f")
        .text;
  };
  CHECK(text("UTF-8", "\xc3\xa9") == "\xc3\xa9");
  CHECK(text("ISO-8859-1", "\xe9") == "\xc3\xa9");
  CHECK(text("windows-1252", "\x80\xe9") == "\xe2\x82\xac\xc3\xa9");  // the euro, e acute
  CHECK(text("GBK",
             "\xba\xec"
             "a") ==
        "\xe7\xba\xa2"
        "a");                                              // red
  CHECK(text("Shift_JIS", "\x90\xd4") == "\xe8\xb5\xa4");  // red
  CHECK_THROWS_AS(text("GBK", "\xff\xff"), DataError);
  std::string wide("\xff\xfe", 2);  // UTF-16 with its mark
  for (const char c : std::string("<a>b</a>")) wide += {c, '\0'};
  CHECK(parse_xml(wide, "f").text == "b");
}

// Each fault that a hostile or damaged file can cause ends in one line, and soon.
TEST_CASE("XML: depth, entity bombs and entities declared elsewhere are refused", "[fault]") {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>\n";
  CHECK_THROWS_MATCHES(
      parse_xml(deep, "f.xml"), DataError,
      MessageMatches(ContainsSubstring("f.xml:66: elements are nested more than 64 deep")));
  std::string bomb = "<!DOCTYPE a [<!ENTITY e0 \"0123456789\">\n";
  for (int i = 1; i < 20; ++i) {
    const std::string before = "&e" + std::to_string(i - 1) + ";";
    std::string ten;
    for (int k = 0; k < 10; ++k) ten += before;
    bomb += "<!ENTITY e" + std::to_string(i) + " \"" + ten + "\">\n";
  }
  CHECK_THROWS_MATCHES(parse_xml(bomb + "]><a>&e19;</a>", "f.xml"), DataError,
                       MessageMatches(ContainsSubstring("amplification")));
  CHECK_THROWS_MATCHES(
      parse_xml("<!DOCTYPE a SYSTEM 'http://x/y.dtd'>\n<a>&red;</a>", "f.xml"), DataError,
      MessageMatches(ContainsSubstring("f.xml:2: the entity &red; is not declared here")));
  CHECK(parse_xml("<!DOCTYPE a SYSTEM 'http://x/y.dtd'><a>b</a>", "f.xml").text == "b");
}

}  // namespace
}  // namespace muster::data
