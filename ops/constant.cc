// Constant, ConstantOfShape, Range: tensors made from attributes and numbers.
//
// Source: https://onnx.ai/onnx/operators (Constant 1, 9, 11, 12, 13; ConstantOfShape 9; Range 11).
// A Constant's sparse_value is made dense when a model is read.
#include <cmath>

#include "ops/move.h"
#include "ops/native.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<Tensor> ConstantValue(const NodeContext& c) {
  int given = 0;
  Tensor value;
  const auto take = [&](const char* name, auto make) {
    if (!c.has_attr(name)) return;
    ++given;
    value = make(name);
  };
  const auto dense = [&](const char* name) { return *c.TensorAttr(name); };
  take("value", dense);
  take("sparse_value", dense);
  take("value_int", [&](const char* n) { return Tensor::Scalar<int64_t>(c.Int(n)); });
  take("value_float", [&](const char* n) { return Tensor::Scalar<float>(c.Float(n)); });
  take("value_string", [&](const char* n) { return Tensor::Scalar<std::string>(c.String(n)); });
  const auto vector = [](const auto& list) {
    using T = typename std::decay_t<decltype(list)>::value_type;
    return Tensor::Of<T>({static_cast<int64_t>(list.size())}, absl::MakeConstSpan(list));
  };
  take("value_ints", [&](const char* n) { return vector(c.Ints(n)); });
  take("value_floats", [&](const char* n) { return vector(c.Floats(n)); });
  take("value_strings", [&](const char* n) { return vector(c.Strings(n)); });
  if (given != 1) {
    return c.Error("exactly one of value, value_int, value_ints, value_float, value_floats, ",
                   "value_string, value_strings and sparse_value must be set; ", given, " are");
  }
  return value;
}

absl::Status InferConstant(InferContext& c) {
  GR_ASSIGN_OR_RETURN(Tensor value, ConstantValue(c));
  c.set_output(0, value.dtype(), Shape::Of(value.dims()));
  c.set_constant(0, std::move(value));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> ConstantKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(Tensor value, ConstantValue(c));
  return MakeKernel([value](RunContext& r) {
    CopyAll(value, r.output(0));
    return absl::OkStatus();
  });
}

Tensor FillValue(const NodeContext& c) {
  const Tensor* value = c.TensorAttr("value");
  return value == nullptr ? Tensor::Scalar<float>(0) : *value;
}

absl::Status InferConstantOfShape(InferContext& c) {
  const Tensor value = FillValue(c);
  if (value.num_elements() != 1) {
    return c.Error("attribute value must have one element but has ", value.num_elements());
  }
  if (const auto numbers = c.ints(0)) {
    for (const int64_t n : *numbers) {
      if (n < 0) return c.Error("input has the negative size ", n);
    }
    const auto elements = NumElements(*numbers);
    if (!elements.ok()) return Annotate(elements.status(), c.node().Describe());
    c.set_output(0, value.dtype(), Shape::Of(*numbers));
    if (numbers->size() <= 1 && *elements <= 64) {
      Tensor filled(value.dtype(), *numbers);
      FillAll(value, filled);
      c.set_constant(0, std::move(filled));
    }
    return absl::OkStatus();
  }
  const Shape& length = c.input_shape(0);
  if (auto sizes = c.sizes(0)) {
    c.set_output(0, value.dtype(), Shape(*std::move(sizes)));
  } else if (length.has_rank() && length.rank() == 1 && length[0].is_number()) {
    c.set_output(0, value.dtype(), Shape(std::vector<Dim>(static_cast<size_t>(length[0].value()))));
  } else {
    c.set_output(0, value.dtype(), Shape());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> ConstantOfShapeKernel(PrepareContext& c) {
  return MakeKernel([value = FillValue(c), dynamic = c.output_is_dynamic(0)](RunContext& r) {
    if (dynamic) {
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, value.dtype(), r.input(0).AsInt64s()));
    }
    FillAll(value, r.output(0));
    return absl::OkStatus();
  });
}

