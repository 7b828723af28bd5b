// The rewrite of LSTM and GRU nodes whose gradient is in the graph: the forward node keeps its
// gates and cells (ai.graphrun.LSTMTraining, GRUTraining), and the gradient reads them instead of
// running the forward pass again. For the cells that kernels over packed weights serve.
#include "ops/panel_product.h"
#include "ops/recurrent.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr int kForwardInputs = 8;

bool SameInputs(const Node& a, const Node& b) {
  for (int i = 0; i < kForwardInputs; ++i) {
    const Value* x = a.has_input(i) ? a.input(i) : nullptr;
    const Value* y = b.has_input(i) ? b.input(i) : nullptr;
    if (x != y) return false;
  }
  return true;
}

absl::Status Keep(Graph& graph, const OpRegistry& registry, Node* node, const char* training,
                  const std::vector<Node*>& gradients) {
  Graph::NodeSpec spec;
  spec.op_type = training;
  spec.domain = kGraphrunDomain;
  spec.opset = registry.Find(kGraphrunDomain, training, 0)->since();
  for (int i = 0; i < node->num_inputs(); ++i) spec.inputs.push_back(node->input(i));
  const bool lstm = node->op_type() == "LSTM";
  spec.outputs.assign(lstm ? 5 : 3, "");
  for (int o = 1; o < (lstm ? 3 : 2); ++o) {
    if (o >= node->num_outputs() || !node->has_output(o)) spec.omitted_outputs.push_back(o);
  }
  spec.attrs = node->attrs();
  for (const char* name : {"layout", "output_sequence"}) spec.attrs.erase(name);
  spec.name = node->name();
  Node* kept = graph.AddNode(std::move(spec), node);
  GR_RETURN_IF_ERROR(InferNode(*kept, registry, nullptr));
  for (int o = 0; o < node->num_outputs(); ++o) {
    if (node->has_output(o)) graph.ReplaceAllUses(node->output(o), kept->output(o));
  }
  graph.Erase(node);
  for (Node* g : gradients) {
    // Nobody wants the gradient of a model's input.
    if (g->has_output(0) && graph.IsUnused(g->output(0))) graph.OmitOutput(g, 0);
    while (g->num_inputs() < 11) graph.AppendInput(g, nullptr);
    for (const int o : {0, lstm ? 3 : 2, 4}) {
      if (o < kept->num_outputs()) graph.AppendInput(g, kept->output(o));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> KeepGates(Graph& graph, const OpRegistry& registry) {
  if (!HasPanelProducts()) return false;
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    const bool cell = node->op_type() == "LSTM" || node->op_type() == "GRU";
    if (cell && node->domain().empty()) nodes.push_back(node.get());
  }
  bool changed = false;
  for (Node* node : nodes) {
    const bool lstm = node->op_type() == "LSTM";
    const OpDef* def = registry.Find(*node);
    if (def == nullptr || node->input(0)->dtype() != DType::kFloat32 ||
        !IsUsualCell(*node, *def, lstm ? Cell::kLstm : Cell::kGru)) {
      continue;
    }
    std::vector<Node*> gradients;
    for (const Use& use : node->input(0)->uses()) {
      Node* g = use.node;
      if (use.index == 0 && g->domain() == kGraphrunDomain &&
          g->op_type() == (lstm ? "LSTMGrad" : "GRUGrad") && g->num_inputs() <= 11 &&
          SameInputs(*node, *g)) {
        gradients.push_back(g);
      }
    }
    if (gradients.empty()) continue;
    GR_RETURN_IF_ERROR(
        Keep(graph, registry, node, lstm ? "LSTMTraining" : "GRUTraining", gradients));
    changed = true;
  }
  return changed;
}

}  // namespace

void RegisterRnnFusionOps(OpRegistry& ops) {
  ops.AddRewrite({"keep-gates", Rewrite::Phase::kFuse, KeepGates});
}

}  // namespace graphrun
