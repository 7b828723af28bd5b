// Scan: a graph that runs over the slices of tensors, carrying values along.
//
// Source: https://onnx.ai/onnx/operators/onnx__Scan.html (8, 9, 11, 16, ..., 25). Version 8 has a
// batch axis in front of everything and the length of each sequence of the batch as an input.
#include "ops/move.h"
#include "ops/subgraph.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// How the node's values divide. Inputs: `states` values, then `inputs` scanned ones.
struct ScanLayout {
  int first = 0;  // number of the first state: 1 in version 8, behind sequence_lens
  int states = 0, inputs = 0, outputs = 0;
  std::vector<int64_t> input_axes, input_directions, output_axes, output_directions;
};

absl::StatusOr<ScanLayout> LayoutOf(const NodeContext& c, int first) {
  const Attr::GraphPtr body = c.GraphAttr("body");
  if (body == nullptr) return c.Error("attribute body must be a graph");
  ScanLayout l;
  l.first = first;
  const int64_t n = c.Int("num_scan_inputs");
  if (n < 1 || n > c.num_inputs() - first) {
    return c.Error("num_scan_inputs is ", n, " but the node has ", c.num_inputs(), " inputs");
  }
  l.inputs = static_cast<int>(n);
  l.states = c.num_inputs() - first - l.inputs;
  l.outputs = static_cast<int>(body->outputs().size()) - l.states;
  if (l.outputs < 0 || c.num_outputs() > l.states + l.outputs) {
    return c.Error("the body gives ", body->outputs().size(), " values for ", l.states,
                   " states and ", c.num_outputs(), " outputs");
  }
  const auto list = [&](const char* name, int size, std::vector<int64_t>* out) -> absl::Status {
    *out = c.Ints(name);
    if (out->empty()) out->assign(static_cast<size_t>(size), 0);
    if (static_cast<int>(out->size()) != size) {
      return c.Error(name, " has ", out->size(), " elements but needs ", size);
    }
    return absl::OkStatus();
  };
  GR_RETURN_IF_ERROR(list("scan_input_axes", l.inputs, &l.input_axes));
  GR_RETURN_IF_ERROR(
      list(first > 0 ? "directions" : "scan_input_directions", l.inputs, &l.input_directions));
  GR_RETURN_IF_ERROR(list("scan_output_axes", l.outputs, &l.output_axes));
  GR_RETURN_IF_ERROR(list("scan_output_directions", l.outputs, &l.output_directions));
  return l;
}

Type WithoutAxis(Type t, int axis) {
  if (!t.is_tensor() || !t.tensor.shape.has_rank()) return t;
  std::vector<Dim> dims = t.tensor.shape.dims();
  dims.erase(dims.begin() + axis);
  t.tensor.shape = Shape(std::move(dims));
  return t;
}

Type WithAxis(Type t, int axis, Dim size) {
  if (!t.is_tensor() || !t.tensor.shape.has_rank()) return t;
  std::vector<Dim> dims = t.tensor.shape.dims();
  dims.insert(dims.begin() + axis, std::move(size));
  t.tensor.shape = Shape(std::move(dims));
  return t;
}

// The types of states and slices once through the body. `batch`: axes in front that the body does
// not see.
absl::Status InferScanBy(InferContext& c, const ScanLayout& l, int batch) {
  std::vector<Type> state, slices;
  Dim steps, count;
  for (int i = 0; i < l.states; ++i) {
    Type t = c.input_type(l.first + i);
    if (batch > 0 && t.tensor.shape.has_rank()) {
      if (t.tensor.shape.rank() < 1) return c.Error("state ", i, " has no batch axis");
      count = t.tensor.shape[0];
      t = WithoutAxis(t, 0);
    }
    state.push_back(std::move(t));
  }
  for (int i = 0; i < l.inputs; ++i) {
    Type t = c.input_type(l.first + l.states + i);
    if (t.tensor.shape.has_rank()) {
      GR_ASSIGN_OR_RETURN(const int axis, c.Axis(l.input_axes[static_cast<size_t>(i)],
                                                 t.tensor.shape.rank() - batch));
      const Dim& size = t.tensor.shape[axis + batch];
      if (steps.is_number() && size.is_number() && steps.value() != size.value()) {
        return c.Error("scan input ", i, " has ", size.value(), " slices but another has ",
                       steps.value());
      }
      if (!steps.is_number() && !size.is_unknown()) steps = size;
      t = WithoutAxis(t, axis + batch);
      if (batch > 0) t = WithoutAxis(t, 0);
    }
    slices.push_back(std::move(t));
  }
  std::vector<Type> inputs = state;
  inputs.insert(inputs.end(), slices.begin(), slices.end());
  std::vector<const Tensor*> constants;
  AppendCaptures(c, &inputs, &constants);
  GR_ASSIGN_OR_RETURN(std::vector<Type> outputs,
                      c.InferSubgraph(*c.GraphAttr("body"), inputs, constants));
  for (int i = 0; i < l.states; ++i) {
    auto both = CommonType(state[static_cast<size_t>(i)], outputs[static_cast<size_t>(i)]);
    if (!both.ok()) return c.Error("state ", i, " changes its type: ", both.status().message());
    c.set_output_type(i, batch > 0 ? WithAxis(*both, 0, count) : *both);
  }
  for (int i = 0; i < l.outputs; ++i) {
    Type t = outputs[static_cast<size_t>(l.states + i)];
    if (t.tensor.shape.has_rank()) {
      GR_ASSIGN_OR_RETURN(const int axis,
                          c.Axis(l.output_axes[static_cast<size_t>(i)], t.tensor.shape.rank() + 1));
      t = WithAxis(std::move(t), axis, steps);
      if (batch > 0) t = WithAxis(std::move(t), 0, count);
    }
    c.set_output_type(l.states + i, std::move(t));
  }
  return absl::OkStatus();
}

