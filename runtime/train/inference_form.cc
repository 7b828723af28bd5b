#include "runtime/train/inference_form.h"

#include "runtime/op/expr.h"
#include "runtime/passes/pass.h"

namespace graphrun {

absl::Status ToInferenceForm(Graph& graph, const OpRegistry& registry) {
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) nodes.push_back(node.get());
  for (Node* node : nodes) {
    const OpDef* def = registry.Find(*node);
    if (def == nullptr || !def->inference()) continue;
    Builder builder(&graph, &registry, node, absl::StrCat(node->name(), "/"));
    BodyContext context(*node, *def, &builder);
    def->inference()(context);
    GR_RETURN_IF_ERROR(builder.status());
    if (context.outputs().empty()) continue;
    bool replaceable = true;
    for (int o = 0; o < node->num_outputs(); ++o) {
      const auto index = static_cast<size_t>(o);
      const bool given = index < context.outputs().size() && context.outputs()[index].is_defined();
      replaceable &= !node->has_output(o) || given || graph.IsUnused(node->output(o));
    }
    if (!replaceable) continue;
    for (int o = 0; o < node->num_outputs(); ++o) {
      const auto index = static_cast<size_t>(o);
      if (!node->has_output(o) || index >= context.outputs().size() ||
          !context.outputs()[index].is_defined())
        continue;
      Value *old = node->output(o), *now = context.outputs()[index].value();
      const std::string name = old->name();
      graph.ReplaceAllUses(old, now);
      if (now->producer() != nullptr && now->num_graph_outputs() > 0) {
        graph.Rename(old, absl::StrCat(name, "/old"));
        graph.Rename(now, name);
      }
    }
    graph.Erase(node);
  }
  return RemoveDeadCode(graph, registry).status();
}

void BakeNormalization(Graph& graph, const OpRegistry& registry, int input, const Tensor& shift,
                       const Tensor& scale) {
  Value* x = graph.inputs()[static_cast<size_t>(input)];
  const std::vector<Use> uses = x->uses();
  Node* first = graph.nodes().empty() ? nullptr : graph.nodes().front().get();
  Builder b(&graph, &registry, first, "normalize/");
  // Nodes, not initializers: whoever trains the model shall not take them for parameters.
  const auto constant = [&](const Tensor& t) {
    Tensor typed(x->dtype(), t.dims());
    DispatchDType(FloatTypes(), x->dtype(), [&]<typename T>() {
      for (int64_t i = 0; i < t.num_elements(); ++i)
        typed.mutable_data<T>()[i] = static_cast<T>(t.AsDouble(i));
    });
    return b.Op("Constant", {}, {{"value", Attr(typed)}});
  };
  Expr normal = (b.Use(x) - constant(shift)) * constant(scale);
  for (const Use& use : uses) graph.SetInput(use.node, use.index, normal.value());
}

}  // namespace graphrun
