// OneHot, EyeLike, Trilu: tensors made or masked by position.
//
// Source: https://onnx.ai/onnx/operators (OneHot 9, 11; EyeLike 9, 22; Trilu 14). OneHot's indices
// outside [-depth, depth) give a row of off values.
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<int64_t> Depth(const Tensor& t) {
  if (t.num_elements() != 1) return ModelError("depth must be one number, not ", t.num_elements());
  const double depth = t.AsDouble(0);
  if (!(depth >= 0 && depth < 9e15)) return ModelError("depth is ", depth, ", which is no size");
  return static_cast<int64_t>(depth);
}

absl::Status InferOneHot(InferContext& c) {
  const Shape& indices = c.input_shape(0);
  const Shape& values = c.input_shape(2);
  if (values.is_concrete() && !(values == Shape::Of({2}))) {
    return c.Error("values has shape ", values.ToString(), " but must be [2]: off and on");
  }
  if (!indices.has_rank()) {
    c.set_output(0, c.input_dtype(2), Shape());
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis"), indices.rank() + 1));
  Dim depth;
  if (const Tensor* t = c.constant(1)) {
    const auto number = Depth(*t);
    if (!number.ok()) return Annotate(number.status(), c.node().Describe());
    depth = Dim(*number);
  } else if (const auto sizes = c.sizes(1); sizes && sizes->size() == 1) {
    depth = (*sizes)[0];
  }
  std::vector<Dim> dims = indices.dims();
  dims.insert(dims.begin() + axis, depth);
  c.set_output(0, c.input_dtype(2), Shape(std::move(dims)));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> OneHotKernel(PrepareContext& c) {
  const Dims indices = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const int axis,
                      NormalizeAxis(c.Int("axis"), static_cast<int>(indices.size()) + 1));
  return MakeKernel([indices, axis](RunContext& r) -> absl::Status {
    GR_ASSIGN_OR_RETURN(const int64_t depth, Depth(r.input(1)));
    Dims out = indices;
    out.insert(out.begin() + axis, depth);
    const DType dtype = r.input(2).dtype();
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, dtype, out));
    const int64_t outer =
        Product(absl::MakeConstSpan(indices).subspan(0, static_cast<size_t>(axis)));
    const int64_t inner = Product(absl::MakeConstSpan(indices).subspan(static_cast<size_t>(axis)));
    const Tensor& at = r.input(0);
    DispatchWidth(dtype, [&]<typename W>() {
      const W* values = static_cast<const W*>(r.input(2).raw());
      W* y = static_cast<W*>(r.output(0).mutable_raw());
      ParallelFor(
          outer, std::max<int64_t>(16384 / std::max<int64_t>(depth * inner, 1), 1),
          [&](int64_t begin, int64_t end) {
            std::fill(y + begin * depth * inner, y + end * depth * inner, values[0]);
            for (int64_t i = begin * inner; i < end * inner; ++i) {
              const double number = at.AsDouble(i);
              if (!(number >= -static_cast<double>(depth) && number < static_cast<double>(depth)))
                continue;
              auto index = static_cast<int64_t>(number);
              if (index < 0) index += depth;
              y[(i / inner * depth + index) * inner + i % inner] = values[1];
            }
          });
    });
    return absl::OkStatus();
  });
}

absl::Status InferEyeLike(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && x.rank() != 2) {
    return c.Error("the input has shape ", x.ToString(), " but must be a matrix");
  }
  const int64_t number = c.Int("dtype", static_cast<int64_t>(c.input_dtype(0)));
  if (number < 0 || number > INT32_MAX || !IsValidDType(static_cast<int32_t>(number)) ||
      static_cast<DType>(number) == DType::kString) {
    return c.Error("attribute dtype is ", number, ", which is no element type of a matrix");
  }
  c.set_output(0, static_cast<DType>(number), x.has_rank() ? x : Shape::UnknownOfRank(2));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> EyeLikeKernel(PrepareContext& c) {
  const DType dtype = c.output_dtype(0);
  Tensor one = Tensor::Zeros(dtype, {});
  using Types = Concat<NumericTypes, Concat<SmallFloatTypes, SmallIntTypes>>;
  const bool known = DispatchDType(
      Types(), dtype, [&]<typename T>() { *one.mutable_data<T>() = T(Compute<T>(1)); });
  if (!known && dtype != DType::kBool) return nullptr;
  if (!known) *one.mutable_data<bool>() = true;
  return MakeKernel([one, k = c.Int("k")](RunContext& r) {
    FillAll(Tensor::Zeros(one.dtype(), {}), r.output(0));
    const int64_t rows = r.output(0).dim(0), columns = r.output(0).dim(1);
    DispatchWidth(one.dtype(), [&]<typename W>() {
      W* y = static_cast<W*>(r.output(0).mutable_raw());
      const W v = *static_cast<const W*>(one.raw());
      if (k > columns || k < -rows) return;
      for (int64_t i = std::max<int64_t>(-k, 0); i < rows && i + k < columns; ++i)
        y[i * columns + i + k] = v;
    });
    return absl::OkStatus();
  });
}

absl::Status InferTrilu(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && x.rank() < 2) {
    return c.Error("the input has shape ", x.ToString(), " but must have at least two axes");
  }
  return SameAsInput(c);
}