absl::Status InferScan(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const ScanLayout l, LayoutOf(c, 0));
  return InferScanBy(c, l, 0);
}
absl::Status InferScan8(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const ScanLayout l, LayoutOf(c, 1));
  return InferScanBy(c, l, 1);
}

// One run over the slices of `scanned`: `state` is replaced, `stacks` grow.
absl::Status Iterate(const SubgraphRunner& body, const ScanLayout& l, const RunContext& r,
                     int own_inputs, const std::vector<Tensor>& scanned, int64_t steps,
                     std::vector<Datum>* state, std::vector<Stack>* stacks) {
  std::vector<Datum> slices(scanned.size()), outputs;
  for (int64_t t = 0; t < steps; ++t) {
    std::vector<const Datum*> inputs;
    for (const Datum& d : *state) inputs.push_back(&d);
    for (size_t i = 0; i < scanned.size(); ++i) {
      GR_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(l.input_axes[i], scanned[i].rank()));
      const int64_t at = l.input_directions[i] != 0 ? steps - 1 - t : t;
      GR_ASSIGN_OR_RETURN(Tensor slice, SliceAt(scanned[i], static_cast<size_t>(axis), at));
      slices[i] = Datum(std::move(slice));
    }
    for (const Datum& d : slices) inputs.push_back(&d);
    AppendCaptures(r, own_inputs, &inputs);
    GR_RETURN_IF_ERROR(
        Annotate(body.Run(inputs, &outputs, r.seed(), r.step()), absl::StrCat("iteration ", t)));
    if (outputs.size() != state->size() + stacks->size()) {
      return InternalError("the body gave ", outputs.size(), " values");
    }
    for (size_t i = 0; i < stacks->size(); ++i)
      GR_RETURN_IF_ERROR((*stacks)[i].Add(outputs[state->size() + i]));
    for (size_t i = 0; i < state->size(); ++i) (*state)[i] = std::move(outputs[i]);
  }
  return absl::OkStatus();
}

// Slices along `axis`, the same number in every scanned input.
absl::StatusOr<int64_t> Steps(const ScanLayout& l, const std::vector<Tensor>& scanned) {
  int64_t steps = -1;
  for (size_t i = 0; i < scanned.size(); ++i) {
    GR_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(l.input_axes[i], scanned[i].rank()));
    const int64_t own = scanned[i].dim(axis);
    if (steps >= 0 && own != steps) {
      return ModelError("scan input ", i, " has ", own, " slices but another has ", steps);
    }
    steps = own;
  }
  return steps;
}

class ScanKernel : public Kernel {
 public:
  ScanKernel(std::unique_ptr<SubgraphRunner> body, ScanLayout layout, int inputs,
             std::vector<Type> slices)
      : body_(std::move(body)),
        l_(std::move(layout)),
        inputs_(inputs),
        slices_(std::move(slices)) {}

