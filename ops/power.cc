// Pow.
//
// Source: https://onnx.ai/onnx/operators/onnx__Pow.html (15). From version 12 on the exponent has a
// type of its own; the result has the base's. Before version 7 broadcasting was an attribute.
#include <cmath>

#include "ops/elementwise.h"
#include "ops/reduce_ops.h"

namespace graphrun {
namespace {

using BaseTypes = Concat<FloatTypes, TypeList<int32_t, int64_t>>;

template <typename T>
T IntegerPower(T base, int64_t exponent) {
  uint64_t result = 1, factor = static_cast<uint64_t>(base);
  for (; exponent > 0; exponent >>= 1, factor *= factor) {
    if (exponent & 1) result *= factor;
  }
  return static_cast<T>(result);
}

// base^exponent with an exponent of another type E.
template <typename T, typename E>
T Power(T base, E exponent) {
  using C = Compute<T>;
  using X = Compute<E>;
  if constexpr (std::is_integral_v<C> && std::is_integral_v<X>) {
    if (exponent >= 0) return IntegerPower(base, static_cast<int64_t>(exponent));
  }
  if constexpr (std::is_integral_v<C>) {
    return FromDouble<T>(
        std::pow(static_cast<double>(base), static_cast<double>(static_cast<X>(exponent))));
  } else {
    return T(std::pow(static_cast<C>(base), static_cast<C>(static_cast<X>(exponent))));
  }
}

absl::StatusOr<std::unique_ptr<Kernel>> PreparePow(PrepareContext& c) {
  std::unique_ptr<Kernel> kernel;
  const Broadcast<2> broadcast(c.output_dims(0), {c.input_dims(0), c.input_dims(1)});
  DispatchDType(BaseTypes(), c.input_dtype(0), [&]<typename T>() {
    DispatchDType(NumericTypes(), c.input_dtype(1), [&]<typename E>() {
      kernel = MakeKernel([broadcast](RunContext& r) {
        const T* x = r.input(0).data<T>();
        const E* e = r.input(1).data<E>();
        T* y = r.output(0).mutable_data<T>();
        broadcast.ForEachRow([&](int64_t out, const std::array<int64_t, 2>& at,
                                 const std::array<int64_t, 2>& step, int64_t n) {
          for (int64_t i = 0; i < n; ++i)
            y[out + i] = Power(x[at[0] + i * step[0]], e[at[1] + i * step[1]]);
        });
        return absl::OkStatus();
      });
    });
  });
  return kernel;
}

// Blocks with one exponent, as constants give, are common: the usual ones need no pow.
void PowBlock(const float* const* x, int, float* y, int64_t n, const float*) {
  const float *a = x[0], *e = x[1];
  const float p = n > 0 ? e[0] : 1;
  bool same = true;
  for (int64_t i = 0; i < n; ++i) same &= e[i] == p;
  if (same && p == 2) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = a[i] * a[i];
  } else if (same && p == 3) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = a[i] * a[i] * a[i];
  } else if (same && p == 1) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = a[i];
  } else if (same && p == -1) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = 1.0f / a[i];
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = std::pow(a[i], e[i]);
  }
}

// dx = dy e x^(e-1), 0 where e is 0; de = dy y log(x), 0 where x <= 0
void PowGradient(GradContext& g) {
  Expr x = g.x(0), dy = g.dy();
  const Value* e = g.node().input(1);
  if (g.needs(0)) {
    if (e->is_constant() && e->initializer().num_elements() == 1) {
      const double p = e->initializer().AsDouble(0);
      g.dx(0, p == 0   ? ZerosLike(x)
              : p == 1 ? dy
              : p == 2 ? dy * (x * 2.0)
                       : dy * (Pow(x, p - 1) * p));
    } else {
      Expr exponent = g.x(1).dtype() == x.dtype() ? g.x(1) : Cast(g.x(1), x.dtype());
      Expr zero = g.builder().Scalar(x.dtype(), 0), one = g.builder().Scalar(x.dtype(), 1);
      // x^0 has the derivative 0, also where x^-1 is infinite.
      Expr is_zero = Equal(exponent, 0.0);
      g.dx(0, dy * Where(is_zero, zero, exponent * Pow(x, Where(is_zero, one, exponent) - 1.0)));
    }
  }
  if (g.needs(1)) {
    Expr zero = g.builder().Scalar(x.dtype(), 0), one = g.builder().Scalar(x.dtype(), 1);
    Expr de = dy * Where(x > 0.0, g.y() * Log(Where(x > 0.0, x, one)), zero);
    g.dx(1, g.x(1).dtype() == x.dtype() ? de : Cast(de, g.x(1).dtype()));
  }
}

}  // namespace

void RegisterPowerOps(OpRegistry& ops) {
  ops.Add(OldBinaryOp("Pow", {1}, kFloats, false));
  ops.Add(OpDef("Pow", 7)
              .Versions({7, 12, 13, 15})
              .Input("X", "T")
              .Input("Y", "T1")
              .Output("Z", "T")
              .Types("T", kFloats | kIndices)
              .Types("T1", kNumeric)
              .Infer(BroadcastAll)
              .InPlace(0, 0)
              .Kernel("block", BlockKernel())
              .Kernel("native", PreparePow)
              .PointwiseBlock(PowBlock)
              .Gradient(PowGradient)
              .Try(Sample().In({2, 3}, 0.5, 2).In({2, 3}))
              .Try(Sample().In({2, 3}, 0.5, 2).In({3}))
              .Try(Sample().In({2, 3}).In(Tensor::Of<float>({}, {2})).Constant())
              .Try(Sample().In({2, 3}).In(Tensor::Of<float>({}, {3})).Constant())
              .Try(Sample().In({2, 3}, 0.5, 2).In(Tensor::Of<float>({}, {-1})).Constant())
              .Try(Sample().In({2, 3}, 0.5, 2).In(Tensor::Of<float>({}, {0.5f})).Constant())
              .Try(Sample().In({2, 3}).In(Tensor::Of<int64_t>({3}, {2, 0, 3})))
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({4}, {2, -3, 2, 7}))
                       .In(Tensor::Of<int64_t>({4}, {10, 3, -1, 0}))
                       .Gives(Tensor::Of<int32_t>({4}, {1024, -27, 0, 1})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {9, 2}))
                       .In(Tensor::Of<float>({2}, {0.5f, 3}))
                       .Gives(Tensor::Of<int64_t>({2}, {3, 8}))));
}

}  // namespace graphrun
