// Where a value's elements lie in the memory of another one, when the operators that only move
// elements (Transpose, Reshape, Split, Gather of one index, Slice, Concat) do not run.
#pragma once

#include <vector>

#include "ops/view_attention.h"
#include "runtime/ir/graph.h"

namespace graphrun {

// A value as elements of another one: element (i, j, ...) at offset + i * strides[0] + ...
struct Trace {
  Value* base = nullptr;
  int64_t offset = 0;
  Dims dims, strides;
};

// The value as it is. REQUIRES: concrete sizes.
Trace Whole(Value* v);

// What memory v's elements have when the operators that only move them do not run.
Trace TraceOf(Value* v, int depth = 0);

// Axes B, H, rows, columns of a trace of 3 or 4 axes whose columns lie side by side; nothing where
// they do not. transposed: its last two axes are columns and rows.
absl::optional<ViewAttentionCase::View> ViewOf(const Trace& t, bool transposed);

// The values that `v` is moved into by operators each of which is the only reader of the one
// before, v itself first, and where v's elements lie in each: as a Trace whose base is that value.
std::vector<Trace> Destinations(const Graph& graph, Value* v);

}  // namespace graphrun