// max(ceil((limit - start) / delta), 0)
absl::StatusOr<int64_t> RangeLength(const Tensor& start, const Tensor& limit, const Tensor& delta) {
  if (start.num_elements() != 1 || limit.num_elements() != 1 || delta.num_elements() != 1) {
    return ModelError("start, limit and delta must be scalars");
  }
  if (IsInteger(start.dtype())) {
    const __int128 a = start.AsInt64s()[0], b = limit.AsInt64s()[0], d = delta.AsInt64s()[0];
    if (d == 0) return ModelError("delta is 0");
    const __int128 n = d > 0 ? (b - a + d - 1) / d : (a - b - d - 1) / -d;
    if (n > INT64_MAX) return LimitError("the range has more than 2^63 elements");
    return std::max<int64_t>(static_cast<int64_t>(n), 0);
  }
  const double n = std::ceil((limit.AsDouble(0) - start.AsDouble(0)) / delta.AsDouble(0));
  if (!(std::fabs(n) < 9e18)) {
    return ModelError("a range from ", start.AsDouble(0), " to ", limit.AsDouble(0), " by ",
                      delta.AsDouble(0), " has no length");
  }
  return std::max<int64_t>(static_cast<int64_t>(n), 0);
}

absl::Status InferRange(InferContext& c) {
  const Tensor *start = c.constant(0), *limit = c.constant(1), *delta = c.constant(2);
  Dim length;
  if (start != nullptr && limit != nullptr && delta != nullptr) {
    const auto n = RangeLength(*start, *limit, *delta);
    if (!n.ok()) return Annotate(n.status(), c.node().Describe());
    length = Dim(*n);
  } else if (c.input_dtype(0) == DType::kInt64 || c.input_dtype(0) == DType::kInt32) {
    const auto from = c.ints(0), to = c.ints(1), by = c.ints(2);
    const auto limits = c.sizes(1);
    const bool whole =
        from && by && from->size() == 1 && by->size() == 1 && (*from)[0] == 0 && (*by)[0] == 1;
    if (from && to && by && from->size() == 1 && to->size() == 1 && by->size() == 1) {
      const auto n = RangeLength(Tensor::Scalar((*from)[0]), Tensor::Scalar((*to)[0]),
                                 Tensor::Scalar((*by)[0]));
      if (!n.ok()) return Annotate(n.status(), c.node().Describe());
      length = Dim(*n);
    } else if (whole && limits && limits->size() == 1) {
      length = (*limits)[0];
    }
  }
  c.set_output(0, c.input_dtype(0), Shape({length}));
  return absl::OkStatus();
}

using RangeTypes = Concat<FloatTypes, TypeList<int16_t, int32_t, int64_t>>;

