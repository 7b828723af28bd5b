// SequenceConstruct, -Empty, -At, -Insert, -Erase, -Length, -Map, SplitToSequence,
// ConcatFromSequence: lists of tensors.
//
// Source: https://onnx.ai/onnx/operators (Sequence* 11; SequenceMap 17; SplitToSequence 11, 24;
// ConcatFromSequence 11). Tensors are copied when they enter a sequence; sequences share them.
#include "ops/move.h"
#include "ops/strided.h"
#include "ops/subgraph.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// The type of the elements of input i, unknown where that is no sequence.
Type ElementType(const InferContext& c, int i) {
  const Type& t = c.input_type(i);
  return t.kind == Type::Kind::kSequence && t.element ? *t.element : Type();
}

absl::Status CheckSequence(const InferContext& c, int i) {
  const Type& t = c.input_type(i);
  if (!t.is_known() || t.kind == Type::Kind::kSequence) return absl::OkStatus();
  return c.Error("input ", i, " is ", t.ToString(), " but must be a sequence");
}

absl::Status SetSequence(InferContext& c, int o, Type element) {
  if (!element.is_known()) element = Type::Tensor(DType::kUndefined, Shape());
  c.set_output_type(o, Type::SequenceOf(std::move(element)));
  return absl::OkStatus();
}

// A tensor's elements under memory of their own: what enters a sequence must outlive the plan's
// buffers.
absl::StatusOr<Datum> Owned(const Datum& d) {
  if (!d.is_tensor()) return d;
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(d.tensor.dtype(), d.tensor.dims()));
  CopyAll(d.tensor, t);
  return Datum(std::move(t));
}

// Element `position` of [0, n), counted from the end where negative. `n` itself is allowed where
// `insert`.
absl::StatusOr<size_t> Position(const Datum& d, size_t n, bool insert) {
  if (d.tensor.num_elements() != 1) return ModelError("the position must be one number");
  const int64_t asked = d.tensor.AsInt64s()[0], size = static_cast<int64_t>(n);
  const int64_t at = asked < 0 ? asked + size : asked;
  if (at < 0 || at > size - (insert ? 0 : 1)) {
    return ModelError("position ", asked, " is outside a sequence of ", n, " elements");
  }
  return static_cast<size_t>(at);
}

absl::Status InferConstruct(InferContext& c) {
  Type element;
  for (int i = 0; i < c.num_inputs(); ++i) {
    auto both = CommonType(element, c.input_type(i));
    if (!both.ok()) return Annotate(both.status(), c.node().Describe());
    element = *std::move(both);
  }
  return SetSequence(c, 0, std::move(element));
}

absl::StatusOr<std::unique_ptr<Kernel>> ConstructKernel(PrepareContext&) {
  return MakeKernel([](RunContext& r) -> absl::Status {
    std::vector<Datum> items;
    for (int i = 0; i < r.num_inputs(); ++i) {
      GR_ASSIGN_OR_RETURN(Datum d, Owned(r.input_datum(i)));
      items.push_back(std::move(d));
    }
    const DType dtype = items.empty() ? DType::kUndefined : items[0].tensor.dtype();
    r.output_datum(0) = Datum::Sequence(std::move(items), dtype);
    return absl::OkStatus();
  });
}

absl::StatusOr<DType> EmptyDtype(const NodeContext& c) {
  const int64_t dtype = c.Int("dtype", 1);
  if (dtype < 1 || dtype > INT32_MAX || !IsValidDType(static_cast<int32_t>(dtype)))
    return c.Error("attribute dtype is ", dtype, ", which is no element type");
  return static_cast<DType>(dtype);
}

absl::Status InferEmpty(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const DType dtype, EmptyDtype(c));
  return SetSequence(c, 0, Type::Tensor(dtype, Shape()));
}

absl::StatusOr<std::unique_ptr<Kernel>> EmptyKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const DType dtype, EmptyDtype(c));
  return MakeKernel([dtype](RunContext& r) {
    r.output_datum(0) = Datum::Sequence({}, dtype);
    return absl::OkStatus();
  });
}