absl::StatusOr<std::unique_ptr<Kernel>> TriluKernel(PrepareContext& c) {
  const bool upper = c.Int("upper") != 0;
  return MakeKernel([upper](RunContext& r) {
    const Tensor& x = r.input(0);
    const int64_t rows = x.dim(x.rank() - 2), columns = x.dim(x.rank() - 1);
    if (x.num_elements() == 0) return absl::OkStatus();
    const bool has_k = r.has_input(1) && r.input(1).num_elements() > 0;
    const int64_t k =
        std::clamp<int64_t>(has_k ? r.input(1).AsInt64s()[0] : 0, -rows - 1, columns + 1);
    DispatchWidth(x.dtype(), [&]<typename W>() {
      const W* from = static_cast<const W*>(x.raw());
      W* to = static_cast<W*>(r.output(0).mutable_raw());
      ParallelFor(x.num_elements() / columns, RowGrain(columns * static_cast<int64_t>(sizeof(W))),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) {
                      // Elements before `cut` lie below the diagonal, those after it above.
                      const int64_t cut =
                          std::clamp<int64_t>(i % rows + k + (upper ? 0 : 1), 0, columns);
                      const W* x_row = from + i * columns;
                      W* y_row = to + i * columns;
                      const int64_t first = upper ? cut : 0, last = upper ? columns : cut;
                      if (x_row != y_row) CopyRow(x_row + first, y_row + first, last - first);
                      std::fill(y_row, y_row + first, W{});
                      std::fill(y_row + last, y_row + columns, W{});
                    }
                  });
    });
    return absl::OkStatus();
  });
}

}  // namespace

void RegisterOneHotOps(OpRegistry& ops) {
  const Tensor off_on = Tensor::Of<float>({2}, {0, 3});
  const Tensor depth = Tensor::Scalar<int64_t>(3);
  ops.Add(OpDef("OneHot", 9)
              .Versions({9, 11})
              .Input("indices", "T1")
              .Input("depth", "T2")
              .Input("values", "T3")
              .Output("output", "T3")
              .Attr("axis", -1)
              .Types("T1", kNumeric)
              .Types("T2", kNumeric)
              .Types("T3", kAnyType)
              .Infer(InferOneHot)
              .Kernel("native", OneHotKernel)
              .NotDifferentiable("the standard calls it so")
              .Try(Sample()
                       .In(Tensor::Int64s({0, -1, 5}))
                       .In(depth)
                       .In(off_on)
                       .Gives(Tensor::Of<float>({3, 3}, {3, 0, 0, 0, 0, 3, 0, 0, 0})))
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({2, 2}, {0, 1, 2, 0}))
                       .In(depth)
                       .In(off_on)
                       .Attr("axis", 1))
              .Try(Sample().In(Tensor::Int64s({1})).In(depth).Variable().In(off_on).Attr("axis", 0))
              .Try(Sample()
                       .In(Tensor::Scalar<int64_t>(1))
                       .In(depth)
                       .In(Tensor::Of<std::string>({2}, {"", "x"})))
              .Try(Sample().In(Tensor::Int64s({0})).In(depth).In({3}).Refused("off and on")));
  ops.Add(OpDef("EyeLike", 9)
              .Versions({9, 22})
              .Input("input", "T1")
              .Output("output", "T2")
              .Attr("dtype", Attr::Kind::kInt)
              .Attr("k", 0)
              .Types("T1", kAnyType)
              .Types("T2", kAnyType)
              .Infer(InferEyeLike)
              .ShapeOnly(0)
              .NoGradientFor({0})
              .Kernel("native", EyeLikeKernel)
              .NotDifferentiable("constant")
              .Try(Sample().In({2, 3}).Gives(Tensor::Of<float>({2, 3}, {1, 0, 0, 0, 1, 0})))
              .Try(Sample().In({3, 2}).Attr("k", -1).Attr("dtype", 6))
              .Try(Sample().In({3, 4}).Attr("k", 2).Attr("dtype", 9))
              .Try(Sample().In({3}).Refused("must be a matrix")));
  ops.Add(OpDef("Trilu", 14)
              .Input("input", "T")
              .Input("k", "int64", Arity::kOptional)
              .Output("output", "T")
              .Attr("upper", 1)
              .Types("T", kAnyType)
              .Infer(InferTrilu)
              .InPlace(0, 0)
              .NoGradientFor({1})
              .Kernel("native", TriluKernel)
              // dx = the same part of dy
              .Gradient([](GradContext& g) {
                g.dx(0, g.builder().Op("Trilu", {g.dy(), g.x(1)}, {{"upper", g.Int("upper")}}));
              })
              .Try(Sample().In({3, 4}))
              .Try(Sample().In({2, 4, 3}).In(Tensor::Scalar<int64_t>(1)))
              .Try(Sample().In({4, 3}).In(Tensor::Scalar<int64_t>(-2)).Attr("upper", 0))
              .Try(Sample().In({3, 3}).In(Tensor::Scalar<int64_t>(1)).Variable().Attr("upper", 0))
              .Try(Sample().In({3, 3}).In(Tensor::Scalar<int64_t>(9)))
              .Try(Sample().In({0, 3}))
              .Try(Sample().In({3}).Refused("two axes")));
}

}  // namespace graphrun
