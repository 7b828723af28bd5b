#include <algorithm>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/ir/named.h"

namespace graphrun {
namespace {

using Names = std::vector<absl::string_view>;

std::string Describe(const NamedNode& node, size_t index) {
  std::string where =
      node.line > 0 ? absl::StrCat("line ", node.line) : absl::StrCat("node[", index, "]");
  if (!node.name.empty()) absl::StrAppend(&where, " \"", node.name, "\"");
  return absl::StrCat(where, " (", node.domain.empty() ? "" : node.domain + ".", node.op_type, ")");
}

// What a nested graph reads from outside, in order of first use; remembered, so that deep nesting
// costs no more than its size.
class FreeNames {
 public:
  const Names& Of(const NamedGraph& graph) {
    const auto it = known_.find(&graph);
    if (it != known_.end()) return it->second;
    absl::flat_hash_set<absl::string_view> seen;
    for (const NamedValue& v : graph.inputs) seen.insert(v.name);
    for (const auto& [name, tensor] : graph.initializers) seen.insert(name);
    for (const NamedNode& node : graph.nodes) {
      for (const std::string& name : node.outputs) seen.insert(name);
    }
    Names free;
    const auto read = [&](absl::string_view name) {
      if (!name.empty() && seen.insert(name).second) free.push_back(name);
    };
    for (const NamedNode& node : graph.nodes) {
      for (const std::string& name : node.inputs) read(name);
      for (const absl::string_view name : Of(node)) read(name);
    }
    for (const NamedValue& v : graph.outputs) read(v.name);
    return known_[&graph] = std::move(free);
  }

  // The union over the node's nested graphs.
  Names Of(const NamedNode& node) {
    Names all;
    absl::flat_hash_set<absl::string_view> seen;
    for (const NamedNode::GraphAttr& attr : node.graphs) {
      for (const NamedGraph& graph : attr.graphs) {
        for (const absl::string_view name : Names(Of(graph))) {
          if (seen.insert(name).second) all.push_back(name);
        }
      }
    }
    return all;
  }

 private:
  absl::flat_hash_map<const NamedGraph*, Names> known_;
};

// Everything that a node reads, captures included.
Names Reads(const NamedNode& node, FreeNames& free) {
  Names names;
  for (const std::string& name : node.inputs) {
    if (!name.empty()) names.push_back(name);
  }
  if (!node.graphs.empty()) {
    for (const absl::string_view name : free.Of(node)) names.push_back(name);
  }
  return names;
}

class Resolver {
 public:
  Resolver(int64_t ir_version, bool in_function)
      : ir_version_(ir_version), in_function_(in_function) {}

  absl::StatusOr<std::unique_ptr<Graph>> Resolve(const NamedGraph& named,
                                                 const std::map<std::string, int>& imports,
                                                 absl::Span<Value* const> captures,
                                                 absl::Span<const absl::string_view> capture_names,
                                                 int depth);

 private:
  struct Scope {
    Graph* graph;
    absl::flat_hash_map<absl::string_view, Value*> own;       // null: an output not made yet
    absl::flat_hash_map<absl::string_view, Value*> captured;  // from the graphs around
    absl::flat_hash_map<absl::string_view, size_t> made_by;   // output -> index of its node
  };

  absl::Status AddSources(const NamedGraph& named, Scope& scope);
  absl::StatusOr<std::vector<size_t>> Order(const NamedGraph& named, const Scope& scope);
  absl::Status AddNode(const NamedNode& named, size_t index,
                       const std::map<std::string, int>& imports, Scope& scope, int depth);
  absl::StatusOr<Value*> Find(const Scope& scope, absl::string_view name,
                              absl::string_view what) const;
  static void SetTypes(const std::vector<NamedValue>& infos, Scope& scope);

