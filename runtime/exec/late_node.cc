#include "runtime/exec/late_node.h"

#include <utility>
#include <vector>

#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {

std::unique_ptr<Graph> LateGraph(const Node& node) {
  auto graph = std::make_unique<Graph>();
  Graph::NodeSpec spec{node.op_type(), node.domain(), {}, {}, node.attrs(),
                       node.name(),    node.opset(),  {}, {}};
  for (size_t i = 0; i < node.inputs().size(); ++i) {
    const Value* in = node.inputs()[i];
    Value* v = in == nullptr ? nullptr : graph->AddInput(in->name(), in->type());
    (static_cast<int>(i) < node.num_inputs() ? spec.inputs : spec.captures).push_back(v);
  }
  for (int o = 0; o < node.num_outputs(); ++o) {
    spec.outputs.push_back(node.has_output(o) ? node.output(o)->name() : "");
    if (!node.has_output(o)) spec.omitted_outputs.push_back(o);
  }
  graph->AddNode(std::move(spec));
  return graph;
}

absl::Status RunLate(Graph& graph, const OpRegistry& registry, const Datum* const* inputs,
                     Datum* const* outputs, uint64_t seed, uint64_t step) {
  Node& node = *graph.nodes().front();
  std::vector<Datum> arguments;
  KnownValues known;
  for (size_t i = 0; i < node.inputs().size(); ++i) {
    Value* v = node.inputs()[i];
    arguments.push_back(v == nullptr ? Datum() : *inputs[i]);
    if (v == nullptr) continue;
    v->set_type(arguments.back().type());
    if (arguments.back().is_tensor()) known.constants[v] = arguments.back().tensor;
  }
  for (Value* out : node.outputs()) {
    if (out != nullptr) out->set_type(Type());
  }
  GR_RETURN_IF_ERROR(InferNode(node, registry, &known));
  EvaluateOptions options;
  options.prefer_first = true;
  options.seed = seed;
  options.step = step;
  GR_ASSIGN_OR_RETURN(std::vector<Datum> results, EvaluateNode(node, registry, arguments, options));
  for (size_t o = 0; o < results.size(); ++o) {
    if (outputs[o] != nullptr) *outputs[o] = std::move(results[o]);
  }
  return absl::OkStatus();
}

}  // namespace graphrun
