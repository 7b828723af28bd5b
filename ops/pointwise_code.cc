#include "ops/pointwise_code.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "ops/pointwise_simplify.h"

namespace graphrun {

AttrMap PointwiseCode::ToAttrs() const {
  AttrMap attrs;
  std::vector<std::string> ops;
  std::vector<int64_t> counts, args, types, out, out_types;
  for (size_t s = 0; s < steps.size(); ++s) {
    ops.push_back(steps[s].domain.empty() ? steps[s].op_type
                                          : absl::StrCat(steps[s].domain, ":", steps[s].op_type));
    counts.push_back(static_cast<int64_t>(steps[s].args.size()));
    args.insert(args.end(), steps[s].args.begin(), steps[s].args.end());
    for (const auto& [name, value] : steps[s].attrs)
      attrs.insert({absl::StrCat(s, ".", name), value});
  }
  for (const DType t : constant_types) types.push_back(static_cast<int64_t>(t));
  for (const DType t : output_types) out_types.push_back(static_cast<int64_t>(t));
  out.assign(outputs.begin(), outputs.end());
  attrs.insert({"ops", ops});
  attrs.insert({"arg_counts", counts});
  attrs.insert({"args", args});
  attrs.insert({"constants", constants});
  attrs.insert({"constant_types", types});
  attrs.insert({"outputs", out});
  attrs.insert({"output_types", out_types});
  attrs.insert({"inputs", int64_t{num_inputs}});
  attrs.insert({"groups", int64_t{groups}});
  attrs.insert({"shared", int64_t{shared}});
  return attrs;
}

absl::StatusOr<PointwiseCode> PointwiseCode::FromNode(const Node& node) {
  const auto ints = [&](const char* name) {
    const Attr* a = node.attr(name);
    const auto* v = a == nullptr ? nullptr : a->get<std::vector<int64_t>>();
    return v == nullptr ? std::vector<int64_t>() : *v;
  };
  const auto number = [&](const char* name, int64_t fallback) {
    const Attr* a = node.attr(name);
    const int64_t* v = a == nullptr ? nullptr : a->get<int64_t>();
    return v == nullptr ? fallback : *v;
  };
  const auto fail = [&](const char* what) { return ModelError(node.Describe(), ": ", what); };
  constexpr int64_t kMany = 1 << 20;
  PointwiseCode code;
  const int64_t inputs = number("inputs", 0), groups = number("groups", 1),
                shared = number("shared", 0);
  if (inputs < 0 || inputs > kMany || groups < 1 || groups > kMany || shared < 0 ||
      shared > inputs) {
    return fail("attributes inputs, groups and shared do not describe a program");
  }
  code.num_inputs = static_cast<int>(inputs);
  code.groups = static_cast<int>(groups);
  code.shared = static_cast<int>(shared);
  const Attr* constants = node.attr("constants");
  if (constants != nullptr && constants->get<std::vector<float>>() != nullptr) {
    code.constants = *constants->get<std::vector<float>>();
  }
  for (const int64_t t : ints("constant_types"))
    code.constant_types.push_back(static_cast<DType>(t));
  for (const int64_t t : ints("output_types")) code.output_types.push_back(static_cast<DType>(t));
  const Attr* ops = node.attr("ops");
  const auto* names = ops == nullptr ? nullptr : ops->get<std::vector<std::string>>();
  const std::vector<int64_t> counts = ints("arg_counts"), args = ints("args");
  if (names == nullptr || counts.size() != names->size() || names->empty()) {
    return fail("attributes ops and arg_counts must have the same length");
  }
  if (code.constant_types.size() != code.constants.size()) {
    return fail("attributes constants and constant_types must have the same length");
  }
  size_t next = 0;
  const int first = code.num_inputs + static_cast<int>(code.constants.size());
  for (size_t s = 0; s < names->size(); ++s) {
    Step step;
    const std::vector<std::string> parts = absl::StrSplit((*names)[s], absl::MaxSplits(':', 1));
    step.domain = parts.size() == 2 ? parts[0] : "";
    step.op_type = parts.back();
    if (counts[s] < 0 || static_cast<size_t>(counts[s]) > args.size() - next)
      return fail("attribute args is too short");
    for (int64_t k = 0; k < counts[s]; ++k) {
      const int64_t value = args[next++];
      if (value < -1 || value >= first + static_cast<int64_t>(s)) {
        return fail("attribute args names a value that does not exist yet");
      }
      step.args.push_back(static_cast<int>(value));
    }
    code.steps.push_back(std::move(step));
  }
  for (const auto& [name, value] : node.attrs()) {
    const std::vector<std::string> parts = absl::StrSplit(name, absl::MaxSplits('.', 1));
    int64_t step = 0;
    if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &step)) continue;
    if (step < 0 || step >= static_cast<int64_t>(code.steps.size()))
      return fail("has an attribute of no step");
    code.steps[static_cast<size_t>(step)].attrs.insert({parts[1], value});
  }
  for (const int64_t o : ints("outputs")) {
    if (o < first || o >= first + static_cast<int64_t>(code.steps.size())) {
      return fail("attribute outputs names a value that is no step's result");
    }
    for (const int other : code.outputs) {
      if (other == o) return fail("attribute outputs names a value twice");
    }
    code.outputs.push_back(static_cast<int>(o));
  }
  if (code.outputs.empty() || code.output_types.size() != code.outputs.size()) {
    return fail("attributes outputs and output_types must have the same length, at least 1");
  }
  if (code.num_node_inputs() != node.num_inputs() ||
      code.num_node_outputs() != node.num_outputs()) {
    return fail("has another number of inputs or outputs than its attributes say");
  }
  return code;
}

