// Columns of a table, named in text.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun {

// The columns that `spec` names, in its order: names or indexes (from 0; negative from the end),
// separated by commas, and ranges "a..b" of either, both ends included. A name counts before an
// index. `names` is empty for a table without names.
// Errors: UsageError for a column that is not there (with the one probably meant) or that is named
// twice.
absl::StatusOr<std::vector<int>> ResolveColumns(absl::string_view spec, int count,
                                                const std::vector<std::string>& names);

// Every column that is not in `taken`.
std::vector<int> OtherColumns(int count, const std::vector<int>& taken);

}  // namespace graphrun
