// InferContext: what a shape inference function reads and writes.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/optional.h"
#include "runtime/op/node_context.h"

namespace graphrun {

// What is known of values beyond their types while a graph is inferred.
struct KnownValues {
  // Tensors whose elements are known: constants, and what was folded from them.
  absl::flat_hash_map<const Value*, Tensor> constants;
  // Integer scalars and 1-D tensors that hold sizes, element by element ("N", 3, ?); a scalar has
  // one entry.
  absl::flat_hash_map<const Value*, std::vector<Dim>> sizes;

  // Must be called before a value is erased: another may get its address.
  void Forget(const Value* value) {
    constants.erase(value);
    sizes.erase(value);
  }
};

class InferContext : public NodeContext {
 public:
  InferContext(Node& node, const OpDef& def, KnownValues* known,
               const class OpRegistry* registry = nullptr)
      : NodeContext(node, def), node_(node), known_(known), registry_(registry) {}

  // Type of input i; unknown for one that is left out.
  const Type& input_type(int i) const;
  DType input_dtype(int i) const { return input_type(i).tensor.dtype; }
  const Shape& input_shape(int i) const { return input_type(i).tensor.shape; }
  // The elements of input i where they are known, else null.
  const Tensor* constant(int i) const;
  // An integer input's elements as int64 where all are known.
  absl::optional<std::vector<int64_t>> ints(int i) const;
  // Integer elements as sizes, symbols included (negative: unknown), where their number is known.
  absl::optional<std::vector<Dim>> sizes(int i) const;

  void set_output(int i, DType dtype, Shape shape) {
    set_output_type(i, Type::Tensor(dtype, std::move(shape)));
  }
  void set_output_type(int i, Type type);  // an output left out is ignored
  // Says what an integer output's elements are.
  void set_sizes(int i, std::vector<Dim> sizes);
  // Says what an output's elements are (constants in the graph).
  void set_constant(int i, Tensor tensor);

  // The types of the outputs of `graph`, held in an attribute, given those of its inputs (the
  // node's captures last). Its input i is known where constants[i] is not null.
  absl::StatusOr<std::vector<Type>> InferSubgraph(
      const Graph& graph, const std::vector<Type>& inputs,
      const std::vector<const Tensor*>& constants) const;

  // The broadcast shape of all inputs in [first, last]; left-out ones do not count.
  absl::StatusOr<Shape> BroadcastInputs(int first, int last) const;
  // Attribute `axis` normalised for `rank`, with the node in the error.
  absl::StatusOr<int> Axis(int64_t axis, int rank) const;

 private:
  Node& node_;
  KnownValues* known_;
  const class OpRegistry* registry_;
};

// ---- inference functions that many operators share

// Output 0 has the type of input 0.
absl::Status SameAsInput(InferContext& c);
// Output 0 has the broadcast shape of all inputs and the element type of input 0.
absl::Status BroadcastAll(InferContext& c);
// As BroadcastAll with element type bool.
absl::Status BroadcastToBool(InferContext& c);

}  // namespace graphrun
