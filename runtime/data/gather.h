// Rows of one tensor collected and converted into another: the inner loop of every batch.
#pragma once

#include "absl/types/span.h"
#include "runtime/base/tensor.h"

namespace graphrun {

// Copies `count` elements, converting the type where it differs (as a C++ cast does; bool gives 0
// and 1). False where one of the types is no number.
bool ConvertElements(DType from_type, const void* from, DType to_type, void* to, int64_t count);

// Row k of `out` becomes row rows[k] of `column`. Both are row-major; a row is everything but the
// first axis. False as above. REQUIRES: every row is one of column's; out has rows.size() rows of
// as many elements.
bool GatherRows(const Tensor& column, absl::Span<const int64_t> rows, Tensor* out);

}  // namespace graphrun
