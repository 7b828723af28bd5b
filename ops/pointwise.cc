// ai.graphrun.Pointwise: a chain or net of elementwise operators as one loop, over one or many
// groups of tensors.
//
// Made by the rewrite "pointwise" from what elementwise operators are left when every other fusion
// is done. Attributes: ops ["Mul", "Add", ...], args (numbers of values: inputs, constants,
// results, in this order), arg_counts, constants and constant_types, outputs and output_types,
// inputs (of one group), groups, shared (leading inputs that all groups have in common), and
// "k.name" for attribute `name` of step k. Its body is those operators.
#include "ops/pointwise_code.h"
#include "ops/pointwise_fusion.h"
#include "ops/pointwise_kernel.h"

namespace graphrun {
namespace {

absl::Status InferPointwise(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const PointwiseCode code, PointwiseCode::FromNode(c.node()));
  for (int g = 0; g < code.groups; ++g) {
    Shape shape = Shape::Scalar();
    for (int i = 0; i < code.num_inputs; ++i) {
      if (!c.has_input(code.NodeInput(g, i)))
        return c.Error("input ", code.NodeInput(g, i), " is left out");
      auto next = BroadcastShapes(shape, c.input_shape(code.NodeInput(g, i)));
      if (!next.ok()) return Annotate(next.status(), c.node().Describe());
      shape = *std::move(next);
    }
    for (size_t o = 0; o < code.outputs.size(); ++o) {
      const DType type =
          code.output_types[o] == DType::kUndefined ? c.input_dtype(0) : code.output_types[o];
      c.set_output(code.NodeOutput(g, static_cast<int>(o)), type, shape);
    }
  }
  return absl::OkStatus();
}

// Within a group any output may take the memory of any input of its type that the node reads once.
std::vector<std::pair<int, int>> PointwisePairs(const Node& node) {
  const auto code = PointwiseCode::FromNode(node);
  std::vector<std::pair<int, int>> pairs;
  if (!code.ok()) return pairs;
  absl::flat_hash_map<const Value*, int> reads;
  for (const Value* v : node.inputs()) ++reads[v];
  for (int g = 0; g < code->groups; ++g) {
    for (int o = 0; o < static_cast<int>(code->outputs.size()); ++o) {
      for (int i = code->shared; i < code->num_inputs; ++i) {
        const int in = code->NodeInput(g, i), out = code->NodeOutput(g, o);
        if (!node.has_input(in) || !node.has_output(out) || reads[node.input(in)] > 1) continue;
        if (node.input(in)->type() == node.output(out)->type()) pairs.emplace_back(in, out);
      }
    }
  }
  return pairs;
}

KernelFactory ProgramKernel(const OpRegistry* registry) {
  return [registry](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    GR_ASSIGN_OR_RETURN(const PointwiseCode code, PointwiseCode::FromNode(c.node()));
    std::vector<Type> types;
    std::vector<std::vector<int>> inputs, outputs;
    for (int g = 0; g < code.groups; ++g) {
      inputs.emplace_back();
      outputs.emplace_back();
      for (int i = 0; i < code.num_inputs; ++i) {
        inputs.back().push_back(code.NodeInput(g, i));
        if (!IsPointwiseDType(c.input_dtype(code.NodeInput(g, i)))) return nullptr;
        if (g == 0) types.push_back(c.input_type(code.NodeInput(g, i)));
      }
      for (int o = 0; o < static_cast<int>(code.outputs.size()); ++o) {
        if (!c.has_output(code.NodeOutput(g, o))) return nullptr;
        outputs.back().push_back(code.NodeOutput(g, o));
      }
    }
    GR_ASSIGN_OR_RETURN(PointwiseProgram program, code.Compile(*registry, types));
    return PreparePointwise(c, std::move(program), inputs, outputs);
  };
}

Sample ChainSample() {
  // y0 = sigmoid(a * b + 0.5), y1 = leaky(y0 - a)
  PointwiseCode code;
  code.num_inputs = 2;
  code.constants = {0.5f};
  code.constant_types = {DType::kUndefined};
  code.steps = {{"", "Mul", {0, 1}, {}},
                {"", "Add", {3, 2}, {}},
                {"", "Sigmoid", {4}, {}},
                {"", "Sub", {5, 0}, {}},
                {"", "LeakyRelu", {6}, {{"alpha", 0.25}}}};
  code.outputs = {5, 7};
  code.output_types = {DType::kUndefined, DType::kUndefined};
  Sample sample;
  sample.Outputs(2);
  for (const auto& [name, value] : code.ToAttrs()) sample.Attr(name, value);
  return sample;
}

// Momentum's update of two parameters: v' = mu v + g, w' = w - lr v'.
Sample UpdateSample(Dims first, Dims second) {
  PointwiseCode code;
  code.num_inputs = 4;  // lr, w, g, v
  code.shared = 1;
  code.groups = 2;
  code.constants = {0.875f};
  code.constant_types = {DType::kUndefined};
  code.steps = {{"", "Mul", {3, 4}, {}},
                {"", "Add", {5, 2}, {}},
                {"", "Mul", {6, 0}, {}},
                {"", "Sub", {1, 7}, {}}};
  code.outputs = {8, 6};
  code.output_types = {DType::kUndefined, DType::kUndefined};
  Sample sample;
  sample.Outputs(4).In(Dims{}, 0.01, 0.1);
  for (int i = 0; i < 3; ++i) sample.In(first);
  for (int i = 0; i < 3; ++i) sample.In(second);
  for (const auto& [name, value] : code.ToAttrs()) sample.Attr(name, value);
  return sample;
}

}  // namespace

