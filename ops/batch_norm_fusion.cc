// The rewrite of training batch normalisation: the forward node keeps the batch's statistics for
// its gradient, and takes a Relu that follows; the gradient takes the Relu's mask.
#include <algorithm>

#include "ops/post_op.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

bool Is(const Node* node, absl::string_view op, absl::string_view domain = "") {
  return node != nullptr && node->op_type() == op && node->domain() == domain;
}

bool IsZero(const Value* v) {
  return v != nullptr && v->is_constant() && v->initializer().num_elements() == 1 &&
         IsFloat(v->dtype()) && v->initializer().AsDouble(0) == 0;
}

bool IsOutput(const Graph& graph, const Value* v) {
  return std::find(graph.outputs().begin(), graph.outputs().end(), v) != graph.outputs().end();
}

// The gradients of that normalisation which compute the statistics again.
std::vector<Node*> GradientsOf(const Node& norm) {
  std::vector<Node*> gradients;
  for (const Use& use : norm.input(0)->uses()) {
    Node* g = use.node;
    if (use.index == 1 && Is(g, "BatchNormGrad", kGraphrunDomain) && g->num_inputs() == 3 &&
        g->input(2) == norm.input(1) &&
        NumberAttr(*g, "epsilon", 1e-5f) == NumberAttr(norm, "epsilon", 1e-5f)) {
      gradients.push_back(g);
    }
  }
  return gradients;
}

// dy = Where(y > 0, d, 0), read by the gradient only: d; null where dy is something else.
Value* BehindReluMask(const Graph& graph, const Node& gradient, const Value* y) {
  const Node* where = gradient.input(0)->producer();
  if (!Is(where, "Where") || SoleUser(graph, where->output(0)) != &gradient ||
      !IsZero(where->input(2)) || !(where->input(1)->type() == y->type())) {
    return nullptr;
  }
  const Node* greater = where->input(0)->producer();
  const bool mask = Is(greater, "Greater") && greater->input(0) == y && IsZero(greater->input(1));
  return mask ? where->input(1) : nullptr;
}

absl::StatusOr<bool> FuseBatchNorm(Graph& graph, const OpRegistry& registry) {
  const OpDef* def = registry.Find(kGraphrunDomain, "BatchNormTraining", 0);
  std::vector<Node*> norms;
  for (const auto& node : graph.nodes()) {
    if (Is(node.get(), "BatchNormalization") && node->opset() >= 14 &&
        NumberAttr(*node, "training_mode", 0) != 0) {
      norms.push_back(node.get());
    }
  }
  bool changed = false;
  for (Node* norm : norms) {
    const std::vector<Node*> gradients = GradientsOf(*norm);
    // The node behind may read the value twice over only if it is the Relu itself.
    Node* relu = SoleUser(graph, norm->output(0));
    if (!Is(relu, "Relu")) relu = nullptr;
    if (gradients.empty() && relu == nullptr) continue;
    Graph::NodeSpec spec;
    spec.op_type = "BatchNormTraining";
    spec.domain = kGraphrunDomain;
    spec.opset = def->since();
    for (int i = 0; i < 5; ++i) spec.inputs.push_back(norm->input(i));
    spec.outputs.assign(gradients.empty() ? 3 : 5, "");
    for (int o = 1; o < 3; ++o) {
      if (!norm->has_output(o)) spec.omitted_outputs.push_back(o);
    }
    spec.attrs = norm->attrs();
    spec.attrs.erase("training_mode");
    if (relu != nullptr) spec.attrs.insert_or_assign("activation", "Relu");
    spec.name = norm->name();
    Node* fused = graph.AddNode(std::move(spec), norm);
    GR_RETURN_IF_ERROR(InferNode(*fused, registry, nullptr));
    Node* last = relu != nullptr ? relu : norm;
    graph.ReplaceAllUses(last->output(0), fused->output(0));
    for (int o = 1; o < 3; ++o) {
      if (norm->has_output(o)) graph.ReplaceAllUses(norm->output(o), fused->output(o));
    }
    if (relu != nullptr) graph.Erase(relu);
    graph.Erase(norm);
    for (Node* g : gradients) {
      graph.AppendInput(g, fused->output(3));
      graph.AppendInput(g, fused->output(4));
      Value* d = relu == nullptr ? nullptr : BehindReluMask(graph, *g, fused->output(0));
      if (d != nullptr) {
        Node* where = g->input(0)->producer();
        Node* greater = where->input(0)->producer();
        graph.SetInput(g, 0, d);
        graph.Erase(where);
        if (greater->output(0)->uses().empty() && !IsOutput(graph, greater->output(0)))
          graph.Erase(greater);
        graph.AppendInput(g, fused->output(0));
      }
    }
    changed = true;
  }
  return changed;
}

}  // namespace

void RegisterBatchNormFusionOps(OpRegistry& ops) {
  ops.AddRewrite({"fuse-batch-normalization", Rewrite::Phase::kFuse, FuseBatchNorm});
}

}  // namespace graphrun
