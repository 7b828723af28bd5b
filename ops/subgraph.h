// What the operators that run graphs held in attributes share.
#pragma once

#include <vector>

#include "runtime/op/infer_context.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// A type that holds every value of both: sizes and ranks that differ become unknown, and so does
// the whole where only one is an optional. An error where the element types or kinds differ.
absl::StatusOr<Type> CommonType(const Type& a, const Type& b);

// Types and known elements of the node's captures.
void AppendCaptures(const InferContext& c, std::vector<Type>* types,
                    std::vector<const Tensor*>* constants);

// The captures' values, which follow the node's own inputs.
void AppendCaptures(const RunContext& r, int own_inputs, std::vector<const Datum*>* inputs);

// Copies a value to output o; nothing where that is left out.
absl::Status SetOutput(RunContext& r, int o, const Datum& value);

// Slice `index` of `axis`, without that axis.
absl::StatusOr<Tensor> SliceAt(const Tensor& t, size_t axis, int64_t index);

// Writes `part` as slice `index` of `axis` of `whole`. REQUIRES: fitting sizes and equal types.
void WriteSlice(const Tensor& part, Tensor& whole, size_t axis, int64_t index);

// Collects the values of an output over iterations and stacks them along an axis.
class Stack {
 public:
  // Errors where element type or sizes differ from those before.
  absl::Status Add(const Datum& value);
  // The values along a new axis, the last one first where `reverse`; without any, a tensor of 0
  // slices of type `empty`.
  absl::StatusOr<Tensor> Join(int64_t axis, bool reverse, const Type& empty) const;

 private:
  std::vector<Tensor> parts_;
};

}  // namespace graphrun