absl::Status InferAt(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckSequence(c, 0));
  c.set_output_type(0, ElementType(c, 0));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> AtKernel(PrepareContext&) {
  return MakeKernel([](RunContext& r) -> absl::Status {
    const std::vector<Datum>& items = r.input_datum(0).items;
    GR_ASSIGN_OR_RETURN(const size_t at, Position(r.input_datum(1), items.size(), false));
    return SetOutput(r, 0, items[at]);
  });
}

absl::Status InferInsert(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckSequence(c, 0));
  auto both = CommonType(ElementType(c, 0), c.input_type(1));
  if (!both.ok()) return Annotate(both.status(), c.node().Describe());
  return SetSequence(c, 0, *std::move(both));
}

absl::StatusOr<std::unique_ptr<Kernel>> InsertKernel(PrepareContext&) {
  return MakeKernel([](RunContext& r) -> absl::Status {
    std::vector<Datum> items = r.input_datum(0).items;
    size_t at = items.size();
    if (r.has_input(2)) {
      GR_ASSIGN_OR_RETURN(at, Position(r.input_datum(2), items.size(), true));
    }
    GR_ASSIGN_OR_RETURN(Datum d, Owned(r.input_datum(1)));
    const DType dtype = d.tensor.dtype();
    items.insert(items.begin() + static_cast<std::ptrdiff_t>(at), std::move(d));
    r.output_datum(0) = Datum::Sequence(std::move(items), dtype);
    return absl::OkStatus();
  });
}

absl::Status InferErase(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckSequence(c, 0));
  return SetSequence(c, 0, ElementType(c, 0));
}

absl::StatusOr<std::unique_ptr<Kernel>> EraseKernel(PrepareContext&) {
  return MakeKernel([](RunContext& r) -> absl::Status {
    Datum sequence = r.input_datum(0);
    size_t at = sequence.items.size() - 1;
    if (r.has_input(1)) {
      GR_ASSIGN_OR_RETURN(at, Position(r.input_datum(1), sequence.items.size(), false));
    }
    if (sequence.items.empty()) return ModelError("an empty sequence has no element to erase");
    sequence.items.erase(sequence.items.begin() + static_cast<std::ptrdiff_t>(at));
    r.output_datum(0) = std::move(sequence);
    return absl::OkStatus();
  });
}

absl::Status InferLength(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckSequence(c, 0));
  c.set_output(0, DType::kInt64, Shape::Scalar());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> LengthKernel(PrepareContext&) {
  return MakeKernel([](RunContext& r) {
    r.output(0).mutable_data<int64_t>()[0] = static_cast<int64_t>(r.input_datum(0).items.size());
    return absl::OkStatus();
  });
}

absl::Status InferSplitToSequence(InferContext& c) {
  Shape shape = c.input_shape(0);
  if (shape.has_rank()) {
    GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis"), shape.rank()));
    if (c.has_input(1)) {
      shape[axis] = Dim();
    } else if (c.Int("keepdims") != 0) {
      shape[axis] = Dim(1);
    } else {
      std::vector<Dim> dims = shape.dims();
      dims.erase(dims.begin() + axis);
      shape = Shape(std::move(dims));
    }
  }
  return SetSequence(c, 0, Type::Tensor(c.input_dtype(0), std::move(shape)));
}

absl::StatusOr<std::unique_ptr<Kernel>> SplitToSequenceKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const int normal, NormalizeAxis(c.Int("axis"), static_cast<int>(x.size())));
  const bool keep = c.Int("keepdims") != 0 || c.has_input(1);
  return MakeKernel([axis = static_cast<size_t>(normal), keep](RunContext& r) -> absl::Status {
    const Tensor& x = r.input(0);
    const int64_t whole = x.dims()[axis];
    std::vector<int64_t> sizes;
    if (r.has_input(1) && r.input(1).rank() > 0) {
      sizes = r.input(1).AsInt64s();
      int64_t sum = 0;
      for (const int64_t s : sizes) {
        if (s < 0 || s > whole - sum) {
          return ModelError("split ", DimsToString(sizes), " does not divide an axis of size ",
                            whole);
        }
        sum += s;
      }
      if (sum != whole) {
        return ModelError("split ", DimsToString(sizes), " adds up to ", sum,
                          " but the axis has size ", whole);
      }
    } else {
      const int64_t size = r.has_input(1) ? r.input(1).AsInt64s()[0] : 1;
      if (size < 1) return ModelError("split is ", size, " but must be at least 1");
      for (int64_t rest = whole; rest > 0; rest -= sizes.back())
        sizes.push_back(std::min(size, rest));
    }
    std::vector<Datum> items;
    int64_t at = 0;
    for (const int64_t size : sizes) {
      StridedView view{0, x.dims(), RowMajorStrides(x.dims())};
      view.offset = at * view.strides[axis];
      view.dims[axis] = size;
      Dims dims = view.dims;
      if (!keep) dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(axis));
      GR_ASSIGN_OR_RETURN(Tensor part, Tensor::Allocate(x.dtype(), std::move(dims)));
      GatherView(x.dtype(), x.raw(), view, part.mutable_raw());
      items.push_back(Datum(std::move(part)));
      at += size;
    }
    r.output_datum(0) = Datum::Sequence(std::move(items), x.dtype());
    return absl::OkStatus();
  });
}

