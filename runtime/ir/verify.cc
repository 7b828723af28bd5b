#include "runtime/ir/verify.h"

#include <algorithm>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

class Verifier {
 public:
  absl::Status Check(const Graph& graph, int depth);

 private:
  absl::Status Values(const Graph& graph) const;
  absl::Status Nodes(const Graph& graph, int depth);
  absl::Status Nested(const Node& node, const Graph& nested, absl::string_view attribute,
                      int depth);
  absl::Status States(const Graph& graph) const;

  int64_t nodes_ = 0;
};

template <typename... Parts>
absl::Status Broken(const Parts&... parts) {
  return InternalError("the graph is broken: ", parts...);
}

bool HasDuplicate(const std::vector<Use>& uses) {
  if (uses.size() > 16) {
    absl::flat_hash_set<std::pair<const Node*, int>> seen;
    return std::any_of(uses.begin(), uses.end(), [&](const Use& use) {
      return !seen.insert({use.node, use.index}).second;
    });
  }
  for (auto use = uses.begin(); use != uses.end(); ++use) {
    if (std::find(uses.begin(), use, *use) != use) return true;
  }
  return false;
}

absl::Status Verifier::Values(const Graph& graph) const {
  absl::flat_hash_map<const Value*, int> outputs;
  for (const Value* v : graph.outputs()) {
    if (v == nullptr) return Broken("an output of the graph is missing");
    ++outputs[v];
  }
  absl::flat_hash_set<const Value*> inputs(graph.inputs().begin(), graph.inputs().end());
  if (inputs.size() != graph.inputs().size())
    return Broken("a value is an input of the graph twice");
  size_t found_inputs = 0, found_outputs = 0;
  for (const auto& value : graph.values()) {
    const Value* v = value.get();
    if (v->name().empty()) return Broken("a value has no name");
    if (graph.FindValue(v->name()) != v)
      return Broken("the name \"", v->name(), "\" finds another value");
    const bool is_source = v->is_graph_input() || v->is_initializer();
    if (is_source == (v->producer() != nullptr)) {
      return Broken(
          "\"", v->name(), "\" ",
          is_source ? "is an input or initializer and has a producer" : "comes from nowhere");
    }
    if (v->is_graph_input() != inputs.contains(v))
      return Broken("\"", v->name(), "\" and the list of inputs disagree");
    found_inputs += v->is_graph_input();
    const auto it = v->num_graph_outputs() == 0 ? outputs.end() : outputs.find(v);
    if ((it == outputs.end() ? 0 : it->second) != v->num_graph_outputs()) {
      return Broken("\"", v->name(), "\" and the list of outputs disagree");
    }
    found_outputs += static_cast<size_t>(v->num_graph_outputs());
    if (v->is_initializer() && (!v->type().is_tensor() || v->dtype() != v->initializer().dtype())) {
      return Broken("initializer \"", v->name(), "\" has type ", v->type().ToString(),
                    " but holds ", v->initializer().type().ToString());
    }
    if (v->type().is_tensor() && v->shape().has_rank() && v->shape().rank() > kMaxRank) {
      return LimitError("\"", v->name(), "\" has rank ", v->shape().rank(), "; at most ", kMaxRank,
                        " axes are supported");
    }
  }
  if (found_inputs != graph.inputs().size() || found_outputs != graph.outputs().size()) {
    return Broken("an input or output of the graph is not one of its values");
  }
  return absl::OkStatus();
}

absl::Status Verifier::Nested(const Node& node, const Graph& nested, absl::string_view attribute,
                              int depth) {
  const size_t captures = static_cast<size_t>(node.num_captures());
  if (nested.inputs().size() < captures) {
    return Broken(node.Describe(), " captures ", captures, " values but attribute ", attribute,
                  " has ", nested.inputs().size(), " inputs");
  }
  return Annotate(Check(nested, depth + 1),
                  absl::StrCat(node.Describe(), ", attribute ", attribute));
}

