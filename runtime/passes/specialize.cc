#include <algorithm>

#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "runtime/op/inline_bodies.h"
#include "runtime/passes/pass.h"

namespace graphrun {
namespace {

bool AllConstant(const Node& node) {
  return std::all_of(node.inputs().begin(), node.inputs().end(),
                     [](const Value* v) { return v == nullptr || v->is_constant(); });
}

bool HasGraph(const Node& node) {
  return std::any_of(node.attrs().begin(), node.attrs().end(), [](const auto& attr) {
    return attr.second.kind() == Attr::Kind::kGraph || attr.second.kind() == Attr::Kind::kGraphs;
  });
}

// Bytes that the node's outputs take; -1 where one is no tensor or of unknown sizes.
int64_t OutputBytes(const Node& node) {
  int64_t bytes = 0;
  for (const Value* out : node.outputs()) {
    if (out == nullptr) continue;
    if (!out->type().is_tensor() || !out->shape().is_concrete()) return -1;
    bytes += Product(out->shape().ToDims()) * DTypeSize(out->dtype());
  }
  return bytes;
}

// Puts constants in the place of the node's outputs and erases it.
void ReplaceByConstants(Graph& graph, Node* node, std::vector<Tensor> tensors, KnownValues* known) {
  for (int o = 0; o < node->num_outputs(); ++o) {
    if (!node->has_output(o)) continue;
    Value* old = node->output(o);
    known->Forget(old);
    const std::string name = old->name();
    graph.Rename(old, absl::StrCat(name, "/folded"));
    graph.ReplaceAllUses(old,
                         graph.AddInitializer(name, std::move(tensors[static_cast<size_t>(o)])));
  }
  graph.Erase(node);
}

// Computes a node whose inputs are all constant; false where a result is no tensor.
absl::StatusOr<bool> Fold(Graph& graph, Node* node, const OpRegistry& registry,
                          KnownValues* known) {
  std::vector<Datum> inputs;
  for (const Value* in : node->inputs())
    inputs.push_back(in == nullptr ? Datum() : Datum(in->initializer()));
  GR_ASSIGN_OR_RETURN(std::vector<Datum> results, EvaluateNode(*node, registry, inputs));
  std::vector<Tensor> tensors;
  bool all_tensors = true;
  for (size_t o = 0; o < results.size(); ++o) {
    all_tensors &= results[o].is_tensor() || !node->has_output(static_cast<int>(o));
    tensors.push_back(results[o].tensor);
  }
  if (all_tensors) ReplaceByConstants(graph, node, std::move(tensors), known);
  return all_tensors;
}

// Whether a node only makes floats of a constant tensor's elements of one byte.
bool WidensBytes(const Node& node) {
  if (node.num_inputs() == 0 || !node.has_input(0) || node.num_outputs() != 1 ||
      !node.has_output(0) || !node.input(0)->is_constant()) {
    return false;
  }
  const Tensor& from = node.input(0)->initializer();
  const Value* to = node.output(0);
  return from.num_elements() > 1 && IsInteger(from.dtype()) && DTypeSize(from.dtype()) == 1 &&
         to->type().is_tensor() && IsFloat(to->dtype()) && to->shape() == Shape::Of(from.dims());
}

// The one integer output of a node whose elements are known sizes, as a tensor; undefined where
// they are not.
Tensor KnownSizes(const Node& node, const KnownValues& known) {
  if (node.num_outputs() != 1 || !node.has_output(0)) return Tensor();
  const Value* out = node.output(0);
  const auto it = known.sizes.find(out);
  if (it == known.sizes.end() || out->dtype() != DType::kInt64 || !out->shape().is_concrete())
    return Tensor();
  std::vector<int64_t> values;
  for (const Dim& d : it->second) {
    if (!d.is_number()) return Tensor();
    values.push_back(d.value());
  }
  const Dims dims = out->shape().ToDims();
  if (Product(dims) != static_cast<int64_t>(values.size())) return Tensor();
  return Tensor::Int64s(values).Reshaped(dims);
}

}  // namespace

absl::Status SpecializeBetween(Graph& graph, const OpRegistry& registry, Node* after, Node* before,
                               const SpecializeOptions& options) {
  KnownValues known;
  BodyInliner inliner;
  Node* previous = after;
  const auto after_previous = [&] {
    return previous == nullptr ? graph.nodes().begin() : std::next(graph.Position(previous));
  };
  for (auto it = graph.nodes().begin(); it != graph.nodes().end() && it->get() != before;
       it = after_previous()) {
    Node* node = it->get();
    // What a model declares of its values may be stale: only what follows from the inputs counts
    // here.
    std::vector<Type> declared;
    for (Value* out : node->outputs()) {
      declared.push_back(out == nullptr ? Type() : out->type());
      if (out != nullptr) out->set_type(Type());
    }
    GR_RETURN_IF_ERROR(InferNode(*node, registry, &known));
    for (int o = 0; o < node->num_outputs(); ++o) {
      if (node->has_output(o) && !node->output(o)->type().is_known()) {
        node->output(o)->set_type(declared[static_cast<size_t>(o)]);
      }
    }
    GR_ASSIGN_OR_RETURN(const OpDef* def, registry.Resolve(*node));
    if (def->kernels().empty() && def->body()) {
      GR_RETURN_IF_ERROR(inliner.Inline(graph, node, registry, &known));
      continue;  // its nodes stand where it stood
    }
    if (options.fold && !def->is_random() && !HasGraph(*node)) {
      if (AllConstant(*node) && OutputBytes(*node) <= options.max_folded_bytes) {
        if (!(options.keep_bytes && WidensBytes(*node))) {
          GR_ASSIGN_OR_RETURN(const bool folded, Fold(graph, node, registry, &known));
          if (folded) continue;
        }
      } else if (Tensor sizes = KnownSizes(*node, known); sizes.is_defined()) {
        ReplaceByConstants(graph, node, {std::move(sizes)}, &known);
        continue;
      }
    }
    previous = node;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> FoldConstants(Graph& graph, const OpRegistry& registry) {
  const SpecializeOptions options;
  KnownValues known;
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) nodes.push_back(node.get());
  bool changed = false;
  for (Node* node : nodes) {
    if (!AllConstant(*node) || HasGraph(*node) || node->num_inputs() == 0) continue;
    GR_ASSIGN_OR_RETURN(const OpDef* def, registry.Resolve(*node));
    const int64_t bytes = OutputBytes(*node);
    if (def->is_random() || bytes < 0 || bytes > options.max_folded_bytes) continue;
    GR_ASSIGN_OR_RETURN(const bool folded, Fold(graph, node, registry, &known));
    changed = changed || folded;
  }
  return changed;
}

absl::StatusOr<bool> Specialize(Graph& graph, const OpRegistry& registry,
                                const SpecializeOptions& options) {
  GR_RETURN_IF_ERROR(InlineFunctions(graph, registry).status());
  GR_RETURN_IF_ERROR(graph.Sort());
  GR_RETURN_IF_ERROR(SpecializeBetween(graph, registry, nullptr, nullptr, options));
  return true;
}

}  // namespace graphrun
