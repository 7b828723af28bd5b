// If, Loop: graphs that run depending on values.
//
// Source: https://onnx.ai/onnx/operators (If and Loop 1, 11, 13, 16, ..., 25; later versions widen
// the types). Values of the outer graph that a branch or body reads are captures: they follow the
// node's inputs, and every graph takes all of them after its own inputs.
#include "ops/move.h"
#include "ops/subgraph.h"
#include "runtime/base/limits.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<Attr::GraphPtr> RequiredGraph(const NodeContext& c, const char* name) {
  Attr::GraphPtr graph = c.GraphAttr(name);
  if (graph == nullptr) return c.Error("attribute ", name, " must be a graph");
  return graph;
}

// What is in a condition, which may be a scalar or a tensor of one element.
absl::StatusOr<bool> Truth(const Datum& d) {
  if (!d.is_tensor() || d.tensor.dtype() != DType::kBool || d.tensor.num_elements() != 1) {
    return ModelError("the condition must be one bool, not ", d.type().ToString());
  }
  return d.tensor.data<bool>()[0];
}

absl::Status InferIf(InferContext& c) {
  std::vector<Type> common;
  const Tensor* condition = c.constant(0);
  const bool known =
      condition != nullptr && condition->dtype() == DType::kBool && condition->num_elements() == 1;
  for (const char* branch : {"then_branch", "else_branch"}) {
    GR_ASSIGN_OR_RETURN(const Attr::GraphPtr graph, RequiredGraph(c, branch));
    // A branch that is never taken says nothing of the types.
    const bool then = branch[0] == 't';
    if (known && condition->data<bool>()[0] != then) continue;
    std::vector<Type> inputs;
    std::vector<const Tensor*> constants;
    AppendCaptures(c, &inputs, &constants);
    GR_ASSIGN_OR_RETURN(std::vector<Type> outputs, c.InferSubgraph(*graph, inputs, constants));
    if (static_cast<int>(outputs.size()) != c.num_outputs()) {
      return c.Error(branch, " gives ", outputs.size(), " values but the node has ",
                     c.num_outputs(), " outputs");
    }
    if (common.empty()) common.resize(outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      auto both = CommonType(common[i], outputs[i]);
      if (!both.ok()) {
        return c.Error("the branches disagree on output ", i, ": ", both.status().message());
      }
      common[i] = *std::move(both);
    }
  }
  for (size_t i = 0; i < common.size(); ++i) c.set_output_type(static_cast<int>(i), common[i]);
  return absl::OkStatus();
}

class IfKernel : public Kernel {
 public:
  IfKernel(std::unique_ptr<SubgraphRunner> then_branch, std::unique_ptr<SubgraphRunner> else_branch)
      : then_(std::move(then_branch)), else_(std::move(else_branch)) {}
  absl::Status Run(RunContext& r) const override {
    GR_ASSIGN_OR_RETURN(const bool condition, Truth(r.input_datum(0)));
    std::vector<const Datum*> inputs;
    AppendCaptures(r, 1, &inputs);
    std::vector<Datum> outputs;
    GR_RETURN_IF_ERROR((condition ? then_ : else_)->Run(inputs, &outputs, r.seed(), r.step()));
    for (size_t i = 0; i < outputs.size(); ++i)
      GR_RETURN_IF_ERROR(SetOutput(r, static_cast<int>(i), outputs[i]));
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<SubgraphRunner> then_, else_;
};

absl::StatusOr<std::unique_ptr<Kernel>> MakeIf(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(auto then_branch, c.Subgraph("then_branch"));
  GR_ASSIGN_OR_RETURN(auto else_branch, c.Subgraph("else_branch"));
  return std::unique_ptr<Kernel>(
      std::make_unique<IfKernel>(std::move(then_branch), std::move(else_branch)));
}

// Inputs: M, condition, carried values. The body: iteration, condition, carried values, captures
// -> condition, carried values, scan outputs.
absl::Status InferLoop(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Attr::GraphPtr body, RequiredGraph(c, "body"));
  const auto carried = static_cast<size_t>(std::max(c.num_inputs() - 2, 0));
  const size_t results = body->outputs().size();
  if (results < carried + 1 || static_cast<int>(results) - 1 < c.num_outputs()) {
    return c.Error("the body gives ", results, " values, but ", carried,
                   " values are carried and the node has ", c.num_outputs(), " outputs");
  }
  std::vector<Type> state;
  for (size_t i = 0; i < carried; ++i) state.push_back(c.input_type(static_cast<int>(i) + 2));
  std::vector<Type> outputs;
  // Sizes that change from iteration to iteration become unknown; each round makes at least one so.
  for (bool again = true; again;) {
    std::vector<Type> inputs = {Type::Tensor(DType::kInt64, Shape::Scalar()),
                                Type::Tensor(DType::kBool, Shape::Scalar())};
    inputs.insert(inputs.end(), state.begin(), state.end());
    std::vector<const Tensor*> constants;
    AppendCaptures(c, &inputs, &constants);
    GR_ASSIGN_OR_RETURN(outputs, c.InferSubgraph(*body, inputs, constants));
    again = false;
    for (size_t i = 0; i < carried; ++i) {
      auto both = CommonType(state[i], outputs[i + 1]);
      if (!both.ok()) {
        return c.Error("carried value ", i, " changes its type: ", both.status().message());
      }
      again |= !(*both == state[i]);
      state[i] = *std::move(both);
    }
  }
  for (size_t i = 0; i < carried; ++i) c.set_output_type(static_cast<int>(i), state[i]);
  for (size_t i = carried; i + 1 < outputs.size(); ++i) {
    const Type& slice = outputs[i + 1];
    Shape shape;
    if (slice.is_tensor() && slice.tensor.shape.has_rank()) {
      std::vector<Dim> dims = slice.tensor.shape.dims();
      dims.insert(dims.begin(), Dim());
      shape = Shape(std::move(dims));
    }
    c.set_output(static_cast<int>(i), slice.tensor.dtype, std::move(shape));
  }
  return absl::OkStatus();
}

