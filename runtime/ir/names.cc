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

NamedNode Namer::Name(const Node& node, const NameMap& names) {
  NamedNode named;
  named.name = node.name();
  named.domain = node.domain();
  named.op_type = node.op_type();
  named.overload = node.overload();
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

}  // namespace graphrun
