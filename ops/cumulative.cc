// CumSum, CumProd.
//
// Source: https://onnx.ai/onnx/operators (CumSum 14, CumProd 26). f32 and the 16-bit floats are
// summed in f64.
#include <algorithm>

#include "ops/reduction.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Running totals along the middle axis of [outer, size, inner].
template <bool kProduct, typename T>
void Accumulate(const T* x, T* y, int64_t outer, int64_t size, int64_t inner, bool exclusive,
                bool reverse) {
  using W = Wide<T>;
  constexpr int64_t kBlock = 256;
  const int64_t blocks = (inner + kBlock - 1) / kBlock;
  ParallelFor(outer * blocks,
              std::max<int64_t>(16384 / std::max<int64_t>(size * std::min(inner, kBlock), 1), 1),
              [&](int64_t begin, int64_t end) {
                W total[kBlock];
                for (int64_t b = begin; b < end; ++b) {
                  const int64_t k = b % blocks * kBlock, n = std::min(kBlock, inner - k);
                  const int64_t base = b / blocks * size * inner + k;
                  std::fill(total, total + n, W(kProduct ? 1 : 0));
                  for (int64_t i = 0; i < size; ++i) {
                    const int64_t at = base + (reverse ? size - 1 - i : i) * inner;
                    for (int64_t j = 0; j < n; ++j) {
                      const W v = static_cast<W>(static_cast<Compute<T>>(x[at + j]));
                      const W before = total[j];
                      total[j] = kProduct ? WrapMul(before, v) : WrapAdd(before, v);
                      y[at + j] = T(exclusive ? before : total[j]);
                    }
                  }
                }
              });
}

template <bool kProduct>
absl::StatusOr<std::unique_ptr<Kernel>> Prepare(PrepareContext& c) {
  const Dims dims = c.input_dims(0);
  const bool exclusive = c.Int("exclusive") != 0, reverse = c.Int("reverse") != 0;
  std::unique_ptr<Kernel> kernel;
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& r) -> absl::Status {
      GR_ASSIGN_OR_RETURN(const int axis,
                          NormalizeAxis(r.input(1).AsInt64s()[0], static_cast<int>(dims.size())));
      int64_t outer = 1, size = 1, inner = 1;
      for (int i = 0; i < static_cast<int>(dims.size()); ++i) {
        (i < axis ? outer : i == axis ? size : inner) *= dims[static_cast<size_t>(i)];
      }
      Accumulate<kProduct>(r.input(0).data<T>(), r.output(0).mutable_data<T>(), outer, size, inner,
                           exclusive, reverse);
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::Status Infer(InferContext& c) {
  const Shape &x = c.input_shape(0), &axis = c.input_shape(1);
  if (axis.is_concrete() && Product(axis.ToDims()) != 1) {
    return c.Error("input 1 (axis) has shape ", axis.ToString(), " but must hold one number");
  }
  if (x.has_rank() && x.rank() == 0)
    return c.Error("input 0 is a scalar, which has no axis to run along");
  const auto given = c.ints(1);
  if (given && given->size() == 1 && x.has_rank())
    GR_RETURN_IF_ERROR(c.Axis((*given)[0], x.rank()).status());
  return SameAsInput(c);
}

OpDef Cumulative(const char* name, int since, std::vector<int> versions, KernelFactory kernel) {
  const Tensor axis0 = Tensor::Scalar<int64_t>(0), axis1 = Tensor::Scalar<int32_t>(-1);
  return OpDef(name, since)
      .Versions(std::move(versions))
      .Input("x", "T")
      .Input("axis", "T2")
      .Output("y", "T")
      .Attr("exclusive", 0)
      .Attr("reverse", 0)
      .Types("T", kNumeric)
      .Types("T2", kIndices)
      .Infer(Infer)
      .NoGradientFor({1})
      .InPlace(0, 0)
      .Kernel("native", std::move(kernel))
      .Try(Sample().In({5}).In(axis0))
      .Try(Sample().In({2, 3}).In(axis1))
      .Try(Sample().In({4, 3}).In(axis0).Attr("exclusive", 1))
      .Try(Sample().In({2, 4, 3}).In(Tensor::Scalar<int64_t>(1)).Attr("reverse", 1))
      .Try(Sample().In({2, 4}).In(axis1).Attr("reverse", 1).Attr("exclusive", 1))
      .Try(Sample().In({2, 0}).In(axis0))
      .Try(Sample().In({2, 3}).In(Tensor::Scalar<int64_t>(2)).Refused("axis"))
      .Try(Sample().In(Dims{}).In(axis0).Refused("no axis"));
}

Expr Running(GradContext& g, const char* op, Expr x, bool exclusive, bool reverse) {
  return g.builder().Op(op, {x, g.x(1)}, {{"exclusive", exclusive}, {"reverse", reverse}});
}

// dx_k = sum over the outputs j that x_k is in of dy_j times the product of the others. With zeros
// set apart: where no zero is in, that is p_j / x_k with the product p of the factors; at the first
// zero, p_j as long as it stays the only one.
void ProductGradient(GradContext& g) {
  const bool exclusive = g.Int("exclusive") != 0, reverse = g.Int("reverse") != 0;
  Expr x = g.x(0), none = g.builder().Scalar(x.dtype(), 0), one = g.builder().Scalar(x.dtype(), 1);
  Expr zero = Equal(x, 0.0), factors = Where(zero, one, x), marks = Cast(zero, x.dtype());
  Expr flow = g.dy() * Running(g, "CumProd", factors, exclusive, reverse);
  Expr zeros = Running(g, "CumSum", marks, exclusive, reverse);
  const auto gathered = [&](double count) {
    return Running(g, "CumSum", Where(Equal(zeros, count), flow, none), exclusive, !reverse);
  };
  Expr first = Equal(Running(g, "CumSum", marks, false, reverse), 1.0);
  g.dx(0, Where(zero, Where(first, gathered(1), none), gathered(0) / factors));
}

}  // namespace

void RegisterCumulativeOps(OpRegistry& ops) {
  ops.Add(Cumulative("CumSum", 11, {11, 14}, Prepare<false>)
              // dx = dy summed from the other end
              .Gradient([](GradContext& g) {
                g.dx(0,
                     Running(g, "CumSum", g.dy(), g.Int("exclusive") != 0, g.Int("reverse") == 0));
              })
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({3}, {1, 2, 3}))
                       .In(Tensor::Scalar<int64_t>(0))
                       .Gives(Tensor::Of<int32_t>({3}, {1, 3, 6}))));
  ops.Add(Cumulative("CumProd", 26, {26}, Prepare<true>)
              .Gradient(ProductGradient)
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 4}, {2, 0, 3, 4, 5, 0, 0, 2}))
                       .In(Tensor::Scalar<int64_t>(1)))
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 4}, {2, 0, 3, 4, 5, 0, 0, 2}))
                       .In(Tensor::Scalar<int64_t>(1))
                       .Attr("exclusive", 1)
                       .Attr("reverse", 1)));
}

}  // namespace graphrun
