#include "runtime/op/infer.h"

#include <map>

#include "runtime/base/limits.h"

namespace graphrun {
namespace {

absl::Status CheckCount(const Node& node, const char* what,
                        const std::vector<OpDef::Argument>& declared, int given,
                        const std::function<bool(int)>& present) {
  size_t required = 0;
  for (size_t i = 0; i < declared.size(); ++i) {
    if (declared[i].arity == Arity::kSingle) required = i + 1;
  }
  const bool open = !declared.empty() && declared.back().arity == Arity::kVariadic;
  if (!open && static_cast<size_t>(given) > declared.size()) {
    return ModelError(node.Describe(), ": has ", given, " ", what,
                      "s, but the operator takes at most ", declared.size());
  }
  for (size_t i = 0; i < required; ++i) {
    if (declared[i].arity == Arity::kSingle && !present(static_cast<int>(i))) {
      return ModelError(node.Describe(), ": ", what, " ", i, " (", declared[i].name,
                        ") is required and missing");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAttrs(const Node& node, const OpDef& def) {
  for (const OpDef::AttrSpec& spec : def.attrs()) {
    const Attr* given = node.attr(spec.name);
    if (given == nullptr) {
      if (spec.required)
        return ModelError(node.Describe(), ": attribute ", spec.name, " is required and missing");
      continue;
    }
    const bool empty_list = given->kind() >= Attr::Kind::kInts && spec.kind >= Attr::Kind::kInts;
    if (given->kind() != spec.kind && !empty_list && given->kind() != Attr::Kind::kRef) {
      return ModelError(node.Describe(), ": attribute ", spec.name, " is of kind ",
                        AttrKindName(given->kind()), " but must be ", AttrKindName(spec.kind));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTypes(const Node& node, const OpDef& def) {
  std::map<std::string, DType> bound;
  for (int i = 0; i < node.num_inputs(); ++i) {
    const OpDef::Argument* argument = def.InputArgument(i);
    if (!node.has_input(i) || argument == nullptr) continue;
    const Type& type = node.input(i)->type();
    if (!type.is_tensor() || type.tensor.dtype == DType::kUndefined) continue;
    const DType dtype = type.tensor.dtype;
    for (const auto& [variable, allowed] : def.types()) {
      if (variable != argument->type) continue;
      if (!allowed.Contains(dtype)) {
        return ModelError(node.Describe(), ": input ", i, " (", argument->name,
                          ") has element type ", DTypeName(dtype), ", which ", def.Describe(),
                          " does not take there. Cast it first");
      }
      const auto [it, inserted] = bound.emplace(variable, dtype);
      if (!inserted && it->second != dtype) {
        return ModelError(node.Describe(), ": input ", i, " (", argument->name,
                          ") has element type ", DTypeName(dtype),
                          " but an input that must agree with it has ", DTypeName(it->second),
                          ". Cast one of them");
      }
    }
    const DType fixed = DTypeFromName(argument->type);
    if (fixed != DType::kUndefined && fixed != dtype) {
      return ModelError(node.Describe(), ": input ", i, " (", argument->name, ") has element type ",
                        DTypeName(dtype), " but must be ", DTypeName(fixed));
    }
  }
  return absl::OkStatus();
}

// What is declared and what was inferred, joined: the more precise of each axis.
absl::StatusOr<Type> Join(const Type& declared, const Type& inferred, const Value& value) {
  if (!declared.is_known()) return inferred;
  if (!inferred.is_known()) return declared;
  if (declared.kind != inferred.kind || !declared.is_tensor()) return inferred;
  if (inferred.tensor.dtype != DType::kUndefined && declared.tensor.dtype != DType::kUndefined &&
      declared.tensor.dtype != inferred.tensor.dtype) {
    return ModelError("value \"", value.name(), "\" is declared ", declared.ToString(), " but is ",
                      inferred.ToString(), ". Correct or remove the declaration");
  }
  Type joined = inferred;
  if (joined.tensor.dtype == DType::kUndefined) joined.tensor.dtype = declared.tensor.dtype;
  const Shape& d = declared.tensor.shape;
  Shape& s = joined.tensor.shape;
  if (!s.has_rank()) {
    s = d;
  } else if (d.has_rank() && d.rank() == s.rank()) {
    // Exporters often leave stale sizes in value_info: what inference knows stands.
    for (int i = 0; i < s.rank(); ++i) {
      if (s[i].is_unknown()) s[i] = d[i];
    }
  }
  return joined;
}

}  // namespace

absl::Status InferNode(Node& node, const OpRegistry& registry, KnownValues* known) {
  GR_ASSIGN_OR_RETURN(const OpDef* def, registry.Resolve(node));
  GR_RETURN_IF_ERROR(CheckCount(node, "input", def->inputs(), node.num_inputs(),
                                [&](int i) { return node.has_input(i); }));
  GR_RETURN_IF_ERROR(
      CheckCount(node, "output", def->outputs(), node.num_outputs(), [&](int i) { return true; }));
  GR_RETURN_IF_ERROR(CheckAttrs(node, *def));
  GR_RETURN_IF_ERROR(CheckTypes(node, *def));
  if (!def->infer()) return absl::OkStatus();
  std::vector<Type> declared;
  for (const Value* v : node.outputs()) declared.push_back(v == nullptr ? Type() : v->type());
  InferContext context(node, *def, known, &registry);
  GR_RETURN_IF_ERROR(def->infer()(context));
  for (int i = 0; i < node.num_outputs(); ++i) {
    if (!node.has_output(i)) continue;
    Value* v = node.output(i);
    auto joined = Join(declared[static_cast<size_t>(i)], v->type(), *v);
    if (!joined.ok()) return Annotate(joined.status(), node.Describe());
    if (joined->is_tensor() && joined->tensor.shape.rank() > kMaxRank) {
      return LimitError(node.Describe(), ": output \"", v->name(), "\" would have ",
                        joined->tensor.shape.rank(), " axes; at most ", kMaxRank, " are supported");
    }
    v->set_type(*std::move(joined));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Type>> InferContext::InferSubgraph(
    const Graph& graph, const std::vector<Type>& inputs,
    const std::vector<const Tensor*>& constants) const {
  if (registry_ == nullptr) return InternalError(node().Describe(), ": no registry to infer with");
  if (graph.inputs().size() != inputs.size()) {
    return Error("a graph in its attributes takes ", graph.inputs().size(), " values but is given ",
                 inputs.size());
  }
  std::unique_ptr<Graph> copy = graph.Clone();
  KnownValues known;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Value* in = copy->inputs()[i];
    if (inputs[i].is_known()) in->set_type(inputs[i]);
    if (i < constants.size() && constants[i] != nullptr) known.constants[in] = *constants[i];
  }
  GR_RETURN_IF_ERROR(Annotate(copy->Sort(), node().Describe()));
  // What the model declares inside may hold for other sizes than these.
  for (const auto& inner : copy->nodes()) {
    for (Value* out : inner->outputs()) {
      if (out != nullptr && out->type().is_tensor()) {
        out->set_type(Type::Tensor(out->dtype(), Shape()));
      }
    }
  }
  GR_RETURN_IF_ERROR(
      Annotate(InferTypes(*copy, *registry_, &known), absl::StrCat("in ", node().Describe())));
  std::vector<Type> outputs;
  for (const Value* out : copy->outputs()) outputs.push_back(out->type());
  return outputs;
}

absl::Status InlineBody(Graph& graph, Node* node, const OpRegistry& registry, KnownValues* known) {
  GR_ASSIGN_OR_RETURN(const OpDef* def, registry.Resolve(*node));
  if (!def->body())
    return InternalError(node->Describe(), ": ", def->Describe(), " has no body to inline");
  Builder builder(&graph, &registry, node,
                  node->name().empty() ? "" : absl::StrCat(node->name(), "/"));
  BodyContext context(*node, *def, &builder);
  def->body()(context);
  if (!context.refusal().ok()) return Annotate(context.refusal(), node->Describe());
  if (!builder.status().ok())
    return Annotate(builder.status(), absl::StrCat("in the body of ", node->Describe()));
  for (int i = 0; i < node->num_outputs(); ++i) {
    if (!node->has_output(i)) continue;
    const auto index = static_cast<size_t>(i);
    if (index >= context.outputs().size() || !context.outputs()[index].is_defined()) {
      return InternalError(node->Describe(), ": the body of ", def->Describe(), " gives no output ",
                           i);
    }
    Value* old = node->output(i);
    Value* now = context.outputs()[index].value();
    if (known != nullptr) known->Forget(old);
    // Names matter to those who read the graph: the value keeps the one it had.
    const std::string name = old->name();
    graph.ReplaceAllUses(old, now);
    if (now->producer() != nullptr && now->producer() != node) {
      graph.Rename(old, absl::StrCat(name, "/old"));
      graph.Rename(now, name);
    }
  }
  graph.Erase(node);
  return absl::OkStatus();
}

absl::Status InferTypes(Graph& graph, const OpRegistry& registry, KnownValues* known) {
  KnownValues local;
  if (known == nullptr) known = &local;
  for (const auto& node : graph.nodes()) GR_RETURN_IF_ERROR(InferNode(*node, registry, known));
  return absl::OkStatus();
}

}  // namespace graphrun
