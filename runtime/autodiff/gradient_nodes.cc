#include "runtime/autodiff/gradient_nodes.h"

#include "runtime/autodiff/gradients.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.preview.training";

bool AsksForGradients(const Node& node) {
  return node.domain() == kDomain && node.attr("xs") != nullptr && node.attr("y") != nullptr;
}

std::vector<std::string> Names(const Node& node, absl::string_view attr) {
  const Attr* a = node.attr(attr);
  const auto* names = a == nullptr ? nullptr : a->get<std::vector<std::string>>();
  return names == nullptr ? std::vector<std::string>() : *names;
}

// Copies of the nodes between the substituted values and y.
class Substitution {
 public:
  Substitution(Graph& graph, Node* asker) : graph_(graph), asker_(asker) {}

  void Replace(Value* named, Value* by) { by_[named] = by; }

  // What `value` becomes: itself where it does not depend on a replaced value.
  Value* Of(Value* value) {
    const auto it = by_.find(value);
    return it == by_.end() ? value : it->second;
  }

  // Copies every node that depends on a replaced value and that `y` needs.
  void CopyTo(Value* y) {
    absl::flat_hash_set<const Value*> reached;
    for (const auto& [named, by] : by_) reached.insert(named);
    std::vector<Node*> forward;
    for (const auto& node : graph_.nodes()) {
      if (node.get() == asker_) continue;
      bool depends = false;
      for (const Value* in : node->inputs()) depends |= in != nullptr && reached.contains(in);
      if (!depends) continue;
      forward.push_back(node.get());
      for (const Value* out : node->outputs()) {
        if (out != nullptr) reached.insert(out);
      }
    }
    absl::flat_hash_set<const Value*> wanted = {y};
    std::vector<Node*> path;
    for (size_t i = forward.size(); i-- > 0;) {
      bool used = false;
      for (const Value* out : forward[i]->outputs())
        used |= out != nullptr && wanted.contains(out) && by_.count(out) == 0;
      if (!used) continue;
      path.push_back(forward[i]);
      wanted.insert(forward[i]->inputs().begin(), forward[i]->inputs().end());
    }
    for (size_t i = path.size(); i-- > 0;) Copy(*path[i]);
  }

 private:
  void Copy(const Node& node) {
    Graph::NodeSpec spec;
    spec.op_type = node.op_type();
    spec.domain = node.domain();
    spec.opset = node.opset();
    spec.attrs = node.attrs();
    spec.name = node.name();
    for (size_t i = 0; i < node.inputs().size(); ++i) {
      Value* in = node.inputs()[i];
      (static_cast<int>(i) < node.num_inputs() ? spec.inputs : spec.captures)
          .push_back(in == nullptr ? nullptr : Of(in));
    }
    for (int o = 0; o < node.num_outputs(); ++o) {
      spec.outputs.push_back(node.has_output(o) ? node.output(o)->name() : "");
      if (!node.has_output(o)) spec.omitted_outputs.push_back(o);
    }
    Node* copy = graph_.AddNode(std::move(spec), asker_);
    for (int o = 0; o < node.num_outputs(); ++o) {
      // A replaced value stays replaced although a copied node also makes it.
      if (node.has_output(o)) by_.emplace(node.output(o), copy->output(o));
    }
  }

  Graph& graph_;
  Node* asker_;
  absl::flat_hash_map<const Value*, Value*> by_;
};

