// pack_seed OUT.h5 PICTURE: the smallest pack with a sample of each kind, as this version writes
// it.
#include <cstdio>
#include <exception>

#include "data/pack/pack.h"

using namespace muster;

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  try {
    data::Sample boxed{.name = "boxed", .image = argv[2], .source_id = 1, .width = 13, .height = 9};
    boxed.objects.push_back({.box = {1, 2, 5, 6}, .category = 1, .caption = "a cat", .area = 16});
    const data::Sample words{.name = "words", .source_id = 2, .prompt = "hello", .answer = "world"};
    data::write_pack(argv[1], {boxed, words}, {{1, "cat"}, {2, "dog"}});
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pack_seed: %s\n", error.what());
    return 1;
  }
}
