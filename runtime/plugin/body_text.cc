#include <algorithm>

#include "absl/strings/str_join.h"
#include "runtime/ir/text.h"
#include "runtime/plugin/operator.h"

namespace graphrun {
namespace {

std::string NamesOf(const std::vector<OpDef::Argument>& arguments) {
  return absl::StrJoin(arguments, ", ", [](std::string* out, const OpDef::Argument& a) {
    absl::StrAppend(out, "\"", a.name, "\"");
  });
}

// The operator as a function of the text syntax.
std::string FunctionText(const std::string& body, const OpDef& def) {
  const std::string attrs = absl::StrJoin(
      def.attrs(), ", ",
      [](std::string* out, const OpDef::AttrSpec& a) { absl::StrAppend(out, a.name); });
  return absl::StrCat("(x) => (x) {}\n<domain: \"", def.domain(),
                      "\", opset_import: [\"\" : 21, \"", def.domain(), "\" : ", def.since(),
                      "]>\n\"", def.name(), "\"", attrs.empty() ? "" : " <", attrs,
                      attrs.empty() ? "" : ">", " (", NamesOf(def.inputs()), ") => (",
                      NamesOf(def.outputs()), ") ", body);
}

// A node's attributes with the enclosing operator's in place of references to them.
AttrMap Resolve(const AttrMap& attrs, const NodeContext& c) {
  AttrMap resolved;
  for (const auto& [name, value] : attrs) {
    const auto* ref = value.get<Attr::Ref>();
    const Attr* now = ref == nullptr ? &value : c.attr(ref->name);
    if (now != nullptr) resolved.insert_or_assign(name, *now);
  }
  return resolved;
}

void EmitGraph(const Graph& body, BodyContext& c) {
  absl::flat_hash_map<const Value*, Expr> made;
  for (size_t i = 0; i < body.inputs().size(); ++i) {
    made[body.inputs()[i]] = c.x(static_cast<int>(i));
  }
  for (const Value* v : body.initializers()) made[v] = c.builder().Constant(v->initializer());
  for (const auto& node : body.nodes()) {
    std::vector<Expr> inputs;
    for (const Value* v : node->inputs()) inputs.push_back(v == nullptr ? Expr() : made[v]);
    const std::vector<Expr> outputs =
        c.builder().Ops(node->op_type(), std::move(inputs), node->num_outputs(),
                        Resolve(node->attrs(), c), node->domain());
    for (int o = 0; o < node->num_outputs(); ++o) {
      if (node->has_output(o)) made[node->output(o)] = outputs[static_cast<size_t>(o)];
    }
  }
  std::vector<Expr> results;
  for (const Value* v : body.outputs()) results.push_back(made[v]);
  results.resize(static_cast<size_t>(c.num_outputs()));
  c.Return(std::move(results));
}

}  // namespace

absl::StatusOr<OpDef::BodyFn> ReadBodyText(const std::string& text, const OpDef& def,
                                           const std::string& where) {
  for (const auto& list : {def.inputs(), def.outputs()}) {
    for (const OpDef::Argument& a : list) {
      if (a.arity == Arity::kVariadic) {
        return PluginError(where, ": \"", a.name, "\" is variadic: use body instead");
      }
    }
  }
  auto graph = ParseGraph(FunctionText(text, def));
  if (!graph.ok()) return PluginError(where, ": ", graph.status().message());
  if ((*graph)->functions.size() != 1) return PluginError(where, ": is not one body in {}");
  const std::shared_ptr<const Graph> body = (*graph)->functions[0].body;
  for (const auto& node : body->nodes()) {
    if (node->num_captures() > 0) {
      return PluginError(where, ": ", node->Describe(), " has nested graphs: use body instead");
    }
  }
  return OpDef::BodyFn([body](BodyContext& c) { EmitGraph(*body, c); });
}

}  // namespace graphrun
