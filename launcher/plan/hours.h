// How long a run is, in steps, epochs, images and, as far as that is known, in hours.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "configs/config.h"
#include "model/files/config.h"
#include "trainer/assembly/run_length.h"

namespace muster::launcher {

// Of the packs' first epoch. Nothing but the steps where there is no pack, or no tokenizer, yet.
trainer::LengthReport planned_length(const configs::Config& config, const model::QwenConfig& model);

// What a step of the run took: the mean of its newest ones, the first of the run left out. Nothing
// before there are any.
std::optional<double> measured_step_s(const std::filesystem::path& run_dir);

// Two lines, "length" and "hours": from the run's own steps, else from `simulated_step_s`, else
// that they are not known yet. Warnings of the length follow (T-009).
std::string length_text(const configs::Config& config, const trainer::LengthReport& length,
                        std::optional<double> simulated_step_s);

}  // namespace muster::launcher
