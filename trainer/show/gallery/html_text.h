// Text of any origin, made safe and visible in a page.
#pragma once

#include <string>
#include <string_view>

namespace muster::trainer {

// For element content and for quoted attributes. What HTML would read as markup is escaped. What
// would act instead of being seen is written out: control characters as their symbols, characters
// that turn the direction of writing or have no width as "<U+202E>", bytes that are not UTF-8 as
// U+FFFD. Line breaks and tabs stay.
std::string html_text(std::string_view text);

// The first `most` code points, with "... (and N more characters)" where there are more.
std::string shortened(std::string_view text, std::size_t most);

}  // namespace muster::trainer