  absl::Status Run(RunContext& r) const override {
    std::vector<Datum> state;
    std::vector<Tensor> scanned;
    for (int i = 0; i < l_.states; ++i) state.push_back(r.input_datum(i));
    for (int i = 0; i < l_.inputs; ++i) scanned.push_back(r.input(l_.states + i));
    GR_ASSIGN_OR_RETURN(const int64_t steps, Steps(l_, scanned));
    std::vector<Stack> stacks(static_cast<size_t>(l_.outputs));
    GR_RETURN_IF_ERROR(Iterate(*body_, l_, r, inputs_, scanned, steps, &state, &stacks));
    for (size_t i = 0; i < state.size(); ++i)
      GR_RETURN_IF_ERROR(SetOutput(r, static_cast<int>(i), state[i]));
    for (size_t i = 0; i < stacks.size(); ++i) {
      const int o = l_.states + static_cast<int>(i);
      if (!r.has_output(o)) continue;
      GR_ASSIGN_OR_RETURN(Tensor whole, stacks[i].Join(l_.output_axes[i],
                                                       l_.output_directions[i] != 0, slices_[i]));
      GR_RETURN_IF_ERROR(SetOutput(r, o, Datum(std::move(whole))));
    }
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<SubgraphRunner> body_;
  ScanLayout l_;
  int inputs_;
  std::vector<Type> slices_;
};

// Each sequence of the batch on its own, up to its length; what lies beyond is zero.
class Scan8Kernel : public Kernel {
 public:
  Scan8Kernel(std::unique_ptr<SubgraphRunner> body, ScanLayout layout, int inputs)
      : body_(std::move(body)), l_(std::move(layout)), inputs_(inputs) {}

