#include "runtime/train/head.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "runtime/base/rng.h"

namespace graphrun {
namespace {

constexpr int64_t kMostOutputs = int64_t{1} << 24;

// An initializer that this operator takes as a weight matrix; -1 where there is none.
int WeightInput(const Node& node, const OpRegistry& registry) {
  const OpDef* def = registry.Find(node);
  for (int i = 0; def != nullptr && i < node.num_inputs(); ++i) {
    if (node.has_input(i) && node.input(i)->is_initializer() &&
        node.input(i)->initializer().rank() == 2 && IsFloat(node.input(i)->dtype()) &&
        def->parameter_role(node, i).kind == ParameterKind::kWeight)
      return i;
  }
  return -1;
}

Tensor Filled(DType dtype, Dims dims, double limit, uint64_t seed) {
  Tensor t = Tensor::Zeros(dtype, std::move(dims));
  Rng rng(seed);
  DispatchDType(FloatTypes(), dtype, [&]<typename T>() {
    for (int64_t i = 0; i < t.num_elements() && limit > 0; ++i)
      t.mutable_data<T>()[i] = T(rng.Uniform(-limit, limit));
  });
  return t;
}

// Zeros in place of the vectors of `units` elements that this node adds.
void ReplaceBias(Graph& model, const Node& node, int64_t units, int64_t outputs) {
  for (int i = 0; i < node.num_inputs(); ++i) {
    if (!node.has_input(i)) continue;
    Value* v = node.input(i);
    if (!v->is_initializer() || v->initializer().rank() < 1 || !IsFloat(v->dtype())) continue;
    Dims dims = v->initializer().dims();
    if (dims.back() != units || v->initializer().num_elements() != units) continue;
    dims.back() = outputs;
    model.SetInitializer(v, Filled(v->dtype(), dims, 0, 0));
    v->set_type(Type::Tensor(v->dtype(), Shape::Of(dims)));
  }
}

}  // namespace

absl::Status ReplaceHead(Graph& model, const OpRegistry& registry, const std::string& spec,
                         uint64_t seed) {
  absl::string_view rest = spec;
  int64_t outputs = 0;
  if (!absl::ConsumePrefix(&rest, "replace:") || !absl::SimpleAtoi(rest, &outputs) || outputs < 1 ||
      outputs > kMostOutputs) {
    return UsageError("model.head is \"", spec, "\" but must be replace:N, N being 1 or more");
  }
  if (model.outputs().empty()) return ModelError("the model has no output");
  Value* y = model.outputs()[0];
  std::vector<Node*> behind;  // the nodes between the layer and the output
  Node* layer = nullptr;
  int weight = -1;
  for (Value* v = y; v != nullptr && v->producer() != nullptr && layer == nullptr;) {
    Node* node = v->producer();
    weight = WeightInput(*node, registry);
    if (weight >= 0) {
      layer = node;
      break;
    }
    behind.push_back(node);
    v = nullptr;
    for (Value* in : node->inputs()) {
      if (in != nullptr && !in->is_initializer() && v == nullptr) v = in;
    }
  }
  if (layer == nullptr) {
    return ModelError("model.head ", spec, ": no linear layer stands before output \"", y->name(),
                      "\"");
  }
  Value* w = layer->input(weight);
  Dims dims = w->initializer().dims();
  const int axis = registry.Find(*layer)->parameter_role(*layer, weight).unit_axis;
  const auto unit = static_cast<size_t>(axis < 0 ? axis + 2 : axis);
  const int64_t units = dims[unit];
  dims[unit] = outputs;
  const double limit = std::sqrt(6.0 / static_cast<double>(dims[0] + dims[1]));
  model.SetInitializer(w, Filled(w->dtype(), dims, limit, Mix(seed, 22)));
  w->set_type(Type::Tensor(w->dtype(), Shape::Of(dims)));
  ReplaceBias(model, *layer, units, outputs);
  behind.push_back(layer);
  for (const Node* node : behind) {
    if (node != layer) ReplaceBias(model, *node, units, outputs);
    for (Value* out : node->outputs()) {
      if (out == nullptr || !out->shape().has_rank() || out->shape().rank() < 1) continue;
      std::vector<Dim> sizes;
      for (int a = 0; a < out->shape().rank(); ++a) sizes.push_back(out->shape()[a]);
      if (sizes.back().is_number() && sizes.back().value() == units) sizes.back() = Dim(outputs);
      out->set_type(Type::Tensor(out->dtype(), Shape(std::move(sizes))));
    }
  }
  return absl::OkStatus();
}

}  // namespace graphrun