class LoopKernel : public Kernel {
 public:
  LoopKernel(std::unique_ptr<SubgraphRunner> body, int inputs, std::vector<Type> slices)
      : body_(std::move(body)), inputs_(inputs), slices_(std::move(slices)) {}
  absl::Status Run(RunContext& r) const override {
    int64_t trips = kMaxLoopTrips;
    if (r.has_input(0)) {
      if (r.input(0).num_elements() != 1) return ModelError("the trip count M must be one number");
      trips = std::min(r.input(0).AsInt64s()[0], kMaxLoopTrips);
    }
    bool go = true;
    if (r.has_input(1)) {
      GR_ASSIGN_OR_RETURN(go, Truth(r.input_datum(1)));
    }
    std::vector<Datum> state;
    for (int i = 2; i < inputs_; ++i) state.push_back(r.has_input(i) ? r.input_datum(i) : Datum());
    std::vector<Stack> scans(slices_.size());
    Datum iteration{Tensor::Scalar<int64_t>(0)}, condition{Tensor::Scalar<bool>(true)};
    std::vector<Datum> outputs;
    for (int64_t i = 0; go && i < trips; ++i) {
      // New tensors: a body may hand its inputs on as outputs.
      iteration = Datum(Tensor::Scalar<int64_t>(i));
      condition = Datum(Tensor::Scalar<bool>(true));
      std::vector<const Datum*> inputs = {&iteration, &condition};
      for (const Datum& d : state) inputs.push_back(&d);
      AppendCaptures(r, inputs_, &inputs);
      GR_RETURN_IF_ERROR(Annotate(body_->Run(inputs, &outputs, r.seed(), r.step()),
                                  absl::StrCat("iteration ", i)));
      if (outputs.size() != 1 + state.size() + scans.size()) {
        return InternalError("the body gave ", outputs.size(), " values");
      }
      GR_ASSIGN_OR_RETURN(go, Truth(outputs[0]));
      for (size_t k = 0; k < scans.size(); ++k)
        GR_RETURN_IF_ERROR(scans[k].Add(outputs[1 + state.size() + k]));
      for (size_t k = 0; k < state.size(); ++k) state[k] = std::move(outputs[k + 1]);
    }
    for (size_t k = 0; k < state.size(); ++k)
      GR_RETURN_IF_ERROR(SetOutput(r, static_cast<int>(k), state[k]));
    for (size_t k = 0; k < scans.size(); ++k) {
      const auto o = static_cast<int>(state.size() + k);
      if (!r.has_output(o)) continue;
      GR_ASSIGN_OR_RETURN(Tensor whole, scans[k].Join(0, false, slices_[k]));
      GR_RETURN_IF_ERROR(SetOutput(r, o, Datum(std::move(whole))));
    }
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<SubgraphRunner> body_;
  int inputs_;
  std::vector<Type> slices_;
};

absl::StatusOr<std::unique_ptr<Kernel>> MakeLoop(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(auto runner, c.Subgraph("body"));
  const Attr::GraphPtr body = c.GraphAttr("body");
  const int carried = std::max(c.num_inputs() - 2, 0);
  std::vector<Type> slices(body->outputs().size() - 1 - static_cast<size_t>(carried));
  for (size_t k = 0; k < slices.size(); ++k) {
    const int o = carried + static_cast<int>(k);
    if (!c.has_output(o)) continue;
    slices[k] = c.output_type(o);
    Shape& shape = slices[k].tensor.shape;
    if (shape.has_rank() && shape.rank() > 0)
      shape = Shape(std::vector<Dim>(shape.dims().begin() + 1, shape.dims().end()));
  }
  return std::unique_ptr<Kernel>(
      std::make_unique<LoopKernel>(std::move(runner), c.num_inputs(), std::move(slices)));
}

// ---- graphs of the samples

Attr::GraphPtr Branch(const char* op) {
  auto g = std::make_shared<Graph>();
  g->name = op;
  Value* x = g->AddInput("captured", Type());
  g->AddOutput(g->AddNode({op, "", {x}, {"y"}, {}, "", 0, {}, {}})->output(0));
  return g;
}

// state' = state + state; scan output: state
Attr::GraphPtr DoublingBody() {
  auto g = std::make_shared<Graph>();
  g->name = "doubling";
  g->AddInput("i", Type());
  Value* condition = g->AddInput("condition", Type());
  Value* state = g->AddInput("state", Type());
  Value* next = g->AddNode({"Add", "", {state, state}, {"next"}, {}, "", 0, {}, {}})->output(0);
  Value* go = g->AddNode({"Identity", "", {condition}, {"go"}, {}, "", 0, {}, {}})->output(0);
  Value* seen = g->AddNode({"Identity", "", {state}, {"seen"}, {}, "", 0, {}, {}})->output(0);
  g->AddOutput(go);
  g->AddOutput(next);
  g->AddOutput(seen);
  return g;
}

Attr::GraphPtr Answer(float value) {
  auto g = std::make_shared<Graph>();
  g->name = "answer";
  g->AddOutput(
      g->AddNode({"Constant", "", {}, {"y"}, {{"value_float", value}}, "", 0, {}, {}})->output(0));
  return g;
}

}  // namespace

