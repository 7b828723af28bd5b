// Indices: what the operators that take element numbers share.
#pragma once

#include "runtime/base/tensor.h"
#include "runtime/op/op_def.h"

namespace graphrun {

// Writes the elements of an int32 or int64 tensor to out[num_elements], negative ones counted from
// `size`. An error names the first one that is not in [-size, size).
absl::Status NormalizeIndices(const Tensor& indices, int64_t size, int64_t* out);

}  // namespace graphrun
