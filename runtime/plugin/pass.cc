#include "runtime/plugin/pass.h"

#include "runtime/plugin/call.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/memory.h"

gr_graph::gr_graph(graphrun::Graph& g, const graphrun::OpRegistry& ops, std::string place)
    : graph(g), registry(ops), where(std::move(place)) {
  for (const auto& node : graph.nodes()) {
    const graphrun::OpDef* def = registry.Find(*node);
    handles.emplace_back(*node, def == nullptr ? unknown : *def);
    index[&handles.back()] = static_cast<int>(nodes.size());
    handle_of[node.get()] = &handles.back();
    nodes.push_back(node.get());
  }
}

namespace graphrun {
namespace {

// Input or output i of a node, null where there is none.
Value* InputOf(gr_graph* g, const gr_node* n, int32_t i) {
  const Node* node = g->NodeOf(n);
  return node != nullptr && i >= 0 && node->has_input(i) ? node->input(i) : nullptr;
}
Value* OutputOf(gr_graph* g, const gr_node* n, int32_t i) {
  const Node* node = g->NodeOf(n);
  return node != nullptr && i >= 0 && node->has_output(i) ? node->output(i) : nullptr;
}

const gr_node* Producer(gr_graph* g, const gr_node* n, int32_t i, int32_t* output) {
  const Value* v = InputOf(g, n, i);
  if (v == nullptr || v->producer() == nullptr) return nullptr;
  const auto it = g->handle_of.find(v->producer());
  if (it == g->handle_of.end()) return nullptr;
  if (output != nullptr) *output = v->producer_index();
  return it->second;
}

int32_t NumUses(gr_graph* g, const gr_node* n, int32_t i) {
  const Value* v = OutputOf(g, n, i);
  if (v == nullptr) return 0;
  int32_t uses = static_cast<int32_t>(v->uses().size()) + v->num_graph_outputs();
  for (const StateUpdate& state : g->graph.states()) uses += state.next == v ? 1 : 0;
  return uses;
}

gr_builder* Before(gr_graph* g, const gr_node* n) {
  Node* node = g->NodeOf(n);
  if (node == nullptr) g->Fail(PluginError(g->where, ": before: a node of another graph"));
  g->places.emplace_back(g, node);
  return &g->places.back().handle;
}

gr_expr ValueOf(gr_builder* b, const gr_node* n, int32_t i, bool input) {
  if (b->graph == nullptr) return b->Fail(PluginError("input: not a builder of a pass"));
  Value* v = input ? InputOf(b->graph, n, i) : OutputOf(b->graph, n, i);
  return v == nullptr ? 0 : b->Give(b->builder->Use(v));
}

bool SameType(const Value* a, const Value* b) {
  if (a->dtype() != b->dtype() || a->type().kind != b->type().kind) return false;
  const Shape &s = a->shape(), &t = b->shape();
  if (!s.has_rank() || !t.has_rank()) return true;
  if (s.rank() != t.rank()) return false;
  for (int i = 0; i < s.rank(); ++i) {
    if (s[i].is_number() && t[i].is_number() && s[i].value() != t[i].value()) return false;
  }
  return true;
}

absl::Status Replace(gr_builder* b, const gr_node* n, int32_t i, gr_expr with) {
  if (b->graph == nullptr) return PluginError("replace: not a builder of a pass");
  Expr e;
  if (!b->Need(with, "replace", &e)) return b->builder->status();
  Value* old = OutputOf(b->graph, n, i);
  if (old == nullptr) return PluginError("replace: the node has no output ", i);
  if (e.value() == old) return absl::OkStatus();
  if (!SameType(old, e.value())) {
    return PluginError("replace: ", old->type().ToString(), " by ", e.value()->type().ToString(),
                       ": types and sizes must agree");
  }
  b->graph->graph.ReplaceAllUses(old, e.value());
  b->graph->changed = true;
  return absl::OkStatus();
}

absl::StatusOr<bool> RunPass(const gr_pass& pass, const std::string& where, Graph& graph,
                             const OpRegistry& registry) {
  gr_graph handle(graph, registry, where);
  absl::Status status = Call(where, Blame::kPlugin, [&] { return pass.run(pass.self, &handle); });
  GR_RETURN_IF_ERROR(status);
  GR_RETURN_IF_ERROR(handle.error);
  for (const gr_graph::Place& place : handle.places) {
    if (!place.builder.status().ok()) {
      return PluginError(where, ": ", place.builder.status().message());
    }
  }
  if (!handle.changed) return !handle.places.empty();
  const absl::Status sorted = graph.Sort();
  if (!sorted.ok()) return PluginError(where, ": makes a cycle: ", sorted.message());
  return true;
}

}  // namespace

absl::StatusOr<Rewrite> ReadPass(const gr_pass& pass, const std::string& plugin) {
  GR_ASSIGN_OR_RETURN(std::string name,
                      TableReader::Name(pass.name, "_-.", plugin + ": the name of a pass"));
  const std::string where = absl::StrCat(plugin, ": pass ", name);
  if (pass.run == nullptr) return PluginError(where, ": run is null");
  if (pass.phase < GR_PASS_CANONICAL || pass.phase > GR_PASS_POINTWISE) {
    return PluginError(where, ": phase ", pass.phase, " is none of GR_PASS_...");
  }
  return Rewrite{std::move(name), static_cast<Rewrite::Phase>(pass.phase),
                 [pass, where](Graph& graph, const OpRegistry& registry) {
                   return RunPass(pass, where, graph, registry);
                 }};
}

const gr_graph_api kGraphApi = {
    .struct_size = sizeof(gr_graph_api),
    .num_nodes = [](gr_graph* g) { return static_cast<int32_t>(g->nodes.size()); },
    .node = [](gr_graph* g, int32_t i) -> const gr_node* {
      return i >= 0 && static_cast<size_t>(i) < g->handles.size()
                 ? &g->handles[static_cast<size_t>(i)]
                 : nullptr;
    },
    .producer = Producer,
    .constant = [](gr_graph* g, const gr_node* n, int32_t i) -> const gr_tensor* {
      const Value* v = InputOf(g, n, i);
      return v != nullptr && v->is_constant() ? n->Keep(&v->initializer()) : nullptr;
    },
    .num_uses = NumUses,
    .before = Before,
    .input = [](gr_builder* b, const gr_node* n, int32_t i) { return ValueOf(b, n, i, true); },
    .output = [](gr_builder* b, const gr_node* n, int32_t i) { return ValueOf(b, n, i, false); },
    .replace = [](gr_builder* b, const gr_node* n, int32_t i,
                  gr_expr with) { return GiveStatus(Replace(b, n, i, with)); },
};

}  // namespace graphrun