void RegisterControlFlowOps(OpRegistry& ops) {
  ops.Add(OpDef("If", 1)
              .Versions({1, 11, 13, 16, 19, 21, 23, 24, 25})
              .Input("cond", "bool")
              .Output("outputs", "any", Arity::kVariadic)
              .RequiredAttr("then_branch", Attr::Kind::kGraph)
              .RequiredAttr("else_branch", Attr::Kind::kGraph)
              .Infer(InferIf)
              .Kernel("native", MakeIf)
              .NotDifferentiable("which branch runs is known only at run time")
              .Try(Sample()
                       .In(Tensor::Scalar<bool>(true))
                       .Attr("then_branch", Answer(1))
                       .Attr("else_branch", Answer(2))
                       .Gives(Tensor::Scalar<float>(1)))
              .Try(Sample()
                       .In(Tensor::Scalar<bool>(false))
                       .Variable()
                       .Attr("then_branch", Answer(1))
                       .Attr("else_branch", Answer(2))
                       .Gives(Tensor::Scalar<float>(2)))
              .Try(Sample()
                       .In(Tensor::Scalar<bool>(false))
                       .Attr("then_branch", Branch("Neg"))
                       .Attr("else_branch", Answer(2))
                       .Variable()
                       .Refused("takes 1 values but is given 0")));
  const Tensor two = Tensor::Scalar<int64_t>(2), yes = Tensor::Scalar<bool>(true);
  ops.Add(OpDef("Loop", 1)
              .Versions({1, 11, 13, 16, 19, 21, 23, 24, 25})
              .Input("M", "int64", Arity::kOptional)
              .Input("cond", "bool", Arity::kOptional)
              .Input("v_initial", "any", Arity::kVariadic)
              .Output("v_final_and_scan_outputs", "any", Arity::kVariadic)
              .RequiredAttr("body", Attr::Kind::kGraph)
              .Infer(InferLoop)
              .Kernel("native", MakeLoop)
              .NotDifferentiable("the number of iterations is known only at run time")
              .Try(Sample()
                       .In(two)
                       .In(yes)
                       .In(Tensor::Int64s({1, 3}))
                       .Attr("body", DoublingBody())
                       .Outputs(2)
                       .Gives(Tensor::Int64s({4, 12}))
                       .Gives(Tensor::Of<int64_t>({2, 2}, {1, 3, 2, 6})))
              .Try(Sample()
                       .In(Tensor::Scalar<int64_t>(0))
                       .None()
                       .In({2})
                       .Attr("body", DoublingBody())
                       .Outputs(2)));
}

}  // namespace graphrun
