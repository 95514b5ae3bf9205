#include "trainer/evaluate/picture_list.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"

namespace muster::trainer {
namespace {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("pictures come from files, folders and lists, in the order given", "[unit]") {
  const TempDir dir;
  fs::create_directories(dir.path() / "folder");
  for (const char* name : {"folder/b.JPG", "folder/a.png", "folder/notes.md", "c.jpeg"})
    write_text(dir.path() / name, "x");
  write_text(dir.path() / "list.txt",
             "c.jpeg\r\n\nfolder/b.JPG  \n" + (dir.path() / "folder/a.png").string());
  const auto in = [&](const char* name) { return (dir.path() / name).string(); };
  const std::vector<fs::path> expected = {in("c.jpeg"), in("folder/a.png"), in("folder/b.JPG"),
                                          in("c.jpeg"), in("folder/b.JPG"), in("folder/a.png")};
  CHECK(list_pictures({in("c.jpeg"), in("folder"), in("list.txt")}) == expected);
  CHECK(overlay_names(expected) ==
        std::vector<std::string>{"c.png", "a.png", "b.png", "c-2.png", "b-2.png", "a-2.png"});
}

TEST_CASE("an input that is not there, or holds no picture, is named", "[fault]") {
  const TempDir dir;
  CHECK_THROWS_WITH(list_pictures({(dir.path() / "gone.jpg").string()}),
                    ContainsSubstring("gone.jpg: no such file"));
  CHECK_THROWS_AS(list_pictures({dir.path().string()}), DataError);
}

}  // namespace
}  // namespace muster::trainer