  absl::Status Run(RunContext& r) const override {
    const int64_t batch = r.input(l_.first).rank() > 0 ? r.input(l_.first).dim(0) : 0;
    const int64_t longest = r.input(l_.first + l_.states).dim(1);
    for (int64_t b = 0; b < batch; ++b) {
      std::vector<Datum> state;
      std::vector<Tensor> scanned;
      for (int i = 0; i < l_.states; ++i) {
        GR_ASSIGN_OR_RETURN(Tensor t, SliceAt(r.input(l_.first + i), 0, b));
        state.push_back(Datum(std::move(t)));
      }
      for (int i = 0; i < l_.inputs; ++i) {
        const Tensor& whole = r.input(l_.first + l_.states + i);
        if (whole.dim(0) != batch) return ModelError("the batches of the inputs differ");
        GR_ASSIGN_OR_RETURN(Tensor t, SliceAt(whole, 0, b));
        scanned.push_back(std::move(t));
      }
      GR_ASSIGN_OR_RETURN(int64_t steps, Steps(l_, scanned));
      if (r.has_input(0)) {
        const Tensor& lengths = r.input(0);
        if (lengths.num_elements() != batch)
          return ModelError("sequence_lens needs ", batch, " elements");
        const int64_t length = lengths.AsInt64s()[static_cast<size_t>(b)];
        if (length < 0 || length > steps) {
          return ModelError("element ", b, " of sequence_lens is ", length, " but there are ",
                            steps, " slices");
        }
        steps = length;
      }
      std::vector<Stack> stacks(static_cast<size_t>(l_.outputs));
      GR_RETURN_IF_ERROR(Iterate(*body_, l_, r, inputs_, scanned, steps, &state, &stacks));
      for (int i = 0; i < l_.states; ++i)
        GR_RETURN_IF_ERROR(Place(r, i, state[static_cast<size_t>(i)].tensor, batch, b));
      for (int i = 0; i < l_.outputs; ++i) {
        if (!r.has_output(l_.states + i)) continue;
        GR_ASSIGN_OR_RETURN(
            const Tensor part,
            stacks[static_cast<size_t>(i)].Join(0, false, Type::Tensor(DType::kFloat32, Shape())));
        Dims dims = part.dims();
        dims[0] = longest;
        GR_ASSIGN_OR_RETURN(Tensor padded, Tensor::Allocate(part.dtype(), dims));
        FillAll(Tensor::Zeros(part.dtype(), {}), padded);
        DispatchRows(part.dtype(), [&]<typename W>(int64_t scale) {
          CopyRow(static_cast<const W*>(part.raw()), static_cast<W*>(padded.mutable_raw()),
                  part.num_elements() * scale);
        });
        GR_RETURN_IF_ERROR(Place(r, l_.states + i, padded, batch, b));
      }
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status Place(RunContext& r, int o, const Tensor& part, int64_t batch, int64_t b) {
    if (!r.has_output(o)) return absl::OkStatus();
    Dims dims = part.dims();
    dims.insert(dims.begin(), batch);
    GR_RETURN_IF_ERROR(r.ResizeOutput(o, part.dtype(), dims));
    WriteSlice(part, r.output(o), 0, b);
    return absl::OkStatus();
  }

  std::unique_ptr<SubgraphRunner> body_;
  ScanLayout l_;
  int inputs_;
};

absl::StatusOr<std::unique_ptr<Kernel>> MakeScan(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(ScanLayout l, LayoutOf(c, 0));
  GR_ASSIGN_OR_RETURN(auto body, c.Subgraph("body"));
  std::vector<Type> slices(static_cast<size_t>(l.outputs));
  for (int i = 0; i < l.outputs; ++i) {
    if (!c.has_output(l.states + i)) continue;
    const Type& t = c.output_type(l.states + i);
    const Shape& shape = t.tensor.shape;
    if (!shape.has_rank()) {
      slices[static_cast<size_t>(i)] = t;
      continue;
    }
    GR_ASSIGN_OR_RETURN(const int axis,
                        NormalizeAxis(l.output_axes[static_cast<size_t>(i)], shape.rank()));
    slices[static_cast<size_t>(i)] = WithoutAxis(t, axis);
  }
  return std::unique_ptr<Kernel>(std::make_unique<ScanKernel>(std::move(body), std::move(l),
                                                              c.num_inputs(), std::move(slices)));
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeScan8(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(ScanLayout l, LayoutOf(c, 1));
  GR_ASSIGN_OR_RETURN(auto body, c.Subgraph("body"));
  return std::unique_ptr<Kernel>(
      std::make_unique<Scan8Kernel>(std::move(body), std::move(l), c.num_inputs()));
}

// sum' = sum + slice; scan output: sum'
Attr::GraphPtr SummingBody() {
  auto g = std::make_shared<Graph>();
  g->name = "summing";
  Value* sum = g->AddInput("sum", Type());
  Value* slice = g->AddInput("slice", Type());
  Value* next = g->AddNode({"Add", "", {sum, slice}, {"next"}, {}, "", 0, {}, {}})->output(0);
  Value* seen = g->AddNode({"Identity", "", {next}, {"seen"}, {}, "", 0, {}, {}})->output(0);
  g->AddOutput(next);
  g->AddOutput(seen);
  return g;
}

OpDef ScanSince(int since) {
  return OpDef("Scan", since)
      .Output("final_state_and_scan_outputs", "any", Arity::kVariadic)
      .RequiredAttr("body", Attr::Kind::kGraph)
      .RequiredAttr("num_scan_inputs", Attr::Kind::kInt)
      .NotDifferentiable("no rule for graphs in attributes");
}

}  // namespace

void RegisterScanOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  ops.Add(ScanSince(8)
              .Input("sequence_lens", "int64", Arity::kOptional)
              .Input("initial_state_and_scan_inputs", "any", Arity::kVariadic)
              .Attr("directions", Attr::Kind::kInts)
              .Infer(InferScan8)
              .Kernel("native", MakeScan8)
              .Try(Sample()
                       .None()
                       .In({2, 3})
                       .In({2, 4, 3})
                       .Attr("body", SummingBody())
                       .Attr("num_scan_inputs", 1)
                       .Outputs(2)));
  ops.Add(ScanSince(9)
              .Versions({9, 11, 16, 19, 21, 23, 24, 25})
              .Input("initial_state_and_scan_inputs", "any", Arity::kVariadic)
              .Attr("scan_input_axes", Attr::Kind::kInts)
              .Attr("scan_input_directions", Attr::Kind::kInts)
              .Attr("scan_output_axes", Attr::Kind::kInts)
              .Attr("scan_output_directions", Attr::Kind::kInts)
              .Infer(InferScan)
              .Kernel("native", MakeScan)
              .Try(Sample()
                       .In(Tensor::Int64s({0, 0}))
                       .In(Tensor::Of<int64_t>({3, 2}, {1, 2, 3, 4, 5, 6}))
                       .Attr("body", SummingBody())
                       .Attr("num_scan_inputs", 1)
                       .Outputs(2)
                       .Gives(Tensor::Int64s({9, 12}))
                       .Gives(Tensor::Of<int64_t>({3, 2}, {1, 2, 4, 6, 9, 12})))
              .Try(Sample()
                       .In({3})
                       .In({3, 2})
                       .Attr("body", SummingBody())
                       .Attr("num_scan_inputs", 1)
                       .Attr("scan_input_axes", Ints{-1})
                       .Attr("scan_input_directions", Ints{1})
                       .Attr("scan_output_axes", Ints{1})
                       .Attr("scan_output_directions", Ints{1})
                       .Outputs(2))
              .Try(Sample()
                       .In({2})
                       .In({0, 2})
                       .Attr("body", SummingBody())
                       .Attr("num_scan_inputs", 1)
                       .Outputs(2))
              .Try(Sample()
                       .In({2})
                       .In({1, 2})
                       .Attr("body", SummingBody())
                       .Attr("num_scan_inputs", 3)
                       .Outputs(2)
                       .Refused("num_scan_inputs is 3")));
}

}  // namespace graphrun