absl::Status InferConcatFromSequence(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckSequence(c, 0));
  const Type element = ElementType(c, 0);
  Shape shape = element.tensor.shape;
  const bool stack = c.Int("new_axis") != 0;
  if (shape.has_rank()) {
    GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis"), shape.rank() + (stack ? 1 : 0)));
    std::vector<Dim> dims = shape.dims();
    if (stack) dims.insert(dims.begin() + axis, Dim());
    dims[static_cast<size_t>(axis)] = Dim();
    shape = Shape(std::move(dims));
  }
  c.set_output(0, element.tensor.dtype, std::move(shape));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> ConcatFromSequenceKernel(PrepareContext& c) {
  const int64_t asked = c.Int("axis");
  const bool stack = c.Int("new_axis") != 0;
  return MakeKernel([asked, stack](RunContext& r) -> absl::Status {
    const std::vector<Datum>& items = r.input_datum(0).items;
    if (items.empty()) return ModelError("an empty sequence cannot be joined");
    Dims dims = items[0].tensor.dims();
    const int rank = static_cast<int>(dims.size()) + (stack ? 1 : 0);
    GR_ASSIGN_OR_RETURN(const int normal, NormalizeAxis(asked, rank));
    const auto axis = static_cast<size_t>(normal);
    if (stack) dims.insert(dims.begin() + normal, 1);
    Dims whole = dims;
    whole[axis] = 0;
    for (const Datum& item : items) {
      Dims own = item.tensor.dims();
      if (stack && own.size() + 1 == dims.size()) own.insert(own.begin() + normal, 1);
      bool fits = own.size() == dims.size() && item.tensor.dtype() == items[0].tensor.dtype();
      for (size_t a = 0; fits && a < own.size(); ++a) fits = a == axis || own[a] == dims[a];
      if (!fits) {
        return ModelError("elements ", items[0].tensor.type().ToString(), " and ",
                          item.tensor.type().ToString(), " of the sequence cannot be joined along ",
                          asked);
      }
      whole[axis] += own[axis];
    }
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, items[0].tensor.dtype(), whole));
    int64_t at = 0;
    for (const Datum& item : items) {
      StridedView view{0, whole, RowMajorStrides(whole)};
      view.offset = at * view.strides[axis];
      view.dims[axis] = stack ? 1 : item.tensor.dims()[axis];
      at += view.dims[axis];
      ScatterView(item.tensor.dtype(), item.tensor.raw(), r.output(0).mutable_raw(), view);
    }
    return absl::OkStatus();
  });
}

absl::Status InferMap(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckSequence(c, 0));
  const Attr::GraphPtr body = c.GraphAttr("body");
  if (body == nullptr) return c.Error("attribute body must be a graph");
  std::vector<Type> inputs;
  for (int i = 0; i < c.num_inputs(); ++i) {
    const bool sequence = c.input_type(i).kind == Type::Kind::kSequence;
    inputs.push_back(sequence ? ElementType(c, i) : c.input_type(i));
  }
  std::vector<const Tensor*> constants;
  AppendCaptures(c, &inputs, &constants);
  GR_ASSIGN_OR_RETURN(std::vector<Type> outputs, c.InferSubgraph(*body, inputs, constants));
  if (static_cast<int>(outputs.size()) < c.num_outputs()) {
    return c.Error("the body gives ", outputs.size(), " values but the node has ", c.num_outputs(),
                   " outputs");
  }
  for (size_t o = 0; o < outputs.size(); ++o)
    GR_RETURN_IF_ERROR(SetSequence(c, static_cast<int>(o), outputs[o]));
  return absl::OkStatus();
}

