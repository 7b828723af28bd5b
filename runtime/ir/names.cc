#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "runtime/ir/named.h"

namespace graphrun {
namespace {

// The operator that returns its input.
constexpr char kCopy[] = "Identity";

using NameMap = absl::flat_hash_map<const Value*, std::string>;

class Namer {
 public:
  NamedGraph Name(const Graph& graph, absl::Span<const std::string> captured);

 private:
  bool IsTaken(const std::string& name) const {
    return std::any_of(scopes_.begin(), scopes_.end(),
                       [&](const auto& s) { return s.contains(name); });
  }
  std::string Unique(const std::string& stem, const absl::flat_hash_set<std::string>& own) const {
    std::string name = stem;
    for (int i = 1; own.contains(name) || IsTaken(name); ++i) name = absl::StrCat(stem, "_", i);
    return name;
  }
  NamedNode Name(const Node& node, const NameMap& names);

  std::vector<absl::flat_hash_set<std::string>> scopes_;  // names of the graphs around
};

// Nodes of one name, as inlined bodies bring them: stock runtimes refuse them.
void SetApart(std::vector<NamedNode>* nodes) {
  absl::flat_hash_set<std::string> own;
  std::vector<NamedNode*> clashing;
  for (NamedNode& node : *nodes) {
    if (!node.name.empty() && !own.insert(node.name).second) clashing.push_back(&node);
  }
  absl::flat_hash_map<std::string, int> counters;
  for (NamedNode* node : clashing) {
    int& counter = counters[node->name];
    std::string name;
    do {
      name = absl::StrCat(node->name, "_", ++counter);
    } while (!own.insert(name).second);
    node->name = std::move(name);
  }
}

NamedNode Namer::Name(const Node& node, const NameMap& names) {
  NamedNode named;
  named.name = node.name();
  named.domain = node.domain();
  named.op_type = node.op_type();
  named.overload = node.overload();
  named.opset = node.opset();
  named.doc = node.doc();
  named.metadata = node.metadata();
  const auto name_of = [&](const Value* v) { return v == nullptr ? std::string() : names.at(v); };
  std::vector<std::string> captured;
  for (size_t i = 0; i < node.inputs().size(); ++i) {
    const bool own = static_cast<int>(i) < node.num_inputs();
    (own ? named.inputs : captured).push_back(name_of(node.inputs()[i]));
  }
  for (const Value* v : node.outputs()) named.outputs.push_back(name_of(v));
  for (const auto& [name, attr] : node.attrs()) {
    if (const auto* g = attr.get<Attr::GraphPtr>()) {
      named.graphs.push_back({name, false, {}});
      named.graphs.back().graphs.push_back(Name(**g, captured));
    } else if (const auto* gs = attr.get<std::vector<Attr::GraphPtr>>()) {
      named.graphs.push_back({name, true, {}});
      for (const auto& nested : *gs) named.graphs.back().graphs.push_back(Name(*nested, captured));
    } else {
      named.attrs.emplace(name, attr);
    }
  }
  return named;
}

NamedGraph Namer::Name(const Graph& graph, absl::Span<const std::string> captured) {
  NamedGraph named;
  named.name = graph.name;
  named.doc = graph.doc;
  NameMap names;
  absl::flat_hash_set<const Value*> from_outside;
  const size_t own_inputs =
      graph.inputs().size() - std::min(graph.inputs().size(), captured.size());
  for (size_t i = own_inputs; i < graph.inputs().size(); ++i) {
    names[graph.inputs()[i]] = captured[i - own_inputs];
    from_outside.insert(graph.inputs()[i]);
  }
  absl::flat_hash_set<std::string> own;
  std::vector<const Value*> clashing;
  for (const auto& v : graph.values()) {
    if (from_outside.contains(v.get())) continue;
    if (IsTaken(v->name())) {
      clashing.push_back(v.get());
      continue;
    }
    own.insert(v->name());
    names[v.get()] = v->name();
  }
  for (const Value* v : clashing) {
    own.insert(names[v] = Unique(v->name(), own));
  }
  for (size_t i = 0; i < own_inputs; ++i) {
    const Value* v = graph.inputs()[i];
    named.inputs.push_back({names[v], v->type()});
  }
  for (const auto& v : graph.values()) {
    if (v->is_initializer()) named.initializers.emplace_back(names[v.get()], v->initializer());
    if (v->producer() != nullptr && v->type().is_known() && v->num_graph_outputs() == 0) {
      named.value_infos.push_back({names[v.get()], v->type()});
    }
  }
  scopes_.push_back(own);
  for (const auto& node : graph.nodes()) named.nodes.push_back(Name(*node, names));
  SetApart(&named.nodes);
  scopes_.pop_back();
  absl::flat_hash_set<std::string> outputs;
  for (const Value* v : graph.outputs()) {
    std::string name = names[v];
    if (from_outside.contains(v) || outputs.contains(name)) {
      NamedNode copy;
      copy.op_type = kCopy;
      copy.inputs.push_back(name);
      name = Unique(absl::StrCat(name, "_copy"), own);
      own.insert(name);
      copy.outputs.push_back(name);
      named.nodes.push_back(std::move(copy));
    }
    outputs.insert(name);
    named.outputs.push_back({name, v->type()});
  }
  return named;
}

// The operator sets that the nodes of `graph` come from and that `imports` lacks.
void AddImports(const Graph& graph, std::map<std::string, int>* imports) {
  for (const auto& node : graph.nodes()) {
    imports->emplace(node->domain(), std::max(node->opset(), 1));
    for (const auto& [name, attr] : node->attrs()) {
      if (const auto* g = attr.get<Attr::GraphPtr>()) AddImports(**g, imports);
      if (const auto* gs = attr.get<std::vector<Attr::GraphPtr>>()) {
        for (const auto& nested : *gs) AddImports(*nested, imports);
      }
    }
  }
}

}  // namespace

NamedModel NameValues(const Graph& graph) {
  NamedModel model;
  model.ir_version = graph.ir_version;
  model.opset_imports = graph.opset_imports;
  AddImports(graph, &model.opset_imports);
  model.producer_name = graph.producer_name;
  model.producer_version = graph.producer_version;
  model.domain = graph.model_domain;
  model.model_version = graph.model_version;
  model.metadata = graph.metadata;
  model.graph = Namer().Name(graph, {});
  for (const Function& f : graph.functions) {
    NamedFunction named;
    named.domain = f.domain;
    named.name = f.name;
    named.overload = f.overload;
    named.attributes = f.attributes;
    named.defaults = f.defaults;
    named.opset_imports = f.body->opset_imports;
    AddImports(*f.body, &named.opset_imports);
    named.body = Namer().Name(*f.body, {});
    model.functions.push_back(std::move(named));
  }
  if (!graph.states().empty()) {
    NamedTraining training;
    for (const StateUpdate& s : graph.states()) {
      training.updates.emplace_back(s.state->name(), s.next == nullptr ? "" : s.next->name());
    }
    model.training.push_back(std::move(training));
  }
  return model;
}

NamedModel NameTraining(const Graph& graph, absl::Span<Value* const> inference_outputs) {
  NamedModel model = NameValues(graph);
  NamedGraph all = std::move(model.graph);
  model.graph = NamedGraph();
  model.graph.name = all.name;
  model.graph.doc = all.doc;
  model.training.clear();
  NamedTraining training;

  // What inference needs: values by name, nodes by their first output.
  absl::flat_hash_set<std::string> needed;
  absl::flat_hash_set<const Node*> visited;
  std::vector<const Value*> open(inference_outputs.begin(), inference_outputs.end());
  while (!open.empty()) {
    const Value* v = open.back();
    open.pop_back();
    if (v == nullptr || !needed.insert(v->name()).second) continue;
    if (v->producer() == nullptr || !visited.insert(v->producer()).second) continue;
    open.insert(open.end(), v->producer()->inputs().begin(), v->producer()->inputs().end());
    for (const Value* output : v->producer()->outputs()) {
      if (output != nullptr) needed.insert(output->name());
    }
  }

  const auto split = [&](auto& from, auto&& name_of, auto NamedGraph::*member) {
    for (auto& item : from) {
      NamedGraph& to = needed.contains(name_of(item)) ? model.graph : training.algorithm;
      (to.*member).push_back(std::move(item));
    }
  };
  const auto value_name = [](const NamedValue& v) { return v.name; };
  split(all.inputs, value_name, &NamedGraph::inputs);
  split(
      all.initializers, [](const auto& i) { return i.first; }, &NamedGraph::initializers);
  split(all.value_infos, value_name, &NamedGraph::value_infos);
  size_t index = 0;
  for (const auto& node : graph.nodes()) {
    NamedGraph& to = visited.contains(node.get()) ? model.graph : training.algorithm;
    to.nodes.push_back(std::move(all.nodes[index++]));
  }
  for (; index < all.nodes.size(); ++index)
    training.algorithm.nodes.push_back(std::move(all.nodes[index]));

  absl::flat_hash_set<std::string> outputs;
  for (const Value* v : inference_outputs) {
    if (outputs.insert(v->name()).second) model.graph.outputs.push_back({v->name(), v->type()});
  }
  for (const NamedValue& v : all.outputs) {
    if (outputs.insert(v.name).second) training.algorithm.outputs.push_back(v);
  }
  for (const StateUpdate& s : graph.states()) {
    if (s.next == nullptr) {
      const std::string initial = graph.UniqueName(absl::StrCat(s.state->name(), "_initial"));
      training.initialization.initializers.emplace_back(initial, s.state->initializer());
      training.initialization.outputs.push_back({initial, s.state->type()});
      training.initialization_bindings.emplace_back(s.state->name(), initial);
      continue;
    }
    std::string next = s.next->name();
    if (!outputs.contains(next) &&
        (s.next->producer() == nullptr || visited.contains(s.next->producer()))) {
      NamedNode copy;
      copy.op_type = kCopy;
      copy.inputs.push_back(next);
      next = absl::StrCat(s.state->name(), "_next");
      for (int i = 1; graph.FindValue(next) != nullptr || outputs.contains(next); ++i) {
        next = absl::StrCat(s.state->name(), "_next_", i);
      }
      copy.outputs.push_back(next);
      training.algorithm.nodes.push_back(std::move(copy));
    }
    if (outputs.insert(next).second) training.algorithm.outputs.push_back({next, s.next->type()});
    training.updates.emplace_back(s.state->name(), next);
  }
  model.training.push_back(std::move(training));
  return model;
}

}  // namespace graphrun
