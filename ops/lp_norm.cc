// LpNormalization and MeanVarianceNormalization: function bodies.
//
// Source: https://onnx.ai/onnx/operators (LpNormalization 22, MeanVarianceNormalization 13).
// Element types: floats. A vector of norm 0 gives 0, with gradient dy there. The variance is the
// mean of squared deviations, where the standard's text subtracts squares.
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferLp(InferContext& c) {
  const int64_t p = c.Int("p", 2);
  if (p != 1 && p != 2) return c.Error("p is ", p, " but must be 1 or 2");
  const Shape& x = c.input_shape(0);
  if (x.has_rank()) GR_RETURN_IF_ERROR(c.Axis(c.Int("axis", -1), x.rank()).status());
  return SameAsInput(c);
}

absl::Status InferMeanVariance(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (x.has_rank()) {
    for (const int64_t axis : c.Ints("axes")) GR_RETURN_IF_ERROR(c.Axis(axis, x.rank()).status());
  }
  return SameAsInput(c);
}

}  // namespace

void RegisterLpNormOps(OpRegistry& ops) {
  ops.Add(OpDef("LpNormalization", 1)
              .Versions({1, 22})
              .Input("input", "T")
              .Output("output", "T")
              .Types("T", kFloats)
              .Attr("axis", -1)
              .Attr("p", 2)
              .Infer(InferLp)
              .Body([](BodyContext& b) {
                Expr x = b.x();
                const std::vector<int64_t> axes = {b.Int("axis", -1)};
                const bool squares = b.Int("p", 2) == 2;
                Expr sum = ReduceSum(squares ? x * x : Abs(x), axes, true);
                Expr safe = Where(Equal(sum, 0), b.builder().Scalar(x.dtype(), 1), sum);
                b.Return(x / (squares ? Sqrt(safe) : safe));
              })
              .Try(Sample().In({2, 3, 4}))
              .Try(Sample().In({2, 3, 4}).Attr("axis", 1).Attr("p", 1))
              .Try(Sample().In({0, 4}))
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 2}, {3, 4, 0, 0}))
                       .Gives(Tensor::Of<float>({2, 2}, {0.6f, 0.8f, 0, 0}))
                       .NoGradient("a norm of 0"))
              .Try(Sample().In({2, 3}).Attr("p", 3).Refused("must be 1 or 2")));
  ops.Add(OpDef("MeanVarianceNormalization", 9)
              .Versions({9, 13})
              .Input("X", "T")
              .Output("Y", "T")
              .Types("T", kFloats)
              .Attr("axes", std::vector<int64_t>{0, 2, 3})
              .Infer(InferMeanVariance)
              .Body([](BodyContext& b) {
                const std::vector<int64_t> axes = b.Ints("axes");
                if (axes.empty()) return b.Return(ZerosLike(b.x()));
                Expr d = b.x() - ReduceMean(b.x(), axes, true);
                b.Return(d / (Sqrt(ReduceMean(d * d, axes, true)) + 1e-9));
              })
              .Try(Sample().In({2, 3, 2, 2}))
              .Try(Sample().In({2, 5}).Attr("axes", std::vector<int64_t>{-1}))
              .Try(Sample().In({2, 5}).Refused("axis")));
}

}  // namespace graphrun
