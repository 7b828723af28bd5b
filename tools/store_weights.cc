#include "tools/store_weights.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

namespace graphrun::cli {

absl::Status StoreWeights(Graph* graph, DType dtype) {
  const auto import = graph->opset_imports.find("");
  const int opset = import == graph->opset_imports.end() ? 0 : import->second;
  constexpr int kFirstWithBFloat16 = 13;
  if (dtype == DType::kBFloat16 && opset < kFirstWithBFloat16) {
    return ModelError("operator set ", opset, " has no bfloat16; write --opset ",
                      kFirstWithBFloat16, " or newer");
  }
  Node* first = graph->nodes().empty() ? nullptr : graph->nodes().front().get();
  for (Value* v : graph->initializers()) {
    if (v->dtype() != DType::kFloat32 || v->initializer().rank() < 2 || v->uses().empty() ||
        v->num_graph_outputs() > 0)
      continue;
    const Tensor& weight = v->initializer();
    Tensor stored = Tensor::Zeros(dtype, weight.dims());
    absl::Status status;
    DispatchDType(TypeList<Float16, BFloat16>(), dtype, [&]<typename T>() {
      T* out = stored.mutable_data<T>();
      for (int64_t i = 0; i < weight.num_elements(); ++i) {
        const float x = weight.data<float>()[i];
        out[i] = T(x);
        if (status.ok() && std::isfinite(x) && !std::isfinite(static_cast<float>(out[i])))
          status = NumericError("weight \"", v->name(), "\" holds ", x, ", which ",
                                DTypeName(dtype), " cannot; take bf16 or f32");
      }
    });
    GR_RETURN_IF_ERROR(status);
    const std::string name = v->name();
    graph->Rename(v, graph->UniqueName(absl::StrCat(name, "/f32")));
    if (v->is_graph_input()) graph->HideInput(v);
    Graph::NodeSpec cast;
    cast.op_type = "Cast";
    cast.name = absl::StrCat(name, "/cast");
    cast.inputs = {graph->AddInitializer(name, std::move(stored))};
    cast.outputs = {""};
    cast.opset = opset;
    cast.attrs = {{"to", static_cast<int64_t>(DType::kFloat32)}};
    Value* wide = graph->AddNode(std::move(cast), first)->output(0);
    graph->ReplaceAllUses(v, wide);
    graph->EraseInitializer(v);
  }
  return graph->Sort();
}

}  // namespace graphrun::cli
