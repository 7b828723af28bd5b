// Sin, Cos, Tan, their inverses, the hyperbolic functions and their inverses.
//
// Source: https://onnx.ai/onnx/operators (all 22; Tanh 13). Element types: floats.
#include <algorithm>
#include <cmath>

#include "ops/arc_math.h"
#include "ops/elementwise.h"

namespace graphrun {
namespace {

// fast(x) where every angle of the block is within its range, exact(x) otherwise.
template <typename Fast, typename Exact>
void AngleBlock(const float* const* x, int, float* y, int64_t n, const float*) {
  const float* a = x[0];
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::fabs(a[i]) > largest ? std::fabs(a[i]) : largest;
  if (largest <= vm::kLargestAngle) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = Fast()(a[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = Exact()(a[i]);
  }
}

template <typename F, typename Fast>
OpDef AngleOp(const char* name, F f, Fast) {
  return FloatOp(name, 7, {7, 22}, f).PointwiseBlock(&AngleBlock<Fast, F>);
}

// 1 - x^2
Expr OneMinusSquare(Expr x) { return 1.0 - Square(x); }

}  // namespace

void RegisterTrigonometryOps(OpRegistry& ops) {
  ops.Add(AngleOp(
              "Sin", [](auto x) { return std::sin(x); }, [](float x) { return vm::SinInRange(x); })
              // dx = cos(x) dy
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * Cos(g.x())); })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({2, 20}, -20, 20))
              .Try(Sample()
                       .In(Tensor::Of<float>({2}, {1e6f, 1e10f}))
                       .NoGradient("too steep for differences")));
  ops.Add(AngleOp(
              "Cos", [](auto x) { return std::cos(x); }, [](float x) { return vm::CosInRange(x); })
              // dx = -sin(x) dy
              .Gradient([](GradContext& g) { g.dx(0, -(g.dy() * Sin(g.x()))); })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({2, 20}, -20, 20)));
  ops.Add(AngleOp(
              "Tan", [](auto x) { return std::tan(x); },
              [](float x) { return vm::SinInRange(x) / vm::CosInRange(x); })
              // dx = (1 + y^2) dy
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * (1.0 + Square(g.y()))); })
              .Try(Sample().In({2, 3}, -1, 1)));
  ops.Add(FloatOp(
              "Asin", 7, {7, 22}, [](auto x) { return std::asin(x); },
              [](float x) { return vm::Asin(x); })
              // dx = dy / sqrt(1 - x^2)
              .Gradient([](GradContext& g) { g.dx(0, g.dy() / Sqrt(OneMinusSquare(g.x()))); })
              .Try(Sample().In({2, 3}, -0.9, 0.9)));
  ops.Add(FloatOp(
              "Acos", 7, {7, 22}, [](auto x) { return std::acos(x); },
              [](float x) { return vm::Acos(x); })
              // dx = -dy / sqrt(1 - x^2)
              .Gradient([](GradContext& g) { g.dx(0, -(g.dy() / Sqrt(OneMinusSquare(g.x())))); })
              .Try(Sample().In({2, 3}, -0.9, 0.9)));
  ops.Add(FloatOp(
              "Atan", 7, {7, 22}, [](auto x) { return std::atan(x); },
              [](float x) { return vm::Atan(x); })
              // dx = dy / (1 + x^2)
              .Gradient([](GradContext& g) { g.dx(0, g.dy() / (1.0 + Square(g.x()))); })
              .Try(Sample().In({2, 3})));
  ops.Add(FloatOp(
              "Sinh", 9, {9, 22}, [](auto x) { return std::sinh(x); },
              [](float x) { return vm::Sinh(x); })
              // dx = cosh(x) dy
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * g.builder().Op("Cosh", {g.x()})); })
              .Try(Sample().In({2, 3})));
  ops.Add(FloatOp(
              "Cosh", 9, {9, 22}, [](auto x) { return std::cosh(x); },
              [](float x) { return vm::Cosh(x); })
              // dx = sinh(x) dy
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * g.builder().Op("Sinh", {g.x()})); })
              .Try(Sample().In({2, 3})));
  ops.Add(FloatOp(
              "Tanh", 1, {1, 6, 13}, [](auto x) { return std::tanh(x); },
              [](float x) { return vm::Tanh(x); })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = (1 - y^2) dy
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * OneMinusSquare(g.y())); })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({40}, -12, 12)));
  ops.Add(FloatOp(
              "Asinh", 9, {9, 22}, [](auto x) { return std::asinh(x); },
              [](float x) { return vm::Asinh(x); })
              // dx = dy / sqrt(x^2 + 1)
              .Gradient([](GradContext& g) { g.dx(0, g.dy() / Sqrt(Square(g.x()) + 1.0)); })
              .Try(Sample().In({2, 3})));
  ops.Add(FloatOp(
              "Acosh", 9, {9, 22}, [](auto x) { return std::acosh(x); },
              [](float x) { return vm::Acosh(x); })
              // dx = dy / sqrt(x^2 - 1)
              .Gradient([](GradContext& g) { g.dx(0, g.dy() / Sqrt(Square(g.x()) - 1.0)); })
              .Try(Sample().In({2, 3}, 1.5, 3)));
  ops.Add(FloatOp(
              "Atanh", 9, {9, 22}, [](auto x) { return std::atanh(x); },
              [](float x) { return vm::Atanh(x); })
              // dx = dy / (1 - x^2)
              .Gradient([](GradContext& g) { g.dx(0, g.dy() / OneMinusSquare(g.x())); })
              .Try(Sample().In({2, 3}, -0.8, 0.8)));
}

}  // namespace graphrun