  const int64_t ir_version_;
  const bool in_function_;
  int64_t nodes_ = 0;
  FreeNames free_;
};

absl::Status Resolver::AddSources(const NamedGraph& named, Scope& scope) {
  absl::flat_hash_map<absl::string_view, const Tensor*> tensors;
  for (size_t i = 0; i < named.initializers.size(); ++i) {
    const auto& [name, tensor] = named.initializers[i];
    if (name.empty())
      return ModelError("initializer[", i, "] has no name: name it as its readers do");
    if (!tensors.emplace(name, &tensor).second) {
      return ModelError("initializer[", i, "]: \"", name,
                        "\" is an initializer already; names must be unique");
    }
  }
  absl::flat_hash_set<absl::string_view> inputs;
  for (size_t i = 0; i < named.inputs.size(); ++i) {
    const NamedValue& input = named.inputs[i];
    if (input.name.empty()) return ModelError("input[", i, "] has no name");
    if (!inputs.insert(input.name).second) {
      return ModelError("input[", i, "]: \"", input.name,
                        "\" is an input already; names must be unique");
    }
    const auto it = tensors.find(input.name);
    if (it != tensors.end() && input.type.is_tensor() &&
        input.type.tensor.dtype != DType::kUndefined &&
        input.type.tensor.dtype != it->second->dtype()) {
      return ModelError("input[", i, "]: \"", input.name, "\" is declared ", input.type.ToString(),
                        " but its initializer is ", it->second->type().ToString());
    }
    if (it != tensors.end() && ir_version_ < 4) continue;
    Value* v = scope.graph->AddInput(input.name, input.type);
    if (it != tensors.end()) scope.graph->SetInitializer(v, *it->second);
    scope.own[input.name] = v;
  }
  for (const auto& [name, tensor] : named.initializers) {
    if (!scope.own.contains(name)) scope.own[name] = scope.graph->AddInitializer(name, tensor);
  }
  return absl::OkStatus();
}

// Indices of nodes so that each stands behind what it reads; the given order where that holds.
absl::StatusOr<std::vector<size_t>> Resolver::Order(const NamedGraph& named, const Scope& scope) {
  const size_t n = named.nodes.size();
  std::vector<std::vector<size_t>> after(n);
  bool in_order = true;
  for (size_t i = 0; i < n; ++i) {
    for (const absl::string_view name : Reads(named.nodes[i], free_)) {
      const auto it = scope.made_by.find(name);
      if (it == scope.made_by.end()) continue;
      after[i].push_back(it->second);
      in_order &= it->second < i;
    }
  }
  std::vector<size_t> order;
  order.reserve(n);
  if (in_order) {
    for (size_t i = 0; i < n; ++i) order.push_back(i);
    return order;
  }
  enum : char { kNew, kOpen, kDone };
  std::vector<char> state(n, kNew);
  for (size_t root = 0; root < n; ++root) {
    if (state[root] != kNew) continue;
    std::vector<std::pair<size_t, size_t>> stack = {{root, 0}};
    state[root] = kOpen;
    while (!stack.empty()) {
      const size_t node = stack.back().first;
      if (stack.back().second == after[node].size()) {
        state[node] = kDone;
        order.push_back(node);
        stack.pop_back();
        continue;
      }
      const size_t next = after[node][stack.back().second++];
      if (state[next] == kOpen) {
        return ModelError(Describe(named.nodes[node], node), ": it and ",
                          Describe(named.nodes[next], next),
                          " wait for each other's results: the graph has a cycle");
      }
      if (state[next] == kNew) {
        state[next] = kOpen;
        stack.push_back({next, 0});
      }
    }
  }
  return order;
}

absl::StatusOr<Value*> Resolver::Find(const Scope& scope, absl::string_view name,
                                      absl::string_view what) const {
  const auto own = scope.own.find(name);
  if (own != scope.own.end()) return own->second;
  const auto captured = scope.captured.find(name);
  if (captured != scope.captured.end()) return captured->second;
  std::set<std::string> known;
  for (const auto& entry : scope.own) known.emplace(entry.first);
  for (const auto& entry : scope.captured) known.emplace(entry.first);
  const std::vector<std::string> names(known.begin(), known.end());
  return ModelError(what, " \"", name, "\" is no input, initializer or node output in scope.",
                    DidYouMean(name, names));
}

absl::Status Resolver::AddNode(const NamedNode& named, size_t index,
                               const std::map<std::string, int>& imports, Scope& scope, int depth) {
  const auto failed = [&](const absl::Status& status) {
    return Annotate(status, Describe(named, index));
  };
  if (++nodes_ > kMaxNodes) return LimitError("the model has more than ", kMaxNodes, " nodes");
  if (named.op_type.empty()) return failed(ModelError("the node has no op_type"));
  Graph::NodeSpec spec;
  spec.op_type = named.op_type;
  spec.domain = named.domain == "ai.onnx" ? "" : named.domain;
  spec.name = named.name;
  const auto import = imports.find(spec.domain);
  spec.opset = import == imports.end() ? 1 : import->second;
  if (named.opset > 0) spec.opset = named.opset;
  for (size_t i = 0; i < named.inputs.size(); ++i) {
    if (named.inputs[i].empty()) {
      spec.inputs.push_back(nullptr);
      continue;
    }
    auto v = Find(scope, named.inputs[i], "input");
    if (!v.ok()) return failed(v.status());
    spec.inputs.push_back(*v);
  }
  spec.attrs = named.attrs;
  if (!in_function_) {
    for (const auto& [name, attr] : named.attrs) {
      if (const auto* ref = attr.get<Attr::Ref>()) {
        return failed(ModelError("attribute ", name, " refers to attribute \"", ref->name,
                                 "\" of a function, but the node is in none: give it a value"));
      }
    }
  }
  if (!named.graphs.empty()) {
    const Names captures = free_.Of(named);
    for (const absl::string_view name : captures) {
      auto v = Find(scope, name, "a nested graph reads a value that is not there:");
      if (!v.ok()) return failed(v.status());
      spec.captures.push_back(*v);
    }
    for (const NamedNode::GraphAttr& attr : named.graphs) {
      std::vector<Attr::GraphPtr> graphs;
      for (const NamedGraph& g : attr.graphs) {
        auto graph = Resolve(g, imports, spec.captures, captures, depth + 1);
        if (!graph.ok())
          return failed(Annotate(graph.status(), absl::StrCat("attribute ", attr.name)));
        graphs.push_back(*std::move(graph));
      }
      if (attr.is_list) {
        spec.attrs.insert_or_assign(attr.name, Attr(std::move(graphs)));
      } else if (graphs.size() == 1) {
        spec.attrs.insert_or_assign(attr.name, Attr(std::move(graphs[0])));
      }
    }
  }
  spec.outputs = named.outputs;
  for (size_t i = 0; i < named.outputs.size(); ++i) {
    if (named.outputs[i].empty()) spec.omitted_outputs.push_back(static_cast<int>(i));
  }
  Node* node = scope.graph->AddNode(std::move(spec));
  node->set_doc(named.doc);
  node->set_overload(named.overload);
  node->set_metadata(named.metadata);
  for (size_t i = 0; i < named.outputs.size(); ++i) {
    if (!named.outputs[i].empty()) scope.own[named.outputs[i]] = node->outputs()[i];
  }
  return absl::OkStatus();
}

void Resolver::SetTypes(const std::vector<NamedValue>& infos, Scope& scope) {
  for (const NamedValue& info : infos) {
    const auto it = scope.own.find(info.name);
    if (it != scope.own.end() && !it->second->type().is_known()) it->second->set_type(info.type);
  }
}

absl::StatusOr<std::unique_ptr<Graph>> Resolver::Resolve(
    const NamedGraph& named, const std::map<std::string, int>& imports,
    absl::Span<Value* const> captures, absl::Span<const absl::string_view> capture_names,
    int depth) {
  if (depth > kMaxGraphDepth) {
    return LimitError("graphs are nested more than ", kMaxGraphDepth, " deep");
  }
  auto graph = std::make_unique<Graph>();
  graph->name = named.name;
  graph->doc = named.doc;
  graph->opset_imports = imports;
  graph->metadata = named.metadata;
  Scope scope{graph.get(), {}, {}, {}};
  GR_RETURN_IF_ERROR(AddSources(named, scope));
  for (size_t i = 0; i < named.nodes.size(); ++i) {
    for (const std::string& name : named.nodes[i].outputs) {
      if (name.empty()) continue;
      if (scope.own.contains(name)) {
        return ModelError(
            Describe(named.nodes[i], i), ": output \"", name,
            "\" is an input or initializer of the graph already; names must be unique");
      }
      const auto [it, is_new] = scope.made_by.emplace(name, i);
      if (!is_new) {
        return ModelError(Describe(named.nodes[i], i), ": output \"", name, "\" is an output of ",
                          Describe(named.nodes[it->second], it->second),
                          " already; names must be unique");
      }
    }
  }
  for (size_t i = 0; i < captures.size(); ++i) {
    scope.captured[capture_names[i]] = graph->AddInput(capture_names[i], captures[i]->type());
  }
  GR_ASSIGN_OR_RETURN(const std::vector<size_t> order, Order(named, scope));
  for (const size_t i : order) {
    GR_RETURN_IF_ERROR(AddNode(named.nodes[i], i, imports, scope, depth));
  }
  for (size_t i = 0; i < named.outputs.size(); ++i) {
    GR_ASSIGN_OR_RETURN(Value * v,
                        Find(scope, named.outputs[i].name, absl::StrCat("output[", i, "]:")));
    graph->AddOutput(v);
  }
  SetTypes(named.outputs, scope);
  SetTypes(named.value_infos, scope);
  return graph;
}

absl::StatusOr<Function> ResolveFunction(const NamedFunction& named) {
  Function f;
  f.domain = named.domain;
  f.name = named.name;
  f.overload = named.overload;
  f.attributes = named.attributes;
  f.defaults = named.defaults;
  Resolver resolver(kMaxIrVersion, true);
  GR_ASSIGN_OR_RETURN(f.body, resolver.Resolve(named.body, named.opset_imports, {}, {}, 0));
  return f;
}

// Gives the states of a joined graph their successors; names in `algorithm_outputs` that only serve
// an update stop being outputs.
absl::Status AddStates(const NamedModel& model,
                       const absl::flat_hash_set<std::string>& algorithm_outputs, Graph* graph) {
  std::map<std::string, std::string> updates;  // in order of name
  std::vector<std::string> order;
  const auto state = [&](const std::string& name,
                         absl::string_view what) -> absl::StatusOr<Value*> {
    Value* v = graph->FindValue(name);
    if (v != nullptr && v->is_initializer()) return v;
    std::vector<std::string> names;
    for (const Value* known : graph->initializers()) names.push_back(known->name());
    return ModelError(what, " sets \"", name,
                      "\", which is no initializer of the graph or the algorithm.",
                      DidYouMean(name, names));
  };
  for (size_t t = 0; t < model.training.size(); ++t) {
    for (const auto& [key, from] : model.training[t].updates) {
      const std::string where = absl::StrCat("training_info[", t, "].update_binding");
      GR_ASSIGN_OR_RETURN(Value * v, state(key, where));
      if (v->is_state())
        return ModelError(where, " sets \"", key, "\", which is set already: one update a state");
      Value* next = from.empty() ? nullptr : graph->FindValue(from);
      if (next == nullptr && !from.empty()) {
        std::vector<std::string> names;
        for (const Value* known : graph->outputs()) names.push_back(known->name());
        return ModelError(where, " of \"", key, "\" names \"", from, "\", which nothing computes.",
                          DidYouMean(from, names));
      }
      graph->AddState(v, next);
    }
  }
  for (size_t t = 0; t < model.training.size(); ++t) {
    for (const auto& [key, from] : model.training[t].initialization_bindings) {
      GR_ASSIGN_OR_RETURN(
          Value * v, state(key, absl::StrCat("training_info[", t, "].initialization_binding")));
      if (!v->is_state()) graph->AddState(v, nullptr);
    }
  }
  absl::flat_hash_set<const Value*> next;
  for (const StateUpdate& s : graph->states()) next.insert(s.next);
  for (int i = static_cast<int>(graph->outputs().size()) - 1; i >= 0; --i) {
    const Value* v = graph->outputs()[static_cast<size_t>(i)];
    if (next.contains(v) && algorithm_outputs.contains(v->name())) graph->RemoveOutput(i);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Graph>> ResolveGraph(const NamedModel& model,
                                                    const NamedGraph& graph) {
  Resolver resolver(model.ir_version, false);
  GR_ASSIGN_OR_RETURN(auto resolved, resolver.Resolve(graph, model.opset_imports, {}, {}, 0));
  std::set<std::string> seen;
  for (size_t i = 0; i < model.functions.size(); ++i) {
    const NamedFunction& f = model.functions[i];
    const std::string name = absl::StrCat(f.domain, f.domain.empty() ? "" : ".", f.name,
                                          f.overload.empty() ? "" : ":", f.overload);
    if (!seen.insert(name).second) {
      return ModelError("functions[", i, "]: there are two functions ", name,
                        "; give one of them another overload name");
    }
    auto function = ResolveFunction(f);
    if (!function.ok()) return Annotate(function.status(), absl::StrCat("function ", name));
    resolved->functions.push_back(*std::move(function));
  }
  for (const auto& [key, value] : model.metadata) resolved->metadata.emplace(key, value);
  resolved->producer_name = model.producer_name;
  resolved->producer_version = model.producer_version;
  resolved->model_domain = model.domain;
  resolved->model_version = model.model_version;
  resolved->ir_version = model.ir_version;
  if (resolved->doc.empty()) resolved->doc = model.doc;
  return resolved;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Graph>> ResolveNames(const NamedModel& model) {
  return ResolveGraph(model, model.graph);
}

absl::StatusOr<std::unique_ptr<Graph>> ResolveTraining(const NamedModel& model) {
  NamedGraph joined = model.graph;
  absl::flat_hash_set<std::string> own, outputs;
  for (const NamedValue& v : model.graph.outputs) own.insert(v.name);
  const auto append = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (const NamedTraining& t : model.training) {
    append(joined.inputs, t.algorithm.inputs);
    append(joined.initializers, t.algorithm.initializers);
    append(joined.nodes, t.algorithm.nodes);
    append(joined.value_infos, t.algorithm.value_infos);
    append(joined.outputs, t.algorithm.outputs);
    for (const NamedValue& v : t.algorithm.outputs) {
      if (!own.contains(v.name)) outputs.insert(v.name);
    }
  }
  GR_ASSIGN_OR_RETURN(auto graph, ResolveGraph(model, joined));
  GR_RETURN_IF_ERROR(AddStates(model, outputs, graph.get()));
  return graph;
}

absl::StatusOr<std::unique_ptr<Graph>> ResolveInitialization(const NamedModel& model,
                                                             const NamedTraining& training) {
  return ResolveGraph(model, training.initialization);
}

}  // namespace graphrun
