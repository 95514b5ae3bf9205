// `muster look PACK`: exact facts of every sample, and the odd ones found.
#include "launcher/look/pack_view.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "launcher/look/painted.h"
#include "launcher/look/survey.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using nlohmann::ordered_json;

namespace {

constexpr test::Colour kPaper{255, 255, 255};
constexpr test::Colour kSquare{200, 30, 30};

// Six samples: two boxes; nothing there; nobody looked; two pictures and turns; text alone; a copy
// of the first picture, compressed anew, with a box twice.
class OddPack {
 public:
  OddPack() {
    data::Image first = test::plain(120, 80, kPaper);
    for (int i = 0; i < 12; ++i)
      test::paint(first, {10.0 * i, 0, 10.0 * i + 5, 5.0 * i + 10}, {10, 90, 160});
    test::paint(first, {10, 20, 50, 60}, kSquare);
    const fs::path a = test::save_png(path("a.png"), first);
    const fs::path wide = test::save_png(path("wide.png"), test::plain(300, 30, {20, 200, 20}));
    const fs::path dark = test::save_png(path("dark.png"), test::plain(60, 60, {5, 5, 40}));
    const std::vector<std::byte> again = data::encode_jpeg(first, 60);
    write_text(path("again.jpg"), {reinterpret_cast<const char*>(again.data()), again.size()});

    std::vector<data::Sample> samples;
    samples.push_back(test::sample("a", {a}, 120, 80,
                                   {test::object({10, 20, 50, 60}, 7, "a red square"),
                                    test::object({0, 0, 4.5, 10}, 9, "bar")}));
    samples.push_back(test::sample("nothing", {wide}, 300, 30, {}));
    samples.push_back(test::sample("unseen", {dark}, 60, 60, {}));
    samples.back().boxed = false;
    samples.back().turns = {{data::Role::kUser, std::string(data::kPictureMark) + "what?"},
                            {data::Role::kAssistant, "a dark wall"}};
    samples.push_back(two_pictures(dark));
    samples.push_back(test::sample("words", {}, 0, 0, {}));
    samples.back().boxed = false;
    samples.back().turns = {{data::Role::kUser, "2+2?"}, {data::Role::kAssistant, "4"}};
    samples.push_back(test::sample("again", {path("again.jpg")}, 120, 80,
                                   {test::object({10, 20, 50, 60}, 7, "square"),
                                    test::object({11, 20, 50, 60}, 7, "square")}));
    data::write_pack(pack(), samples, {{7, "square"}, {9, "bar"}, {11, "never"}});
  }

  fs::path pack() const { return path("odd.h5"); }
  View look(const LookOptions& options = {}) const { return look_at_pack(pack(), options); }

 private:
  fs::path path(const std::string& name) const { return dir_.path() / name; }

  static data::Sample two_pictures(const fs::path& dark) {
    data::Sample two =
        test::sample("two", {dark, dark}, 60, 60, {test::object({0, 0, 60, 60}, 9, "bar")});
    two.objects.front().picture = 1;
    two.objects.front().turn = 3;
    two.turns = {{data::Role::kUser,
                  std::string(data::kPictureMark) + "and " + std::string(data::kPictureMark)},
                 {data::Role::kAssistant, "walls"},
                 {data::Role::kUser, "bars?"},
                 {data::Role::kAssistant, "", true}};
    return two;
  }

  TempDir dir_{"muster-look"};
};

std::vector<std::int64_t> odd(const View& view, const char* why) {
  return view.facts["odd"].value(why, std::vector<std::int64_t>{});
}

}  // namespace

TEST_CASE("look at a pack: every sample exactly", "[unit]") {
  const OddPack odd_pack;
  const View view = odd_pack.look();
  REQUIRE(view.num_samples == 6);
  const ordered_json a = view.sample(0);
  CHECK(a["name"] == "a");
  CHECK(a["size"] == ordered_json{120, 80});
  CHECK(a["images"].size() == 1);
  CHECK_THAT(a["images"][0]["path"].get<std::string>(), ContainsSubstring("a.png"));
  CHECK(a["boxes"] == ordered_json{{10.0, 20.0, 50.0, 60.0}, {0.0, 0.0, 4.5, 10.0}});
  CHECK(a["labels"] == ordered_json{"a red square", "bar"});
  CHECK(a["categories"] == ordered_json{"square", "bar"});
  CHECK(a["boxed"] == true);
  CHECK(a["turns"].empty());

  CHECK(view.sample(1)["boxes"].empty());
  CHECK(view.sample(1)["boxed"] == true);
  const ordered_json unseen = view.sample(2);
  CHECK(unseen["boxed"] == false);
  CHECK(unseen["turns"] == ordered_json{{{"role", "user"}, {"text", "[picture 1]what?"}},
                                        {{"role", "assistant"}, {"text", "a dark wall"}}});
  const ordered_json two = view.sample(3);
  CHECK(two["images"].size() == 2);
  CHECK(two["box_images"] == ordered_json{1});
  CHECK(two["turns"][0]["text"] == "[picture 1]and [picture 2]");
  CHECK(two["turns"][3]["lists_objects"] == true);
  CHECK(view.sample(4)["size"].is_null());
}

