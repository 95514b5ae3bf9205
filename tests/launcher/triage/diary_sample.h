// A log sample as text: sections `== rank 1 ==`, `== launcher ==`, `== slurm ==`, `== kernel ==`,
// `== config ==`,
// `== status rank 1 ==` (JSON),
// `== box rank 1 ==` (key=value words).
#pragma once

#include <filesystem>
#include <string>

#include "launcher/triage/diary.h"
#include "launcher/triage/evidence.h"

namespace muster::test {

launcher::Evidence parse_sample(const std::string& text);
launcher::Evidence read_sample(const std::filesystem::path& file);

const launcher::Diary& diary();  // DEBUG_DIARY.md, parsed once

}  // namespace muster::test
