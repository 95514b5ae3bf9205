// A pack, looked at: its first samples, every class, and the odd ones first.
#pragma once

#include <filesystem>

#include "launcher/look/view.h"

namespace muster::launcher {

// JSON holds all samples unless options.first or options.samples says which. Throws DataError.
View look_at_pack(const std::filesystem::path& pack, const LookOptions& options);

}  // namespace muster::launcher
