// Docs cannot go stale: every command, option, setting, metric and path that a document, a comment,
// an example or a message names exists.
#include <CLI/CLI.hpp>
#include <catch2/catch_test_macros.hpp>

#include "launcher/commands/command_table.h"
#include "launcher/commands/named_things.h"
#include "support/test_paths.h"

using namespace muster;
using test::Document;

namespace {

struct Table {
  CLI::App app{"muster", "muster"};
  launcher::CommandLine cli{app};
  Table() { launcher::add_commands(cli); }
};

}  // namespace

TEST_CASE("docs: everything they name exists", "[unit]") {
  const Table table;
  const test::NamedThings things(table.app, test::source_dir());
  const std::vector<Document> documents = test::all_documents(test::source_dir(), table.app);
  CHECK(documents.size() > 400);
  for (const Document& document : documents)
    for (const std::string& mistake : things.mistakes(document)) FAIL_CHECK(mistake);
}

TEST_CASE("docs: the control: each kind of mistake is found", "[unit]") {
  const Table table;
  const test::NamedThings things(table.app, test::source_dir());
  const auto found = [&](Document::Kind kind, const std::string& text) {
    return things.mistakes({"docs/any.md", text, kind});
  };
  using Kind = Document::Kind;

  for (const auto& [kind, right, wrong, mistake] :
       std::vector<std::tuple<Kind, std::string, std::string, std::string>>{
           {Kind::kMarkdown, "`muster check CONFIG`", "`muster chekc CONFIG`",
            "`muster chekc CONFIG`: no such command"},
           {Kind::kMarkdown, "`muster check --help-config`", "`muster check --gradient`",
            "`muster check --gradient`: no such option"},
           {Kind::kMarkdown, "`muster plan CONFIG [--ranks N]`", "`muster plan CONFIG [--rank N]`",
            "`muster plan --rank`: no such option"},
           {Kind::kMarkdown, "```\nbuild/muster pack X -o Y\n```\n",
            "```\nbuild/muster pack X -O Y\n```\n", "`muster pack -O`: no such option"},
           {Kind::kMarkdown, "`--fresh`", "`--frehs`", "`--frehs`: no such option of any command"},
           {Kind::kMarkdown, "`batch.max_tokens: /2`", "`batch.max_tokenz: /2`",
            "`batch.max_tokenz`: no such setting"},
           {Kind::kMarkdown, "`--set run.dir=x`", "`--set run.dri=x`",
            "`--set run.dri`: no such setting"},
           {Kind::kMarkdown, "`loss.aux_giou`", "`loss.aux_guio`",
            "`loss.aux_guio`: no such setting"},
           {Kind::kMarkdown, "`seconds.forward`", "`seconds.forwards`",
            "`seconds.forwards`: no such metric"},
           {Kind::kMarkdown, "`tests/base`", "`tests/bose`",
            "`tests/bose`: no such file or folder"},
           {Kind::kMarkdown, "`test:tests/base/text_test.cpp#a case`",
            "`test:tests/base/txt_test.cpp`", "`tests/base/txt_test.cpp`: no such file or folder"},
           {Kind::kMarkdown, "`error.h`", "`errors_of_all.h`",
            "`errors_of_all.h`: no file of that name"},
           {Kind::kMarkdown, "[a](../README.md)", "[a](README.md)", "link README.md: no such file"},
           {Kind::kMarkdown, "# A b\n[a](#a-b)", "# A b\n[a](#a-c)", "link #a-c: no such heading"},
           {Kind::kMarkdown, "`./run bench data`", "`./run bench date`",
            "`./run bench date`: no such benchmark"},
           {Kind::kMarkdown, "`./run test`", "`./run tests`",
            "`./run tests`: no such command of `run`"},
           {Kind::kMarkdown, "`build/test_base`", "`build/test_bass`",
            "`build/test_bass`: no such program"},
           {Kind::kSource, "f(\"see `muster check`\");", "f(\"see `muster chek`\");",
            "`muster chek`: no such command"},
           {Kind::kSource, "g(\"lower batch.max_tokens\");", "g(\"lower batch.max_token\");",
            "`batch.max_token`: no such setting"},
           {Kind::kSource, "// see `muster\n// check`", "// see `muster\n// check --ful`",
            "`muster check --ful`: no such option"},
           {Kind::kSource, "// As docs/laws.md says.", "// As docs/low.md says.",
            "`docs/low.md`: no such file or folder"},
           {Kind::kSource, "// (row L-105)", "// (FAILURES L-105)",
            "FAILURES: no such file in a clone"},
           {Kind::kSource, "// (row L-105)", "// (row L-199)",
            "L-199: no such row in DEBUG_DIARY.md"},
           {Kind::kScript, "#   muster pack X -o Y", "\"$muster\" pakc X -o Y",
            "pakc X -o Y`: no such command"},
           {Kind::kHelp, "instead of launch.hosts", "instead of launch.host",
            "`launch.host`: no such setting"},
           {Kind::kExample, "muster status runs/demo --json", "muster status runs/demo --jsn",
            "`muster status --jsn`: no such option"},
       }) {
    INFO(wrong);
    CHECK(found(kind, right).empty());
    const std::vector<std::string> mistakes = found(kind, wrong);
    REQUIRE_FALSE(mistakes.empty());
    CHECK(mistakes.front().find(mistake) != std::string::npos);
  }
}