void RegisterPointwiseOps(OpRegistry& ops) {
  ops.Add(OpDef("Pointwise", 1, kGraphrunDomain)
              .Input("inputs", "any", Arity::kVariadic)
              .Output("outputs", "any", Arity::kVariadic)
              .RequiredAttr("ops", Attr::Kind::kStrings)
              .RequiredAttr("outputs", Attr::Kind::kInts)
              .Attr("inputs", 1)
              .Attr("groups", 1)
              .Attr("shared", 0)
              .Infer(InferPointwise)
              .InPlace(PointwisePairs)
              .Kernel("block", ProgramKernel(&ops))
              .Body([](BodyContext& b) {
                const auto code = PointwiseCode::FromNode(b.node());
                if (!code.ok()) return b.Refuse(code.status());
                std::vector<Expr> outputs;
                for (int g = 0; g < code->groups; ++g) {
                  std::vector<Expr> inputs;
                  for (int i = 0; i < code->num_inputs; ++i)
                    inputs.push_back(b.x(code->NodeInput(g, i)));
                  for (const Expr& y : code->Emit(b.builder(), inputs)) outputs.push_back(y);
                }
                b.Return(std::move(outputs));
              })
              .Try(ChainSample().In({2, 3}).In({2, 3}))
              .Try(ChainSample().In({2, 3}).In({3}))
              .Try(ChainSample().In({3, 1}).In({2, 1, 700}))
              .Try(ChainSample().In(Dims{}).In({5}))
              .Try(ChainSample().In({0, 3}).In({3}))
              .Try(ChainSample().In({2, 3}).In({2}).Refused("do not broadcast"))
              .Try(ChainSample()
                       .In({2, 3})
                       .In({2, 3})
                       .Attr("args", std::vector<int64_t>{0, 1, 3, 9, 4, 5, 0, 6})
                       .Refused("does not exist yet"))
              .Try(ChainSample().In({2, 3}).Refused("another number of inputs"))
              .Try(UpdateSample({5, 7}, {3}))
              .Try(UpdateSample({2}, {4000}))
              .Source("the body"));
  ops.AddRewrite({"pointwise", Rewrite::Phase::kPointwise, FusePointwise});
}

}  // namespace graphrun
