// Weights in a smaller element type.
#pragma once

#include "absl/status/status.h"
#include "runtime/ir/graph.h"

namespace graphrun::cli {

// Float32 initializers of two or more axes are stored as `dtype` (float16 or bfloat16) under their
// names, with a Cast to float32 in front of their readers: the file halves, the arithmetic stays
// that of float32. What has one axis or none (biases, normalisation, constants) stays. REQUIRES:
// the graph is for inference. Errors: kNumeric where a weight is beyond float16; kModel where the
// model's operator set has no bfloat16 (before 13).
absl::Status StoreWeights(Graph* graph, DType dtype);

}  // namespace graphrun::cli
