// Floor, Ceil, Round (halves to even).
//
// Source: https://onnx.ai/onnx/operators (Floor 13, Ceil 13, Round 22). Element types: floats.
// Their derivative is 0 wherever there is one, and taken as 0 at the steps.
#include <cmath>

#include "ops/elementwise.h"

namespace graphrun {
namespace {

template <typename F>
OpDef Rounding(const char* name, int since, std::vector<int> versions, F f) {
  return FloatOp(name, since, std::move(versions), f)
      .Gradient([](GradContext& g) { g.dx(0, ZerosLike(g.x())); })
      .Try(Sample().In({2, 3}, 0.1, 0.4))
      .Try(Sample().In({2, 3}, -0.9, -0.6));
}

}  // namespace

void RegisterRoundingOps(OpRegistry& ops) {
  const Tensor x = Tensor::Of<float>({7}, {0.5f, 1.5f, 2.5f, -0.5f, -2.5f, 2.3f, -1.7f});
  ops.Add(Rounding("Floor", 1, {1, 6, 13}, [](auto v) { return std::floor(v); })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              .Try(Sample().In(x).NoGradient("steps").Gives(
                  Tensor::Of<float>({7}, {0, 1, 2, -1, -3, 2, -2}))));
  ops.Add(Rounding("Ceil", 1, {1, 6, 13}, [](auto v) { return std::ceil(v); })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              .Try(Sample().In(x).NoGradient("steps").Gives(
                  Tensor::Of<float>({7}, {1, 2, 3, 0, -2, 3, -1}))));
  ops.Add(Rounding("Round", 11, {11, 22}, [](auto v) { return std::nearbyint(v); })
              .Try(Sample().In(x).NoGradient("steps").Gives(
                  Tensor::Of<float>({7}, {0, 2, 2, 0, -2, 2, -2}))));
}

}  // namespace graphrun