std::vector<Expr> PointwiseCode::Emit(Builder& builder, const std::vector<Expr>& inputs) const {
  std::vector<Expr> values = inputs;
  for (size_t i = 0; i < constants.size(); ++i) {
    const DType type =
        constant_types[i] == DType::kUndefined ? inputs[0].dtype() : constant_types[i];
    values.push_back(builder.Scalar(type, constants[i]));
  }
  for (const Step& step : steps) {
    std::vector<Expr> args;
    for (const int a : step.args) args.push_back(a < 0 ? Expr() : values[static_cast<size_t>(a)]);
    values.push_back(builder.Op(step.op_type, std::move(args), step.attrs, step.domain));
  }
  std::vector<Expr> results;
  for (const int o : outputs) results.push_back(values[static_cast<size_t>(o)]);
  return results;
}

absl::StatusOr<PointwiseProgram> PointwiseCode::Compile(const OpRegistry& registry,
                                                        const std::vector<Type>& inputs) const {
  Graph graph;
  Builder builder(&graph, &registry);
  std::vector<Expr> arguments;
  for (const Type& type : inputs) arguments.push_back(builder.Use(graph.AddInput("x", type)));
  Emit(builder, arguments);
  GR_RETURN_IF_ERROR(builder.status());
  PointwiseProgram program;
  program.num_inputs = num_inputs;
  program.constants = constants;
  program.outputs = outputs;
  size_t s = 0;
  for (const auto& node : graph.nodes()) {
    GR_ASSIGN_OR_RETURN(const OpDef* def, registry.Resolve(*node));
    if (def->pointwise().block == nullptr || s == steps.size()) {
      return ModelError(def->Describe(), " is no elementwise operator that a program can hold");
    }
    PointwiseProgram::Step step;
    step.block = def->pointwise().block;
    if (def->pointwise().params) step.params = def->pointwise().params(NodeContext(*node, *def));
    step.args = steps[s++].args;
    program.steps.push_back(std::move(step));
  }
  SimplifyProgram(*this, &program);
  return program;
}

}  // namespace graphrun