absl::StatusOr<std::unique_ptr<Kernel>> RangeKernel(PrepareContext& c) {
  std::unique_ptr<Kernel> kernel;
  DispatchDType(RangeTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([](RunContext& r) -> absl::Status {
      GR_ASSIGN_OR_RETURN(const int64_t n, RangeLength(r.input(0), r.input(1), r.input(2)));
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, r.input(0).dtype(), {n}));
      using C = Compute<T>;
      const C start = static_cast<C>(r.input(0).data<T>()[0]);
      const C delta = static_cast<C>(r.input(2).data<T>()[0]);
      T* y = r.output(0).mutable_data<T>();
      ParallelFor(n, 16384, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = T(start + static_cast<C>(i) * delta);
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

}  // namespace

void RegisterConstantOps(OpRegistry& ops) {
  using Kind = Attr::Kind;
  ops.Add(OpDef("Constant", 1)
              .Versions({1, 9, 11, 12, 13, 19, 21, 23, 24, 25})
              .Output("output", "T")
              .Attr("value", Kind::kTensor)
              .Attr("sparse_value", Kind::kTensor)
              .Attr("value_int", Kind::kInt)
              .Attr("value_ints", Kind::kInts)
              .Attr("value_float", Kind::kFloat)
              .Attr("value_floats", Kind::kFloats)
              .Attr("value_string", Kind::kString)
              .Attr("value_strings", Kind::kStrings)
              .Types("T", kAnyType)
              .Infer(InferConstant)
              .Kernel("native", ConstantKernel)
              .NotDifferentiable("constant")
              .Try(Sample().Attr("value", Tensor::Of<float>({2}, {1, 2})))
              .Try(Sample().Attr("value_int", 3).Gives(Tensor::Scalar<int64_t>(3)))
              .Try(Sample().Attr("value_float", 0.5f).Gives(Tensor::Scalar<float>(0.5f)))
              .Try(Sample().Attr("value_ints", std::vector<int64_t>{-1, 2}))
              .Try(Sample().Attr("value_floats", std::vector<float>{1.5f}))
              .Try(Sample().Attr("value_string", "a"))
              .Try(Sample().Attr("value_strings", std::vector<std::string>{"a", "b"}))
              .Try(Sample().Refused("exactly one of")));
  ops.Add(
      OpDef("ConstantOfShape", 9)
          .Versions({9, 20, 21, 23, 24, 25})
          .Input("input", "int64")
          .Output("output", "T")
          .Attr("value", Kind::kTensor)
          .Types("T", kAnyType)
          .Infer(InferConstantOfShape)
          .Kernel("native", ConstantOfShapeKernel)
          .NotDifferentiable("constant")
          .Try(Sample().In(Tensor::Int64s({2, 3})).Gives(Tensor::Zeros(DType::kFloat32, {2, 3})))
          .Try(Sample()
                   .In(Tensor::Int64s({2, 3}))
                   .Attr("value", Tensor::Of<int32_t>({1}, {7}))
                   .Variable())
          .Try(Sample().In(Tensor::Int64s({})))
          .Try(Sample().In(Tensor::Int64s({0, 2})))
          .Try(Sample().In(Tensor::Int64s({-1})).Refused("negative")));
  // dstart = sum(dy), ddelta = sum(i * dy); the limit decides only the length
  ops.Add(OpDef("Range", 11)
              .Versions({11, 27})
              .Input("start", "T")
              .Input("limit", "T")
              .Input("delta", "T")
              .Output("output", "T")
              .Types("T", kFloats | DTypeSet{DType::kInt16, DType::kInt32, DType::kInt64})
              .Infer(InferRange)
              .NoGradientFor({1})
              .Kernel("native", RangeKernel)
              .Gradient([](GradContext& g) {
                if (g.needs(0)) g.dx(0, ReduceSum(g.dy(), {}, false));
                if (g.needs(2)) {
                  Builder& b = g.builder();
                  Expr n = b.Op("Size", {g.y()});
                  Expr steps =
                      b.Op("Range", {b.Scalar(DType::kInt64, 0), n, b.Scalar(DType::kInt64, 1)});
                  g.dx(2, ReduceSum(g.dy() * CastLike(steps, g.dy()), {}, false));
                }
              })
              .Try(Sample()
                       .In(Tensor::Scalar<int64_t>(1))
                       .In(Tensor::Scalar<int64_t>(8))
                       .In(Tensor::Scalar<int64_t>(3))
                       .Gives(Tensor::Int64s({1, 4, 7})))
              .Try(Sample()
                       .In(Tensor::Scalar<int32_t>(5))
                       .In(Tensor::Scalar<int32_t>(0))
                       .In(Tensor::Scalar<int32_t>(-2))
                       .Variable())
              .Try(Sample()
                       .In(Tensor::Scalar<float>(0.25f))
                       .In(Tensor::Scalar<float>(2.125f))
                       .In(Tensor::Scalar<float>(0.5f)))
              .Try(Sample()
                       .In(Tensor::Scalar<int64_t>(4))
                       .In(Tensor::Scalar<int64_t>(2))
                       .In(Tensor::Scalar<int64_t>(1)))
              .Try(Sample()
                       .In(Tensor::Scalar<int64_t>(4))
                       .In(Tensor::Scalar<int64_t>(2))
                       .In(Tensor::Scalar<int64_t>(0))
                       .Refused("delta is 0")));
}

}  // namespace graphrun
