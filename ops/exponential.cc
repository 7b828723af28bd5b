// Exp, Log, Sqrt, Erf.
//
// Source: https://onnx.ai/onnx/operators (Exp 13, Log 13, Sqrt 13, Erf 13). Element types: floats;
// Erf also takes integers, as the standard does, with results truncated towards zero.
#include <cmath>

#include "ops/elementwise.h"

namespace graphrun {

void RegisterExponentialOps(OpRegistry& ops) {
  const std::vector<int> versions = {1, 6, 13};
  ops.Add(FloatOp(
              "Exp", 1, versions, [](auto x) { return std::exp(x); },
              [](float x) { return vm::Exp(x); })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = y dy
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * g.y()); })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({40})));
  ops.Add(FloatOp(
              "Log", 1, versions, [](auto x) { return std::log(x); },
              [](float x) { return vm::Log(x); })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = dy / x
              .Gradient([](GradContext& g) { g.dx(0, g.dy() / g.x()); })
              .Try(Sample().In({2, 3}, 0.5, 3))
              .Try(Sample().In({40}, 0.1, 9)));
  ops.Add(FloatOp("Sqrt", 1, versions, [](auto x) { return std::sqrt(x); })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = dy / (2 y)
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * 0.5 / g.y()); })
              .Try(Sample().In({2, 3}, 0.5, 3)));
  ops.Add(
      UnaryOp<NumericTypes>(
          "Erf", 9, {9, 13}, kNumeric,
          [](auto x) {
            using T = decltype(x);
            using F = std::conditional_t<std::is_floating_point_v<T>, T, double>;
            return static_cast<T>(std::erf(static_cast<F>(x)));
          },
          [](float x) { return vm::Erf(x); })
          // dx = 2/sqrt(pi) e^(-x^2) dy
          .Gradient([](GradContext& g) { g.dx(0, g.dy() * (Exp(-Square(g.x())) * M_2_SQRTPI)); })
          .Try(Sample().In({2, 3}))
          .Try(Sample().In({40}, -5, 5))
          .Try(Sample()
                   .In(Tensor::Of<int32_t>({3}, {-9, 0, 9}))
                   .Gives(Tensor::Of<int32_t>({3}, {-1, 0, 1}))));
}

}  // namespace graphrun