absl::Status Expand(Graph& graph, const OpRegistry& registry, Node* asker) {
  const std::vector<std::string> xs = Names(*asker, "xs"), zs = Names(*asker, "zs");
  const auto* y_name = asker->attr("y")->get<std::string>();
  if (y_name == nullptr) return ModelError(asker->Describe(), ": attribute y must be a string");
  if (static_cast<size_t>(asker->num_inputs()) != xs.size() + zs.size()) {
    return ModelError(asker->Describe(), ": has ", asker->num_inputs(),
                      " inputs but xs and zs name ", xs.size() + zs.size(),
                      " values: give one input for each name");
  }
  if (static_cast<size_t>(asker->num_outputs()) > xs.size()) {
    return ModelError(asker->Describe(), ": has ", asker->num_outputs(), " outputs but xs names ",
                      xs.size(), " values");
  }
  Value* y = graph.FindValue(*y_name);
  if (y == nullptr)
    return ModelError(asker->Describe(), ": y names \"", *y_name, "\", which no value has");
  Builder builder(&graph, &registry, asker, "at/");
  Substitution substitution(graph, asker);
  std::vector<Value*> targets;
  for (size_t i = 0; i < xs.size() + zs.size(); ++i) {
    const std::string& name = i < xs.size() ? xs[i] : zs[i - xs.size()];
    Value* named = graph.FindValue(name);
    if (named == nullptr)
      return ModelError(asker->Describe(), ": names \"", name, "\", which no value has");
    if (!asker->has_input(static_cast<int>(i)))
      return ModelError(asker->Describe(), ": input ", i, ", the value for \"", name,
                        "\", is missing");
    // A value of its own: the same tensor may take the places of several names.
    Value* leaf = Identity(builder.Use(asker->input(static_cast<int>(i)))).value();
    substitution.Replace(named, leaf);
    if (i < xs.size()) targets.push_back(leaf);
  }
  GR_RETURN_IF_ERROR(builder.status());
  substitution.CopyTo(y);
  Value* loss = substitution.Of(y);
  const std::string asker_name = asker->Describe();
  std::vector<std::string> names;
  for (const Value* out : asker->outputs()) names.push_back(out == nullptr ? "" : out->name());
  GR_RETURN_IF_ERROR(graph.Sort());
  GR_RETURN_IF_ERROR(InferTypes(graph, registry));
  auto gradients = AppendGradients(graph, registry, loss, targets);
  if (!gradients.ok()) return Annotate(gradients.status(), asker_name);
  for (int o = 0; o < asker->num_outputs(); ++o) {
    if (!asker->has_output(o)) continue;
    const auto i = static_cast<size_t>(o);
    Builder end(&graph, &registry);
    Expr made = (*gradients)[i] != nullptr ? Identity(end.Use((*gradients)[i]))
                                           : ZerosLike(end.Use(targets[i]));
    GR_RETURN_IF_ERROR(end.status());
    graph.ReplaceAllUses(asker->output(o), made.value());
    graph.Rename(asker->output(o), absl::StrCat(names[i], "/replaced"));
    graph.Rename(made.value(), names[i]);
  }
  graph.Erase(asker);
  GR_RETURN_IF_ERROR(graph.Sort());
  return InferTypes(graph, registry);
}

// True where y is made from the result of another node that asks for derivatives.
bool WaitsForAnother(const Graph& graph, const Node& asker) {
  const auto* name = asker.attr("y")->get<std::string>();
  const Value* y = name == nullptr ? nullptr : graph.FindValue(*name);
  absl::flat_hash_set<const Node*> seen;
  std::vector<const Node*> open;
  if (y != nullptr && y->producer() != nullptr) open.push_back(y->producer());
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) continue;
    if (node != &asker && AsksForGradients(*node)) return true;
    for (const Value* in : node->inputs()) {
      if (in != nullptr && in->producer() != nullptr) open.push_back(in->producer());
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<bool> ExpandGradientNodes(Graph& graph, const OpRegistry& registry) {
  bool changed = false;
  for (;;) {
    Node *ready = nullptr, *waiting = nullptr;
    for (const auto& node : graph.nodes()) {
      if (!AsksForGradients(*node)) continue;
      (WaitsForAnother(graph, *node) ? waiting : ready) = node.get();
      if (ready != nullptr) break;
    }
    if (ready == nullptr && waiting == nullptr) return changed;
    if (ready == nullptr) {
      return ModelError(waiting->Describe(),
                        ": its y depends, through other derivatives, on itself");
    }
    GR_RETURN_IF_ERROR(Expand(graph, registry, ready));
    changed = true;
  }
}

}  // namespace graphrun
