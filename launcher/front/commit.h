// Which commit of the source a program was built from; found at every build.
#pragma once

namespace muster::launcher {

extern const char* const kCommit;  // "2930fcd", "2930fcd+" with changes on top, "" outside git

}  // namespace muster::launcher
