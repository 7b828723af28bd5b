#include "runtime/autodiff/gradients.h"

#include "runtime/op/infer.h"
#include "runtime/op/inline_bodies.h"

namespace graphrun {
namespace {

// Nodes that lie between a target and the loss.
absl::flat_hash_set<const Node*> NodesOnTheWay(const Graph& graph, const OpRegistry& registry,
                                               const Value* loss,
                                               const std::vector<Value*>& targets,
                                               absl::flat_hash_set<const Value*>* active) {
  active->insert(targets.begin(), targets.end());
  std::vector<const Node*> forward;
  for (const auto& node : graph.nodes()) {
    bool reached = false;
    const OpDef* def = registry.Find(*node);
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      const Value* in = node->inputs()[i];
      reached |= in != nullptr && active->contains(in) &&
                 (def == nullptr || def->gradient_flows_to(static_cast<int>(i)));
    }
    if (!reached) continue;
    forward.push_back(node.get());
    for (const Value* out : node->outputs()) {
      if (out != nullptr &&
          (!out->type().is_tensor() || IsFloat(out->dtype()) || IsComplex(out->dtype()))) {
        active->insert(out);
      }
    }
  }
  absl::flat_hash_set<const Value*> wanted = {loss};
  absl::flat_hash_set<const Node*> on_the_way;
  for (size_t i = forward.size(); i-- > 0;) {
    bool used = false;
    for (const Value* out : forward[i]->outputs())
      used |= out != nullptr && wanted.contains(out) && active->contains(out);
    if (!used) continue;
    on_the_way.insert(forward[i]);
    for (const Value* in : forward[i]->inputs()) {
      if (in != nullptr && active->contains(in)) wanted.insert(in);
    }
  }
  return on_the_way;
}

absl::Status NoGradient(const Node& node, const OpDef& def) {
  return ModelError(
      node.Describe(), ": ", def.Describe(), " has no gradient (",
      def.not_differentiable().empty() ? "none is declared" : def.not_differentiable(),
      "), but a trained parameter reaches the loss through it. Freeze what lies before it, or "
      "replace it");
}

}  // namespace

absl::StatusOr<std::vector<Value*>> AppendGradients(Graph& graph, const OpRegistry& registry,
                                                    Value* loss, const std::vector<Value*>& targets,
                                                    const GradientOptions& options) {
  absl::flat_hash_set<const Value*> active;
  absl::flat_hash_set<const Node*> on_the_way =
      NodesOnTheWay(graph, registry, loss, targets, &active);
  // Bodies of operators without a rule take their place; what is in them may need the same.
  BodyInliner inliner;
  for (bool again = true; again;) {
    again = false;
    std::vector<Node*> to_inline;
    for (const auto& node : graph.nodes()) {
      if (!on_the_way.contains(node.get())) continue;
      GR_ASSIGN_OR_RETURN(const OpDef* def, registry.Resolve(*node));
      if (!def->gradient() && def->not_differentiable().empty() && def->body())
        to_inline.push_back(node.get());
    }
    for (Node* node : to_inline) {
      const std::string loss_name = loss->name();
      GR_RETURN_IF_ERROR(inliner.Inline(graph, node, registry));
      loss = graph.FindValue(loss_name);
      if (loss == nullptr)
        return InternalError("the loss \"", loss_name, "\" was lost while a body was inlined");
      again = true;
    }
    if (again) {
      active.clear();
      on_the_way = NodesOnTheWay(graph, registry, loss, targets, &active);
    }
  }

  Builder builder(&graph, &registry, nullptr, "grad/");
  absl::flat_hash_map<const Value*, std::vector<Expr>> contributions;
  const auto total = [&](const Value* v) -> Value* {
    const auto it = contributions.find(v);
    if (it == contributions.end()) return nullptr;
    std::vector<Expr>& parts = it->second;
    while (parts.size() > 1) {
      parts[0] = parts[0] + parts.back();
      parts.pop_back();
    }
    return parts[0].value();
  };
  contributions[loss].push_back(options.seed != nullptr ? builder.Use(options.seed)
                                                        : FullLike(builder.Use(loss), 1));

  std::vector<Node*> order;
  for (const auto& node : graph.nodes()) {
    if (on_the_way.contains(node.get())) order.push_back(node.get());
  }
  for (size_t k = order.size(); k-- > 0;) {
    Node* node = order[k];
    GR_ASSIGN_OR_RETURN(const OpDef* def, registry.Resolve(*node));
    std::vector<Value*> dys;
    bool any = false;
    for (const Value* out : node->outputs()) {
      dys.push_back(out == nullptr ? nullptr : total(out));
      any |= dys.back() != nullptr;
    }
    if (!any) continue;
    if (!def->gradient()) return NoGradient(*node, *def);
    std::vector<bool> needs;
    for (int i = 0; i < node->num_inputs(); ++i) {
      needs.push_back(node->has_input(i) && active.contains(node->input(i)) &&
                      def->gradient_flows_to(i));
    }
    GradContext context(*node, *def, &builder, std::move(dys), needs);
    def->gradient()(context);
    if (!builder.status().ok()) {
      return Annotate(builder.status(), absl::StrCat("in the gradient of ", node->Describe()));
    }
    for (int i = 0; i < node->num_inputs(); ++i) {
      if (!needs[static_cast<size_t>(i)] || !context.dx_of(i).is_defined()) continue;
      contributions[node->input(i)].push_back(SumTo(context.dx_of(i), builder.Use(node->input(i))));
    }
  }
  std::vector<Value*> gradients;
  for (const Value* target : targets) gradients.push_back(total(target));
  GR_RETURN_IF_ERROR(builder.status());
  return gradients;
}

GradientCoverage CheckGradientCoverage(const Graph& graph, const OpRegistry& registry,
                                       const Value* loss, const std::vector<Value*>& targets) {
  absl::flat_hash_set<const Value*> active;
  const auto on_the_way = NodesOnTheWay(graph, registry, loss, targets, &active);
  GradientCoverage coverage;
  for (const auto& node : graph.nodes()) {
    if (!on_the_way.contains(node.get())) continue;
    const OpDef* def = registry.Find(*node);
    GradientCoverage::Row row{node.get(), false, ""};
    if (def == nullptr) {
      row.how = "the operator is not known";
    } else if (def->gradient()) {
      row.differentiable = true;
      row.how = "rule";
    } else if (!def->not_differentiable().empty()) {
      row.how = def->not_differentiable();
    } else if (def->body()) {
      row.differentiable = true;
      row.how = "body";
    } else {
      row.how = "no gradient is declared";
    }
    coverage.rows.push_back(std::move(row));
  }
  return coverage;
}

}  // namespace graphrun
