// Class labels as a whole: reading them, counting them, checking them.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/data/dataset.h"

namespace graphrun {

// The label of every row; other fields are not read. Errors: DataError where the field is not one
// integer a row.
absl::StatusOr<std::vector<int64_t>> ReadLabels(const Dataset& dataset, int field);

// Ok where every label is in [0, classes). Errors: DataError with the row, the label and the range.
absl::Status CheckLabels(const Dataset& dataset, absl::Span<const int64_t> labels, int64_t classes);

// Rows by class, for labels in [0, classes). `classes` 0: one more than the largest label.
// REQUIRES: CheckLabels is ok.
std::vector<int64_t> ClassHistogram(absl::Span<const int64_t> labels, int64_t classes = 0);

// How many classes the field has: its names where they are known, else one more than the largest
// label. Errors: those of ReadLabels; DataError for a negative label or more than 2^24 classes.
absl::StatusOr<int64_t> NumClasses(const Dataset& dataset, int field);

}  // namespace graphrun
