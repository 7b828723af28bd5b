// The rewrite of training batch normalisation that keeps no result for a convolution's gradient by
// its weights where making it again costs little beside that convolution. What it is made of is
// kept anyway: the normalisation's own gradient reads it.
#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Multiply-adds of the convolution for each element that is made again.
constexpr int64_t kWorthwhile = 512;

bool Is(const Node& node, absl::string_view op) {
  return node.op_type() == op && node.domain() == kGraphrunDomain;
}

using Places = absl::flat_hash_map<const Node*, int>;

// The ConvGradWeight that alone reads the values of `y` behind the loss; null: none, or others do.
Node* WeightGradientOf(const Value& y, const Places& places, int loss, const OpRegistry& registry) {
  Node* found = nullptr;
  for (const Use& use : y.uses()) {
    if (places.at(use.node) <= loss) continue;
    const OpDef* def = registry.Find(*use.node);
    if (def != nullptr && def->is_shape_only(use.index)) continue;
    if (found != nullptr || use.index != 1 || !Is(*use.node, "ConvGradWeight")) return nullptr;
    found = use.node;
  }
  return found;
}

bool IsWorthwhile(const Value& y, const Node& convolution, const OpRegistry& registry) {
  if (!y.type().is_tensor() || !y.shape().is_concrete()) return false;
  const int64_t elements = Product(y.shape().ToDims());
  const OpDef* def = registry.Find(convolution);
  return elements > 0 && def->multiply_adds(convolution) / elements >= kWorthwhile;
}

absl::StatusOr<bool> NormaliseAgain(Graph& graph, const OpRegistry& registry) {
  if (graph.states().empty() || graph.outputs().empty()) return false;
  GR_RETURN_IF_ERROR(graph.Sort());
  Places places;
  std::vector<Node*> norms;
  for (const auto& node : graph.nodes()) {
    places.emplace(node.get(), static_cast<int>(places.size()));
    if (Is(*node, "BatchNormTraining") && node->has_output(3) && node->has_output(4))
      norms.push_back(node.get());
  }
  const auto loss = places.find(graph.outputs()[0]->producer());
  if (loss == places.end()) return false;
  bool changed = false;
  for (const Node* norm : norms) {
    const Value* y = norm->output(0);
    if (places.at(norm) > loss->second || y->num_graph_outputs() > 0) continue;
    Node* gradient = WeightGradientOf(*y, places, loss->second, registry);
    const auto& readers = norm->input(0)->uses();
    const bool kept = std::any_of(readers.begin(), readers.end(), [&](const Use& use) {
      return Is(*use.node, "BatchNormGrad") && use.index == 1;
    });
    if (gradient == nullptr || !kept || !IsWorthwhile(*y, *gradient, registry)) continue;
    Graph::NodeSpec spec;
    spec.op_type = "BatchNormAgain";
    spec.domain = kGraphrunDomain;
    spec.opset = registry.Find(kGraphrunDomain, spec.op_type, 0)->since();
    spec.inputs = {norm->input(0), norm->input(1), norm->input(2), norm->output(3),
                   norm->output(4)};
    spec.outputs = {""};
    spec.attrs = norm->attrs();
    spec.attrs.erase("momentum");
    spec.name = norm->name();
    Node* again = graph.AddNode(std::move(spec), gradient);
    GR_RETURN_IF_ERROR(InferNode(*again, registry, nullptr));
    graph.SetInput(gradient, 1, again->output(0));
    changed = true;
  }
  return changed;
}

}  // namespace

void RegisterNormRecomputeOps(OpRegistry& ops) {
  ops.AddRewrite({"normalise-again", Rewrite::Phase::kPointwise, NormaliseAgain});
}

}  // namespace graphrun
