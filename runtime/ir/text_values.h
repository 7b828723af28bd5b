// Types, tensors and attributes' values of the text syntax. Each function reads from where `in`
// stands; errors carry line and column.
#pragma once

#include "absl/status/statusor.h"
#include "runtime/ir/attr.h"
#include "runtime/ir/text_scanner.h"

namespace graphrun {

// Whether a type begins with this word.
bool IsTypeWord(absl::string_view word);

// "float[N, 3]", "seq(int64)", ...
absl::StatusOr<Type> ParseTypeText(TextScanner* in, int depth = 0);
// "{1, 2, 3}" as a tensor of that type.
absl::StatusOr<Tensor> ParseElements(TextScanner* in, const Type& type);
// "float[2] name = {1, 2}"; name and "=" may be left out.
absl::StatusOr<Tensor> ParseTensor(TextScanner* in);

// What kind of attribute begins here.
absl::StatusOr<Attr::Kind> GuessKind(const TextScanner& in, absl::string_view name);
absl::StatusOr<Attr> ParseValue(TextScanner* in, Attr::Kind kind);
// A list without its "[", of elements of `kind` (the kind of one element, or of the list).
absl::StatusOr<Attr> ParseList(TextScanner* in, Attr::Kind kind);

}  // namespace graphrun
