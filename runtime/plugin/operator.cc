#include "runtime/plugin/operator.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "runtime/plugin/call.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/kernel.h"
#include "runtime/plugin/memory.h"
#include "runtime/plugin/sample.h"

namespace graphrun {
namespace {

constexpr size_t kMostDoc = 65536;

// Names that may occur once.
absl::Status Unique(std::set<std::string>* names, const std::string& name,
                    const std::string& where) {
  if (names->insert(name).second) return absl::OkStatus();
  return PluginError(where, ": there is another of that name");
}

absl::Status ReadTypes(const gr_operator& op, const std::string& where, OpDef* def) {
  GR_ASSIGN_OR_RETURN(auto types,
                      TableReader::List(op.types, op.num_types, GR_THROUGH(gr_type, num_dtypes),
                                        where + ": types"));
  std::set<std::string> names;
  for (const gr_type& type : types) {
    GR_ASSIGN_OR_RETURN(std::string variable,
                        TableReader::Name(type.variable, "_", where + ": a type variable"));
    const std::string place = absl::StrCat(where, ": type ", variable);
    GR_RETURN_IF_ERROR(Unique(&names, variable, place));
    if (DTypeFromName(variable) != DType::kUndefined || variable == "any") {
      return PluginError(place, ": that is the name of an element type");
    }
    GR_ASSIGN_OR_RETURN(auto dtypes,
                        TableReader::Plain(type.dtypes, type.num_dtypes, place + ": dtypes"));
    if (dtypes.empty()) return PluginError(place, ": it ranges over no element type");
    DTypeSet set = {};
    for (const int32_t dtype : dtypes) {
      if (!IsPluginDType(dtype)) {
        return PluginError(place, ": element type ", dtype, " is none that plugins may use");
      }
      set = set | DTypeSet{static_cast<DType>(dtype)};
    }
    def->Types(std::move(variable), set);
  }
  return absl::OkStatus();
}

absl::Status ReadArguments(const gr_argument* first, size_t count, bool input,
                           const std::string& where, OpDef* def) {
  const char* what = input ? "input" : "output";
  GR_ASSIGN_OR_RETURN(auto arguments,
                      TableReader::List(first, count, GR_THROUGH(gr_argument, unit_axis),
                                        absl::StrCat(where, ": ", what, "s")));
  std::set<std::string> names;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const gr_argument& a = arguments[i];
    GR_ASSIGN_OR_RETURN(std::string name,
                        TableReader::Name(a.name, "_", absl::StrCat(where, ": ", what, " ", i)));
    const std::string place = absl::StrCat(where, ": ", what, " ", name);
    GR_RETURN_IF_ERROR(Unique(&names, name, place));
    GR_ASSIGN_OR_RETURN(std::string type, TableReader::Name(a.type, "_", place + ": its type"));
    const bool known = type == "any" || DTypeFromName(type) != DType::kUndefined ||
                       std::any_of(def->types().begin(), def->types().end(),
                                   [&](const auto& t) { return t.first == type; });
    if (!known) {
      return PluginError(place, ": its type \"", type,
                         "\" is neither a variable of `types` nor an element type");
    }
    if (a.arity < GR_SINGLE || a.arity > GR_VARIADIC) {
      return PluginError(place, ": arity is ", a.arity, " but must be 0, 1 or 2");
    }
    if (a.arity == GR_VARIADIC && i + 1 != arguments.size()) {
      return PluginError(place, ": only the last may be variadic");
    }
    const Arity arity = static_cast<Arity>(a.arity);
    if (!input) {
      def->Output(std::move(name), std::move(type), arity);
      continue;
    }
    def->Input(std::move(name), std::move(type), arity);
    if (a.role < GR_BY_RANK || a.role > GR_STATISTIC) {
      return PluginError(place, ": role is ", a.role, " but must be one of GR_WEIGHT, ...");
    }
    if (a.role == GR_BY_RANK) continue;
    const int unit_axis = a.unit_axis;
    def->Parameter(static_cast<int>(i), static_cast<ParameterKind>(a.role - GR_WEIGHT),
                   [unit_axis](const NodeContext&) { return unit_axis; });
  }
  return absl::OkStatus();
}

absl::Status ReadAttrs(const gr_operator& op, const std::string& where, OpDef* def) {
  GR_ASSIGN_OR_RETURN(auto attrs,
                      TableReader::List(op.attrs, op.num_attrs, GR_THROUGH(gr_attr_spec, fallback),
                                        where + ": attrs"));
  std::set<std::string> names;
  for (const gr_attr_spec& a : attrs) {
    GR_ASSIGN_OR_RETURN(std::string name, TableReader::Name(a.name, "_", where + ": an attribute"));
    const std::string place = absl::StrCat(where, ": attribute ", name);
    GR_RETURN_IF_ERROR(Unique(&names, name, place));
    const auto kind = KindOfAttr(a.kind);
    if (!kind) {
      return PluginError(place, ": kind ", a.kind, " is none of the GR_ATTR_ numbers");
    }
    if (a.fallback == nullptr) {
      if (a.required != 0) {
        def->RequiredAttr(std::move(name), *kind);
      } else {
        def->Attr(std::move(name), *kind);
      }
      continue;
    }
    if (a.required != 0) return PluginError(place, ": it is required and has a default");
    GR_ASSIGN_OR_RETURN(
        const gr_attr fallback,
        TableReader::One(a.fallback, GR_THROUGH(gr_attr, strings), place + ": default"));
    if (fallback.kind != a.kind) {
      return PluginError(place, ": its default is of kind ", fallback.kind, ", not ", a.kind);
    }
    GR_ASSIGN_OR_RETURN(Attr value, CopyAttr(fallback, place + ": default"));
    def->Attr(std::move(name), std::move(value));
  }
  return absl::OkStatus();
}

OpDef::InferFn InferByPlugin(const gr_operator& op, const std::string& where) {
  return [infer = op.infer, self = op.self, place = where + ": infer"](InferContext& c) {
    gr_node node(c.node(), c.def());
    gr_infer context{c, node, {}, {}, {}};
    GR_RETURN_IF_ERROR(
        Annotate(Call(place, Blame::kModel, [&] { return infer(self, &node, &context); }),
                 c.node().Describe()));
    for (int i = 0; i < c.num_outputs(); ++i) {
      const auto at = static_cast<size_t>(i);
      if (c.has_output(i) && (at >= context.told.size() || !context.told[at])) {
        return PluginError(c.node().Describe(), ": ", place, ": set_output(", i,
                           ") was not called");
      }
    }
    return absl::OkStatus();
  };
}

// A view's output is its input's memory: it must have the same elements.
OpDef::InferFn InferView(OpDef::InferFn infer, const std::string& where) {
  return [infer = std::move(infer), where](InferContext& c) {
    GR_RETURN_IF_ERROR(infer(c));
    if (!c.has_output(0)) return absl::OkStatus();
    const Type &in = c.node().input(0)->type(), &out = c.node().output(0)->type();
    const Shape &from = in.tensor.shape, &to = out.tensor.shape;
    bool fits = in.tensor.dtype == out.tensor.dtype;
    if (fits && from.is_concrete() && to.is_concrete()) {
      GR_ASSIGN_OR_RETURN(const int64_t given, NumElements(from.ToDims()));
      GR_ASSIGN_OR_RETURN(const int64_t made, NumElements(to.ToDims()));
      fits = given == made;
    }
    if (fits) return absl::OkStatus();
    return PluginError(c.node().Describe(), ": ", where, ": infer: a view of ", in.ToString(),
                       " cannot be ", out.ToString(), ". GR_OP_VIEW keeps the elements");
  };
}

absl::Status CheckView(const gr_operator& op, const OpDef& def, const std::string& where) {
  if ((op.flags & GR_OP_VIEW) == 0) return absl::OkStatus();
  if (def.outputs().size() == 1 && def.outputs()[0].arity == Arity::kSingle &&
      !def.inputs().empty() && def.inputs()[0].arity == Arity::kSingle)
    return absl::OkStatus();
  return PluginError(where,
                     ": GR_OP_VIEW needs a first input that is always there, and one output");
}

absl::Status ReadInference(const gr_operator& op, const std::string& where, OpDef* def) {
  const auto set = [&](OpDef::InferFn infer) {
    const bool view = (op.flags & GR_OP_VIEW) != 0;
    def->Infer(view ? InferView(std::move(infer), where) : std::move(infer));
    return absl::OkStatus();
  };
  switch (op.infer_rule) {
    case GR_INFER_FUNCTION:
      if (op.infer == nullptr) {
        return PluginError(where, ": has no shape inference: set infer, or infer_rule");
      }
      return set(InferByPlugin(op, where));
    case GR_INFER_SAME_AS_INPUT:
    case GR_INFER_BROADCAST:
      if (op.num_inputs == 0) return PluginError(where, ": infer_rule needs an input");
      return set(op.infer_rule == GR_INFER_BROADCAST ? BroadcastAll : SameAsInput);
    default:
      return PluginError(where, ": infer_rule ", op.infer_rule, " is none of GR_INFER_...");
  }
}

OpDef::GradientFn GradientByPlugin(const gr_operator& op, const std::string& where) {
  return [gradient = op.gradient, self = op.self, place = where + ": gradient"](GradContext& c) {
    gr_node node(c.node(), c.def());
    gr_builder builder(&c.builder());
    gr_gradient context{c, builder, place};
    builder.Emit(place, Blame::kModel, [&] { return gradient(self, &node, &context); });
  };
}

OpDef::BodyFn BodyByPlugin(const gr_operator& op, const std::string& where) {
  return [body = op.body, self = op.self, place = where + ": body"](BodyContext& c) {
    gr_node node(c.node(), c.def());
    gr_builder builder(&c.builder());
    std::vector<gr_expr> inputs, outputs(static_cast<size_t>(c.num_outputs()));
    for (const Expr& x : c.xs()) inputs.push_back(builder.Give(x));
    // A body may ask for inputs and outputs that this node leaves off at its end.
    inputs.resize(std::max(inputs.size(), c.def().inputs().size()));
    outputs.resize(std::max(outputs.size(), c.def().outputs().size()));
    builder.Emit(place, Blame::kModel,
                 [&] { return body(self, &node, &builder, inputs.data(), outputs.data()); });
    std::vector<Expr> results(static_cast<size_t>(c.num_outputs()));
    for (size_t i = 0; i < results.size(); ++i) {
      if (!builder.Take(outputs[i], place, &results[i])) return;
      if (!results[i].is_defined() && c.has_output(static_cast<int>(i))) {
        c.builder().Fail(PluginError(place, ": gives no output ", i));
        return;
      }
    }
    c.Return(std::move(results));
  };
}

absl::Status ReadKernels(const gr_operator& op, const std::string& where, bool guard, OpDef* def) {
  GR_ASSIGN_OR_RETURN(auto kernels,
                      TableReader::List(op.kernels, op.num_kernels, GR_THROUGH(gr_kernel, destroy),
                                        where + ": kernels"));
  std::set<std::string> names;
  for (const gr_kernel& kernel : kernels) {
    GR_ASSIGN_OR_RETURN(OpDef::NamedKernel named, ReadKernel(kernel, where, guard));
    // Kernels for other element types may share a name.
    const std::string place = absl::StrCat(where, ": kernel ", named.name);
    for (size_t i = 0; i < std::max<size_t>(kernel.num_dtypes, 1); ++i) {
      const int32_t dtype = kernel.num_dtypes == 0 ? 0 : kernel.dtypes[i];
      GR_RETURN_IF_ERROR(Unique(&names, absl::StrCat(named.name, "/", dtype), place));
    }
    def->Kernel(std::move(named.name), std::move(named.factory));
  }
  return absl::OkStatus();
}

absl::Status ReadBody(const gr_operator& op, const std::string& where, OpDef* def) {
  if (op.body != nullptr && op.body_text != nullptr) {
    return PluginError(where, ": has both body and body_text");
  }
  if (op.body != nullptr) def->Body(BodyByPlugin(op, where));
  if (op.body_text == nullptr) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(std::string text,
                      TableReader::Text(op.body_text, kMostDoc, where + ": body_text"));
  GR_ASSIGN_OR_RETURN(OpDef::BodyFn body, ReadBodyText(text, *def, where + ": body_text"));
  def->Body(std::move(body));
  return absl::OkStatus();
}

absl::Status CheckIndex(int32_t i, size_t count, const std::string& what) {
  if (i >= 0 && static_cast<size_t>(i) < count) return absl::OkStatus();
  return PluginError(what, " names ", i, "; there are ", count);
}

absl::Status ReadDifferentiation(const gr_operator& op, const std::string& where, OpDef* def) {
  GR_ASSIGN_OR_RETURN(std::string why, TableReader::Text(op.not_differentiable, kMostDoc,
                                                         where + ": not_differentiable"));
  if (op.gradient != nullptr && !why.empty()) {
    return PluginError(where, ": has a gradient and says that there is none");
  }
  if (op.gradient != nullptr) def->Gradient(GradientByPlugin(op, where));
  if (!why.empty()) def->NotDifferentiable(std::move(why));
  if (op.gradient == nullptr && def->not_differentiable().empty() && !def->body()) {
    return PluginError(where,
                       ": has no gradient: set gradient, or say why in not_differentiable, or ",
                       "give it a body");
  }
  GR_ASSIGN_OR_RETURN(auto without, TableReader::Plain(op.no_gradient_for, op.num_no_gradient_for,
                                                       where + ": no_gradient_for"));
  for (const int32_t i : without) {
    GR_RETURN_IF_ERROR(CheckIndex(i, op.num_inputs, where + ": no_gradient_for"));
  }
  def->NoGradientFor({without.begin(), without.end()});
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckDomain(const std::string& domain, const std::string& where) {
  const std::string lower = absl::AsciiStrToLower(domain);
  for (const char* taken : {"ai.onnx", "ai.graphrun"}) {
    if (lower == taken || absl::StartsWith(lower, absl::StrCat(taken, "."))) {
      return PluginError(where, ": domain ", domain, " is not for plugins. Use one of your own");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<OpDef> ReadOperator(const gr_operator& op, const std::string& plugin, bool guard) {
  GR_ASSIGN_OR_RETURN(std::string name,
                      TableReader::Name(op.name, "_", plugin + ": the name of an operator"));
  std::string where = absl::StrCat(plugin, ": operator ", name);
  GR_ASSIGN_OR_RETURN(std::string domain, TableReader::Name(op.domain, "_-.", where + ": domain"));
  GR_RETURN_IF_ERROR(CheckDomain(domain, where));
  where = absl::StrCat(plugin, ": operator ", domain, ".", name);
  if (op.since_version < 0) {
    return PluginError(where, ": since_version is ", op.since_version, " but counts from 1");
  }
  if ((op.flags & ~uint32_t{GR_OP_RANDOM | GR_OP_VIEW}) != 0) {
    return PluginError(where, ": flags ", op.flags, " has bits that mean nothing");
  }
  OpDef def(name, std::max(op.since_version, 1), domain);
  GR_RETURN_IF_ERROR(ReadTypes(op, where, &def));
  GR_RETURN_IF_ERROR(ReadArguments(op.inputs, op.num_inputs, true, where, &def));
  GR_RETURN_IF_ERROR(ReadArguments(op.outputs, op.num_outputs, false, where, &def));
  if (def.outputs().empty()) return PluginError(where, ": has no output");
  GR_RETURN_IF_ERROR(CheckView(op, def, where));
  GR_RETURN_IF_ERROR(ReadAttrs(op, where, &def));
  GR_RETURN_IF_ERROR(ReadInference(op, where, &def));
  GR_RETURN_IF_ERROR(ReadKernels(op, where, guard, &def));
  GR_RETURN_IF_ERROR(ReadBody(op, where, &def));
  if ((op.flags & GR_OP_RANDOM) != 0) def.Random();
  if ((op.flags & GR_OP_VIEW) != 0) def.View();
  if (def.kernels().empty() && !def.body()) {
    return PluginError(where, ": has neither a kernel nor a body");
  }
  GR_RETURN_IF_ERROR(ReadDifferentiation(op, where, &def));
  GR_ASSIGN_OR_RETURN(auto pairs,
                      TableReader::Plain(op.in_place, op.num_in_place, where + ": in_place"));
  for (const gr_in_place& pair : pairs) {
    GR_RETURN_IF_ERROR(CheckIndex(pair.input, op.num_inputs, where + ": in_place: input"));
    GR_RETURN_IF_ERROR(CheckIndex(pair.output, op.num_outputs, where + ": in_place: output"));
    def.InPlace(pair.input, pair.output);
  }
  GR_ASSIGN_OR_RETURN(auto samples,
                      TableReader::List(op.samples, op.num_samples, GR_THROUGH(gr_sample, gives),
                                        where + ": samples"));
  for (size_t i = 0; i < samples.size(); ++i) {
    GR_ASSIGN_OR_RETURN(Sample sample, ReadSample(samples[i], absl::StrCat(where, ": sample ", i)));
    def.Try(std::move(sample));
  }
  GR_ASSIGN_OR_RETURN(std::string doc, TableReader::Text(op.doc, kMostDoc, where + ": doc"));
  def.Source(doc.empty() ? plugin : absl::StrCat(plugin, ": ", doc));
  return def;
}

}  // namespace graphrun
