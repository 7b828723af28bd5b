// The f32 kernel of Attention: blocks of queries, each with its scores in a cache-sized buffer.
#pragma once

#include <limits>

#include "runtime/op/infer_context.h"
#include "runtime/op/kernel.h"
#include "runtime/op/op_def.h"

namespace graphrun {

// A kernel factory; null where the node asks for scores or is not in f32.
absl::StatusOr<std::unique_ptr<Kernel>> AttentionKernel(PrepareContext& c);

}  // namespace graphrun
