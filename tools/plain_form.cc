#include "tools/plain_form.h"

#include <vector>

#include "runtime/base/status.h"
#include "runtime/onnx/standard.h"
#include "runtime/op/infer.h"
#include "tools/model_inputs.h"
#include "tools/output.h"

namespace graphrun::cli {
namespace {

// `types`: of the inputs; empty: as they are.
absl::StatusOr<std::unique_ptr<Graph>> Sized(const Graph& graph, const OpRegistry& registry,
                                             const std::vector<Type>& types) {
  std::unique_ptr<Graph> sized = graph.Clone();
  for (size_t i = 0; i < types.size(); ++i) sized->inputs()[i]->set_type(types[i]);
  GR_RETURN_IF_ERROR(InferTypes(*sized, registry));
  return ToStandard(*sized, registry);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Graph>> ToPlainForm(const Graph& graph, const OpRegistry& registry,
                                                   const Flags& flags, int64_t batch) {
  std::vector<Type> types;
  if (flags.Has("shape") || flags.Has("batch")) {
    GR_ASSIGN_OR_RETURN(types, ConcreteInputs(graph, flags));
    return Sized(graph, registry, types);
  }
  auto plain = Sized(graph, registry, types);
  if (plain.ok()) return plain;
  if (batch == 0)
    return Annotate(plain.status(), "for a batch of any size (--batch N gives it one)");
  for (const Value* v : graph.inputs()) {
    types.push_back(v->type());
    Shape& shape = types.back().tensor.shape;
    if (v->type().is_tensor() && shape.has_rank() && shape.rank() > 0 && !shape[0].is_number())
      shape[0] = Dim(batch);
  }
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Graph> sized, Sized(graph, registry, types));
  Warn("written for batches of ", batch, ", those of the run; --batch N is for others");
  return sized;
}

}  // namespace graphrun::cli
