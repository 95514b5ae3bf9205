#include "data/images/picture_file.h"

#include <catch2/catch_test_macros.hpp>

using muster::data::is_picture_file;

TEST_CASE("pictures are known by their suffix, of any case", "[unit]") {
  for (const char* name : {"a.jpg", "b.Png", "c.JPEG", "d.Jpg", "x.y/e.pNG"})
    CHECK(is_picture_file(name));
  for (const char* name : {"a.gif", "jpg", ".png", "a.png.txt", "a.jpg/b"})
    CHECK_FALSE(is_picture_file(name));
}
