// Add, Sub, Mul, Div, Neg and other arithmetic, element by element with NumPy's broadcasting.
//
// Source: https://onnx.ai/onnx/operators (Add 14, Sub 14, Mul 14, Div 14, Neg 13). Element types:
// every number; Div rounds integers towards zero and gives 0 for a division by the integer zero,
// where the standard says nothing.
#include "ops/native.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

OpDef Binary(const char* name) {
  return OpDef(name, 7)
      .Versions({7, 13, 14})
      .Input("A", "T")
      .Input("B", "T")
      .Output("C", "T")
      .Types("T", kNumeric)
      .Infer(BroadcastAll)
      .InPlace(0, 0)
      .InPlace(1, 0);
}

template <typename T>
T Divide(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0) return 0;
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(a));
    }
  }
  return static_cast<T>(a / b);
}

}  // namespace

void RegisterArithmeticOps(OpRegistry& ops) {
  ops.Add(Binary("Add")
              .Kernel("native", NativeBinary<NumericTypes>([](auto a, auto b) { return a + b; }))
              .PointwiseBlock([](const float* const* x, int, float* y, int64_t n, const float*) {
                for (int64_t i = 0; i < n; ++i) y[i] = x[0][i] + x[1][i];
              })
              // da = dc, db = dc
              .Gradient([](GradContext& g) {
                g.dx(0, g.dy());
                g.dx(1, g.dy());
              })
              .Try(Sample().In({2, 3}).In({2, 3}))
              .Try(Sample().In({4, 1, 3}).In({2, 1}))
              .Try(Sample().In({2, 0}).In({1}))
              .Try(Sample().In({2, 3}).In({2}).Refused("do not broadcast")));
  ops.Add(Binary("Sub")
              .Kernel("native", NativeBinary<NumericTypes>([](auto a, auto b) { return a - b; }))
              .PointwiseBlock([](const float* const* x, int, float* y, int64_t n, const float*) {
                for (int64_t i = 0; i < n; ++i) y[i] = x[0][i] - x[1][i];
              })
              // da = dc, db = -dc
              .Gradient([](GradContext& g) {
                g.dx(0, g.dy());
                if (g.needs(1)) g.dx(1, -g.dy());
              })
              .Try(Sample().In({2, 3}).In({3}))
              .Try(Sample().In(Dims{}).In({2, 2})));
  ops.Add(Binary("Mul")
              .Kernel("native", NativeBinary<NumericTypes>([](auto a, auto b) { return a * b; }))
              .PointwiseBlock([](const float* const* x, int, float* y, int64_t n, const float*) {
                for (int64_t i = 0; i < n; ++i) y[i] = x[0][i] * x[1][i];
              })
              // da = dc * b, db = dc * a
              .Gradient([](GradContext& g) {
                if (g.needs(0)) g.dx(0, g.dy() * g.x(1));
                if (g.needs(1)) g.dx(1, g.dy() * g.x(0));
              })
              .Try(Sample().In({2, 3}).In({2, 1}))
              .Try(Sample().In({3}).In({2, 1, 3})));
  ops.Add(
      Binary("Div")
          .Kernel("native", NativeBinary<NumericTypes>([](auto a, auto b) { return Divide(a, b); }))
          .PointwiseBlock([](const float* const* x, int, float* y, int64_t n, const float*) {
            for (int64_t i = 0; i < n; ++i) y[i] = x[0][i] / x[1][i];
          })
          // da = dc / b, db = -dc * c / b; reads c, so a may be freed
          .Gradient([](GradContext& g) {
            if (g.needs(0)) g.dx(0, g.dy() / g.x(1));
            if (g.needs(1)) g.dx(1, -(g.dy() * g.y() / g.x(1)));
          })
          .Try(Sample().In({2, 3}).In({2, 3}, 0.5, 2))
          .Try(Sample().In({3}).In({2, 1}, -2, -0.5)));
  ops.Add(
      OpDef("Neg", 6)
          .Versions({6, 13})
          .Input("X", "T")
          .Output("Y", "T")
          .Types("T", kFloats | kSigned)
          .Infer(SameAsInput)
          .InPlace(0, 0)
          .Kernel("native", NativeUnary<Concat<FloatTypes, SignedTypes>>([](auto a) { return -a; }))
          .PointwiseBlock([](const float* const* x, int, float* y, int64_t n, const float*) {
            for (int64_t i = 0; i < n; ++i) y[i] = -x[0][i];
          })
          // dx = -dy
          .Gradient([](GradContext& g) { g.dx(0, -g.dy()); })
          .Try(Sample().In({2, 3})));
}

}  // namespace graphrun
