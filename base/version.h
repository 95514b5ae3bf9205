// What this muster is, and what it was built against.
#pragma once

namespace muster {

extern const char* const kVersion;          // "0.2.0"
extern const char* const kLibTorchVersion;  // "2.11.0"
extern const char* const kCudaVersion;      // of the toolkit; "" when built without

}  // namespace muster
