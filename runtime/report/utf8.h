// UTF-8, one character at a time.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace graphrun {

// Bytes of the well-formed character at the start of `text` (1 to 4), or 0 where there is none:
// stray or missing continuation bytes, overlong forms, surrogates, beyond U+10FFFF.
int Utf8Length(absl::string_view text);

// Appends a code point. REQUIRES: at most U+10FFFF and no surrogate.
void AppendUtf8(uint32_t code_point, std::string* text);

// `text` with every byte that is not part of a well-formed character replaced by U+FFFD.
std::string ValidUtf8(absl::string_view text);

// Columns of a terminal that `text` takes, one a character; bytes that are not UTF-8 count as one.
int TextColumns(absl::string_view text);

}  // namespace graphrun