class MapKernel : public Kernel {
 public:
  MapKernel(std::unique_ptr<SubgraphRunner> body, int inputs, std::vector<DType> dtypes)
      : body_(std::move(body)), inputs_(inputs), dtypes_(std::move(dtypes)) {}
  absl::Status Run(RunContext& r) const override {
    const size_t n = r.input_datum(0).items.size();
    std::vector<std::vector<Datum>> results(dtypes_.size());
    for (size_t k = 0; k < n; ++k) {
      std::vector<const Datum*> inputs;
      for (int i = 0; i < inputs_; ++i) {
        const Datum& d = r.input_datum(i);
        if (d.kind == Type::Kind::kSequence && k >= d.items.size()) {
          return ModelError("input ", i, " has ", d.items.size(), " elements but input 0 has ", n);
        }
        inputs.push_back(d.kind == Type::Kind::kSequence ? &d.items[k] : &d);
      }
      AppendCaptures(r, inputs_, &inputs);
      std::vector<Datum> outputs;
      GR_RETURN_IF_ERROR(
          Annotate(body_->Run(inputs, &outputs, r.seed(), r.step()), absl::StrCat("element ", k)));
      for (size_t o = 0; o < results.size() && o < outputs.size(); ++o)
        results[o].push_back(std::move(outputs[o]));
    }
    for (size_t o = 0; o < results.size(); ++o) {
      if (!r.has_output(static_cast<int>(o))) continue;
      const DType dtype = results[o].empty() ? dtypes_[o] : results[o][0].tensor.dtype();
      r.output_datum(static_cast<int>(o)) = Datum::Sequence(std::move(results[o]), dtype);
    }
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<SubgraphRunner> body_;
  int inputs_;
  std::vector<DType> dtypes_;
};

absl::StatusOr<std::unique_ptr<Kernel>> MakeMap(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(auto body, c.Subgraph("body"));
  std::vector<DType> dtypes;
  for (int o = 0; o < c.num_outputs(); ++o) {
    const bool known = c.has_output(o) && c.output_type(o).element;
    dtypes.push_back(known ? c.output_type(o).element->tensor.dtype : DType::kUndefined);
  }
  return std::unique_ptr<Kernel>(
      std::make_unique<MapKernel>(std::move(body), c.num_inputs(), std::move(dtypes)));
}

Attr::GraphPtr Doubling() {
  auto g = std::make_shared<Graph>();
  g->name = "doubling";
  Value* x = g->AddInput("x", Type());
  g->AddOutput(g->AddNode({"Add", "", {x, x}, {"y"}, {}, "", 0, {}, {}})->output(0));
  return g;
}

Datum Pair() {
  return Datum::Sequence(
      {Datum(Tensor::Of<float>({1, 2}, {1, 2})), Datum(Tensor::Of<float>({2, 2}, {3, 4, 5, 6}))},
      DType::kFloat32);
}

Datum Counts() {
  return Datum::Sequence(
      {Datum(Tensor::Of<int64_t>({1}, {1})), Datum(Tensor::Of<int64_t>({2}, {3, 4}))},
      DType::kInt64);
}

constexpr const char* kWhy = "gradients do not flow through sequences";

}  // namespace

