// Oracles of the processor: tokenizer, smart_resize, pixel values and chat cases
// (golden/processor).
#pragma once

#include <filesystem>

#include "golden_check/report.h"

namespace muster::golden {

// Runs every case of the files found in `dir`: tokenizer_cases.jsonl, smart_resize.json,
// image_cases.json, chat_cases.json. True when there was at least one case and all passed. A case
// that throws is a failure, said on stderr. Text cases need a tokenizer: tokenizer.json in `dir`,
// else $MUSTER_TOKENIZER, else $MUSTER_SHARED/data/qwen_tokenizer, else ../../data/qwen_tokenizer
// beside `dir`.
bool check_processor(const std::filesystem::path& dir, Report& report);

// Whether `dir` holds any of those files.
bool is_processor_dir(const std::filesystem::path& dir);

}  // namespace muster::golden