absl::Status Verifier::Nodes(const Graph& graph, int depth) {
  absl::flat_hash_set<const Value*> known;
  known.reserve(graph.values().size());
  size_t reads = 0, uses = 0;
  for (const auto& value : graph.values()) {
    if (value->producer() == nullptr) known.insert(value.get());
    uses += value->uses().size();
    for (const Use& use : value->uses()) {
      if (use.node == nullptr || use.node->graph() != &graph || use.index < 0 ||
          static_cast<size_t>(use.index) >= use.node->inputs().size() ||
          use.node->inputs()[static_cast<size_t>(use.index)] != value.get()) {
        return Broken("\"", value->name(), "\" and its reader disagree");
      }
    }
    if (HasDuplicate(value->uses())) return Broken("\"", value->name(), "\" lists a reader twice");
  }
  for (const auto& owned : graph.nodes()) {
    const Node& node = *owned;
    if (++nodes_ > kMaxNodes) return LimitError("the graph has more than ", kMaxNodes, " nodes");
    if (node.graph() != &graph) return Broken(node.Describe(), " belongs to another graph");
    if (node.op_type().empty()) return Broken("a node has no operator");
    if (node.num_inputs() < 0) return Broken(node.Describe(), " has more captures than inputs");
    for (size_t i = 0; i < node.inputs().size(); ++i) {
      const Value* v = node.inputs()[i];
      if (v == nullptr && static_cast<int>(i) < node.num_inputs()) continue;
      if (v == nullptr) return Broken(node.Describe(), " lacks capture ", i);
      ++reads;
      if (!known.contains(v)) {
        return Broken(node.Describe(), " reads input ", i,
                      v->producer() == nullptr ? " of another graph" : " before it is computed");
      }
    }
    for (size_t i = 0; i < node.outputs().size(); ++i) {
      const Value* v = node.outputs()[i];
      if (v == nullptr) continue;
      if (v->producer() != &node || v->producer_index() != static_cast<int>(i)) {
        return Broken("\"", v->name(), "\" and its producer ", node.Describe(), " disagree");
      }
      known.insert(v);
    }
    for (const auto& [name, attr] : node.attrs()) {
      if (const auto* g = attr.get<Attr::GraphPtr>()) {
        if (*g == nullptr) return Broken(node.Describe(), ": attribute ", name, " is no graph");
        GR_RETURN_IF_ERROR(Nested(node, **g, name, depth));
      } else if (const auto* gs = attr.get<std::vector<Attr::GraphPtr>>()) {
        for (const auto& g : *gs) {
          if (g == nullptr) return Broken(node.Describe(), ": attribute ", name, " is no graph");
          GR_RETURN_IF_ERROR(Nested(node, *g, name, depth));
        }
      }
    }
  }
  if (reads != uses) return Broken(reads, " inputs of nodes but ", uses, " uses of values");
  if (known.size() != graph.values().size())
    return Broken("a value's producer is not in the graph");
  return absl::OkStatus();
}

absl::Status Verifier::States(const Graph& graph) const {
  absl::flat_hash_set<const Value*> seen;
  for (const StateUpdate& s : graph.states()) {
    if (s.state == nullptr || !s.state->is_state() || !s.state->is_initializer())
      return Broken("a state is no initializer");
    if (!seen.insert(s.state).second)
      return Broken("state \"", s.state->name(), "\" is listed twice");
    if (s.next == nullptr) continue;
    if (graph.FindValue(s.next->name()) != s.next)
      return Broken("the successor of state \"", s.state->name(), "\" is not in the graph");
    const TensorType from = s.state->type().tensor, to = s.next->type().tensor;
    bool equal = !s.next->type().is_known() || s.next->type().is_tensor();
    equal &= to.dtype == DType::kUndefined || from.dtype == to.dtype;
    if (to.shape.has_rank()) {
      equal &= to.shape.rank() == from.shape.rank();
      for (int a = 0; equal && a < to.shape.rank(); ++a) {
        equal &= !to.shape[a].is_number() || to.shape[a].value() == from.shape[a].value();
      }
    }
    if (!equal) {
      return ModelError("state \"", s.state->name(), "\" is ", s.state->type().ToString(),
                        " but its successor \"", s.next->name(), "\" is ",
                        s.next->type().ToString(), "; they must be the same");
    }
  }
  for (const auto& value : graph.values()) {
    if (value->is_state() && !seen.contains(value.get()))
      return Broken("\"", value->name(), "\" is a state but not listed");
  }
  return absl::OkStatus();
}

absl::Status Verifier::Check(const Graph& graph, int depth) {
  if (depth > kMaxGraphDepth)
    return LimitError("graphs are nested more than ", kMaxGraphDepth, " deep");
  GR_RETURN_IF_ERROR(Values(graph));
  GR_RETURN_IF_ERROR(Nodes(graph, depth));
  return States(graph);
}

}  // namespace

absl::Status Verify(const Graph& graph) {
  Verifier verifier;
  GR_RETURN_IF_ERROR(verifier.Check(graph, 0));
  for (const Function& f : graph.functions) {
    if (f.body == nullptr) return InternalError("function ", f.domain, ".", f.name, " has no body");
    GR_RETURN_IF_ERROR(
        Annotate(verifier.Check(*f.body, 0), absl::StrCat("function ", f.domain, ".", f.name)));
  }
  return absl::OkStatus();
}

}  // namespace graphrun
