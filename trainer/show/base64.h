// Bytes as text, for data: addresses and for the checksums of a page's security policy.
#pragma once

#include <string>
#include <string_view>

namespace muster::trainer {

std::string base64(std::string_view bytes);

}  // namespace muster::trainer