void RegisterSequenceOps(OpRegistry& ops) {
  const Tensor one = Tensor::Scalar<int64_t>(1);
  const Tensor row = Tensor::Of<float>({1, 2}, {7, 8});
  ops.Add(OpDef("SequenceConstruct", 11)
              .Input("inputs", "T", Arity::kVariadic)
              .Output("output_sequence", "any")
              .Types("T", kAnyType)
              .Infer(InferConstruct)
              .Kernel("native", ConstructKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample().In({2}).In({3})));
  ops.Add(OpDef("SequenceEmpty", 11)
              .Output("output", "any")
              .Attr("dtype", 1)
              .Infer(InferEmpty)
              .Kernel("native", EmptyKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample())
              .Try(Sample().Attr("dtype", 99).Refused("no element type")));
  ops.Add(OpDef("SequenceAt", 11)
              .Input("input_sequence", "any")
              .Input("position", "I")
              .Output("tensor", "any")
              .Types("I", kIndices)
              .Infer(InferAt)
              .Kernel("native", AtKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample()
                       .Container(Pair())
                       .In(Tensor::Scalar<int64_t>(-2))
                       .Gives(Tensor::Of<float>({1, 2}, {1, 2})))
              .Try(Sample().Container(Pair()).In(Tensor::Scalar<int64_t>(2)).Refused("outside")));
  ops.Add(OpDef("SequenceInsert", 11)
              .Input("input_sequence", "any")
              .Input("tensor", "T")
              .Input("position", "I", Arity::kOptional)
              .Output("output_sequence", "any")
              .Types("T", kAnyType)
              .Types("I", kIndices)
              .Infer(InferInsert)
              .Kernel("native", InsertKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample().Container(Counts()).In(Tensor::Of<int64_t>({2}, {8, 9})))
              .Try(Sample().Container(Counts()).In(Tensor::Of<int64_t>({1}, {8})).In(one))
              .Try(Sample()
                       .Container(Pair())
                       .In(Tensor::Of<int32_t>({1}, {1}))
                       .Refused("element types")));
  ops.Add(OpDef("SequenceErase", 11)
              .Input("input_sequence", "any")
              .Input("position", "I", Arity::kOptional)
              .Output("output_sequence", "any")
              .Types("I", kIndices)
              .Infer(InferErase)
              .Kernel("native", EraseKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample().Container(Pair()).In(one))
              .Try(Sample().Container(Pair())));
  ops.Add(OpDef("SequenceLength", 11)
              .Input("input_sequence", "any")
              .Output("length", "int64")
              .Infer(InferLength)
              .Kernel("native", LengthKernel)
              .NotDifferentiable("integer result")
              .Try(Sample().Container(Pair()).Gives(Tensor::Scalar<int64_t>(2)))
              .Try(Sample().In({2}).Refused("must be a sequence")));
  ops.Add(OpDef("SplitToSequence", 11)
              .Versions({11, 24})
              .Input("input", "T")
              .Input("split", "I", Arity::kOptional)
              .Output("output_sequence", "any")
              .Attr("axis", 0)
              .Attr("keepdims", 1)
              .Types("T", kAnyType)
              .Types("I", kIndices)
              .Infer(InferSplitToSequence)
              .Kernel("native", SplitToSequenceKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample().In({3, 2}).Attr("keepdims", 0))
              .Try(Sample().In({3, 2}).In(Tensor::Int64s({1, 2})))
              .Try(Sample().In({3}).In(Tensor::Int64s({1, 1})).Refused("adds up to 2")));
  ops.Add(OpDef("ConcatFromSequence", 11)
              .Input("input_sequence", "any")
              .Output("concat_result", "any")
              .RequiredAttr("axis", Attr::Kind::kInt)
              .Attr("new_axis", 0)
              .Infer(InferConcatFromSequence)
              .Kernel("native", ConcatFromSequenceKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample().Container(Pair()).Attr("axis", 0).Gives(
                  Tensor::Of<float>({3, 2}, {1, 2, 3, 4, 5, 6})))
              .Try(Sample()
                       .Container(Datum::Sequence({Datum(row), Datum(row)}, DType::kFloat32))
                       .Attr("axis", -1)
                       .Attr("new_axis", 1)
                       .Gives(Tensor::Of<float>({1, 2, 2}, {7, 7, 8, 8})))
              .Try(Sample().Container(Pair()).Attr("axis", 1).Refused("cannot be joined")));
  ops.Add(OpDef("SequenceMap", 17)
              .Input("input_sequence", "any")
              .Input("additional_inputs", "any", Arity::kVariadic)
              .Output("out_sequence", "any", Arity::kVariadic)
              .RequiredAttr("body", Attr::Kind::kGraph)
              .Infer(InferMap)
              .Kernel("native", MakeMap)
              .NotDifferentiable(kWhy)
              .Try(Sample().Container(Pair()).Attr("body", Doubling())));
}

}  // namespace graphrun
