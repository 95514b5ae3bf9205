#include "launcher/commands/generation_settings.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

namespace {

GenerationSettings settings(const std::string& text, const GenerationFlags& flags = {}) {
  const TempDir dir;
  write_text(dir.path() / "generation_config.json", text);
  return generation_settings(dir.path() / "generation_config.json", flags);
}

}  // namespace

TEST_CASE("generation_config.json: applied, or named as not applied", "[unit]") {
  const std::string published = R"({"do_sample": true, "eos_token_id": [151645, 151643],
    "repetition_penalty": 1.05, "temperature": 0.1, "top_p": 0.001, "top_k": 1, "num_beams": 1,
    "stop_strings": "END", "transformers_version": "4.49.0"})";
  const GenerationSettings greedy = settings(published);
  CHECK(greedy.sampling.repetition_penalty == 1.05);
  CHECK(greedy.eos == std::vector<std::int64_t>{151645, 151643});
  CHECK(greedy.stop == std::vector<std::string>{"END"});
  CHECK_THAT(greedy.told, ContainsSubstring("applied repetition_penalty 1.05") &&
                              ContainsSubstring("not applied do_sample true, temperature 0.1, "
                                                "top_p 0.001") &&
                              !ContainsSubstring("num_beams"));
  CHECK(greedy.told.find('\n') == std::string::npos);
  // The command line wins, and what it decides is not named.
  GenerationFlags flags;
  flags.sampling.temperature = 0.5;
  flags.repetition_penalty = 1;
  flags.stop = {"."};
  const GenerationSettings drawn = settings(published, flags);
  CHECK((drawn.sampling.top_k == 1 && drawn.sampling.repetition_penalty == 1));
  CHECK(drawn.stop == std::vector<std::string>{"END", "."});
  CHECK_THAT(drawn.told, ContainsSubstring("applied top_k 1") &&
                             !ContainsSubstring("temperature 0") &&
                             ContainsSubstring("not applied top_p 0.001"));
}

TEST_CASE("generation_config.json: one that says nothing, and damaged ones", "[unit][fault]") {
  CHECK(generation_settings("/no/such/file.json", {}).told.empty());
  CHECK(settings(R"({"eos_token_id": 7, "pad_token_id": 1, "top_k": null})").told.empty());
  CHECK_THROWS_AS(settings("[]"), CheckpointError);
  CHECK_THROWS_WITH(settings(R"({"repetition_penalty": "much"})"),
                    ContainsSubstring("generation_config.json"));
}
