// Formulas: expressions as text, for plugins written in C.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/op/expr.h"

namespace graphrun {

// Emits "dy * y * (1 - y)" over named values. From the loosest to the tightest: or, and,
// comparisons
// (< <= > >= ==), + -, * /, unary - and not, ^ (power, to the right). Functions are those of the
// expression syntax: exp(x), where(c, a, b), sum(x) (over all), ... Numbers take the element type
// of what they meet. Errors (with the column) go to the builder, and the result is undefined.
Expr EmitFormula(Builder* builder, absl::string_view text, const std::vector<std::string>& names,
                 const std::vector<Expr>& values);

}  // namespace graphrun
