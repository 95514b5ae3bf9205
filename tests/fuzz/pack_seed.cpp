// pack_seed OUT.h5 PICTURE: the smallest pack with a sample of each kind, as this version writes
// it.
#include <cstdio>
#include <exception>

#include "base/files.h"
#include "data/pack/pack.h"

using namespace muster;

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  try {
    data::PackBuilder pack(argv[1]);
    data::Picture picture{.path = argv[2], .width = 13, .height = 9};
    picture.index = pack.add_picture(MappedFile(argv[2]).bytes(), picture);
    data::Sample boxed;
    boxed.name = "boxed";
    boxed.pictures = {picture};
    data::Object object;
    object.box = {1, 2, 5, 6};
    object.category = 1;
    object.caption = "a cat";
    boxed.objects = {object};
    pack.add_sample(boxed);
    data::Sample words;
    words.name = "words";
    words.boxed = false;
    words.turns = {{data::Role::kUser, "hello", false}, {data::Role::kAssistant, "world", false}};
    pack.add_sample(words);
    pack.finish({{1, "cat"}, {2, "dog"}});
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pack_seed: %s\n", error.what());
    return 1;
  }
}