TEST_CASE("look at a pack: what is odd is found", "[unit]") {
  const OddPack odd_pack;
  const View view = odd_pack.look();
  CHECK(view.facts["num_boxes"] == 5);
  CHECK(view.facts["unboxed"] == 2);
  CHECK(view.facts["empty"] == 1);
  CHECK(view.facts["without_picture"] == 1);
  CHECK(view.facts["classes"] ==
        ordered_json{{{"name", "square"}, {"boxes", 3}}, {{"name", "bar"}, {"boxes", 2}}});
  using Samples = std::vector<std::int64_t>;
  CHECK(odd(view, reason::kEmpty) == Samples{1});
  CHECK(odd(view, reason::kUnboxed) == Samples{2, 4});
  CHECK(odd(view, reason::kSeveralPictures) == Samples{3});
  CHECK(odd(view, reason::kSeveralTurns) == Samples{3});
  CHECK(odd(view, reason::kNoPicture) == Samples{4});
  CHECK(odd(view, reason::kTwice) == Samples{5});
  CHECK(odd(view, reason::kBorder) == Samples{0, 3});
  CHECK(odd(view, reason::kWholePicture) == Samples{3});
  CHECK(odd(view, reason::kLongest).front() == 1);
  CHECK(odd(view, reason::kSmallestBox).front() == 0);
  // Stored bytes differ; two and unseen share one stored picture, which is no find.
  CHECK(view.facts["look_alike"] == ordered_json{Samples{0, 5}});
}

TEST_CASE("look at a pack: -n and --sample say which samples", "[unit]") {
  const OddPack odd_pack;
  LookOptions first_two;
  first_two.first = 2;
  CHECK(odd_pack.look(first_two).num_samples == 2);
  LookOptions asked;
  asked.samples = {"5", "two"};
  const View view = odd_pack.look(asked);
  REQUIRE(view.num_samples == 2);
  CHECK(view.sample(0)["name"] == "again");
  CHECK(view.sample(1)["name"] == "two");
  CHECK(view.page().sections.size() == 1);
  for (const auto& [wrong, answer] : std::vector<std::pair<std::string, std::string>>{
           {"6", "there are 6 samples, 0 to 5"}, {"unsen", "did you mean 'unseen'?"}}) {
    asked.samples = {wrong};
    CHECK_THROWS_WITH(odd_pack.look(asked), ContainsSubstring(answer));
  }
}

TEST_CASE("look at a pack: the page has each odd sample, with its boxes in place", "[unit]") {
  const OddPack odd_pack;
  const trainer::Gallery page = odd_pack.look().page();
  std::map<std::string, trainer::Card> cards;
  for (const trainer::Section& section : page.sections)
    for (const trainer::Card& card : section.cards) cards[card.name] = card;
  CHECK(cards.size() == 6);
  const trainer::ShownPicture& picture = cards["a"].pictures.front();
  const data::Image seen = data::decode_image(std::as_bytes(std::span(picture.jpeg)), "a");
  CHECK(seen.width == 120);
  const auto [x1, y1, x2, y2] = picture.boxes.front().box;
  const auto middle = static_cast<std::size_t>(((y1 + y2) / 2 * 120 + (x1 + x2) / 2) * 3);
  CHECK(seen.rgb[middle] > 150);
  CHECK(seen.rgb[middle + 1] < 90);
  CHECK(cards["two"].pictures[0].boxes.empty());
  CHECK(cards["two"].pictures[1].boxes.size() == 1);
  CHECK(cards["words"].pictures.empty());
  CHECK_THAT(cards["unseen"].note, ContainsSubstring("nobody annotated"));
  CHECK(trainer::render_gallery(page).size() < trainer::kMostPageBytes);
}
