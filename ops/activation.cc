// Activations that bend at a point: Relu, LeakyRelu, PRelu, Elu, Selu, Celu, ThresholdedRelu,
// HardSigmoid, HardSwish, Shrink.
//
// Source: https://onnx.ai/onnx/operators (Relu 14, LeakyRelu 16, PRelu 16, Elu 22, Selu 22, Celu
// 28, ThresholdedRelu 22, HardSigmoid 22, HardSwish 22, Shrink 9). Before version 7 PRelu's slope
// lay along axis 1. At its kink every derivative is that of the left side.
#include <cmath>

#include "ops/elementwise.h"

namespace graphrun {
namespace {

Expr Zero(GradContext& g) { return g.builder().Scalar(g.dy().dtype(), 0); }

// alpha (e^x - 1) at and below 0 scaled by gamma; params: alpha, gamma.
constexpr auto kElu = [](auto x, const float* p) {
  using T = decltype(x);
  return static_cast<T>(p[1]) * (x > 0 ? x : static_cast<T>(p[0]) * std::expm1(x));
};
constexpr auto kFastElu = [](float x, const float* p) {
  return p[1] * (x > 0 ? x : p[0] * vm::Expm1(x));
};

void RegisterRelu(OpRegistry& ops) {
  const auto relu = [](auto x) { return x > 0 || x != x ? x : static_cast<decltype(x)>(0); };
  ops.Add(
      UnaryOp<Concat<FloatTypes, SignedTypes>>("Relu", 1, {1, 6, 13, 14}, kFloats | kSigned, relu)
          .Attr("consumed_inputs", Attr::Kind::kInts)
          // dx = dy where y > 0, else 0; reads y, so x may be freed
          .Gradient([](GradContext& g) { g.dx(0, Where(g.y() > 0.0, g.dy(), Zero(g))); })
          .Try(Sample().In({2, 3}, 0.5, 2))
          .Try(Sample().In({2, 3}, -2, -0.5))
          .Try(Sample()
                   .In(Tensor::Of<float>({3}, {-1, 0, 2}))
                   .NoGradient("the kink")
                   .Gives(Tensor::Of<float>({3}, {0, 0, 2})))
          .Try(Sample()
                   .In(Tensor::Of<int8_t>({2}, {-3, 3}))
                   .Gives(Tensor::Of<int8_t>({2}, {0, 3}))));
  const auto leaky = [](auto x, const float* p) {
    const auto slope = static_cast<decltype(x)>(p[0]);
    return x * (x > 0 ? static_cast<decltype(x)>(1) : slope);
  };
  ops.Add(FloatOp("LeakyRelu", 1, {1, 6, 16}, leaky, leaky, FloatAttrs({"alpha"}))
              .Attr("alpha", 0.01)
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = dy where x > 0, else alpha dy
              .Gradient([](GradContext& g) {
                g.dx(0, Where(g.x() > 0.0, g.dy(), g.dy() * g.Float("alpha")));
              })
              .Try(Sample().In({2, 3}, 0.5, 2))
              .Try(Sample().In({2, 3}, -2, -0.5).Attr("alpha", 0.25)));
  const auto thresholded = [](auto x, const float* p) {
    return x > static_cast<decltype(x)>(p[0]) ? x : static_cast<decltype(x)>(0);
  };
  ops.Add(FloatOp("ThresholdedRelu", 10, {10, 22}, thresholded, thresholded, FloatAttrs({"alpha"}))
              .Attr("alpha", 1.0)
              // dx = dy where x > alpha, else 0
              .Gradient(
                  [](GradContext& g) { g.dx(0, Where(g.x() > g.Float("alpha"), g.dy(), Zero(g))); })
              .Try(Sample().In({2, 3}, 1.5, 2))
              .Try(Sample().In({2, 3}, -2, 0.5)));
}

void RegisterPrelu(OpRegistry& ops) {
  const auto prelu = [](auto x, auto slope) {
    return x > 0 ? x : static_cast<decltype(x)>(slope * x);
  };
  using Types = Concat<FloatTypes, TypeList<int32_t, int64_t, uint32_t, uint64_t>>;
  constexpr DTypeSet kTypes =
      kFloats | DTypeSet{DType::kInt32, DType::kInt64, DType::kUInt32, DType::kUInt64};
  ops.Add(OpDef("PRelu", 1)
              .Versions({1, 6})
              .Input("X", "T")
              .Input("slope", "T")
              .Output("Y", "T")
              .Attr("consumed_inputs", Attr::Kind::kInts)
              .Types("T", kFloats)
              .Infer(SameAsInput)
              .Body([](BodyContext& b) {
                Expr slope = b.x(1);
                const Shape &x = b.x(0).shape(), &s = slope.shape();
                if (!x.has_rank() || !s.has_rank())
                  return b.Refuse(b.Error("needs inputs of known rank"));
                std::vector<int64_t> axes;
                for (int64_t i = 2; s.rank() == 1 && i < x.rank(); ++i) axes.push_back(i - 1);
                if (!axes.empty()) slope = Unsqueeze(slope, axes);
                b.Return(b.Op("PRelu", {b.x(0), slope}));
              })
              .Try(Sample().In({2, 3, 4}, -2, -0.5).In({3}))
              .Try(Sample().In({2, 3}, 0.5, 2).In({1})));
  ops.Add(OpDef("PRelu", 7)
              .Versions({7, 9, 16})
              .Input("X", "T")
              .Input("slope", "T")
              .Output("Y", "T")
              .Types("T", kTypes)
              .Infer([](InferContext& c) -> absl::Status {
                GR_ASSIGN_OR_RETURN(const Shape both, c.BroadcastInputs(0, 1));
                const Shape& x = c.input_shape(0);
                if (both.is_concrete() && x.is_concrete() && !(both == x)) {
                  return c.Error("slope of shape ", c.input_shape(1).ToString(),
                                 " does not broadcast to X of shape ", x.ToString());
                }
                return SameAsInput(c);
              })
              .InPlace(0, 0)
              .Kernel("block", BlockKernel())
              .Kernel("native", NativeBinary<Types>(prelu))
              .PointwiseBlock(&BinaryBlock<decltype(prelu)>)
              // dx = dy where x > 0, else slope dy; dslope = 0 where x > 0, else x dy
              .Gradient([](GradContext& g) {
                Expr positive = g.x(0) > 0.0;
                if (g.needs(0)) g.dx(0, Where(positive, g.dy(), g.dy() * g.x(1)));
                if (g.needs(1)) g.dx(1, Where(positive, Zero(g), g.dy() * g.x(0)));
              })
              .Try(Sample().In({2, 3}, 0.5, 2).In({3}))
              .Try(Sample().In({2, 3, 4}, -2, -0.5).In({3, 1}))
              .Try(Sample().In({2, 3}).In({4, 2, 3}).Refused("does not broadcast")));
}

void RegisterElu(OpRegistry& ops) {
  const auto unit_gamma = [](const NodeContext& c) {
    return std::vector<float>{c.Float("alpha"), 1};
  };
  ops.Add(FloatOp("Elu", 1, {1, 6, 22}, kElu, kFastElu, unit_gamma)
              .Attr("alpha", 1.0)
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = dy where x > 0, else (y + alpha) dy
              .Gradient([](GradContext& g) {
                g.dx(0, Where(g.x() > 0.0, g.dy(), g.dy() * (g.y() + g.Float("alpha"))));
              })
              .Try(Sample().In({2, 3}, 0.5, 2))
              .Try(Sample().In({2, 3}, -2, -0.5).Attr("alpha", 0.5)));
  ops.Add(OpDef("Selu", 1)
              .Input("X", "T")
              .Output("Y", "T")
              .Attr("alpha", 1.6732)
              .Attr("gamma", 1.0507)
              .Attr("consumed_inputs", Attr::Kind::kInts)
              .Types("T", kFloats)
              .Infer(SameAsInput)
              .Body([](BodyContext& b) {
                b.Return(b.Op("Selu", {b.x(0)},
                              {{"alpha", b.Float("alpha")}, {"gamma", b.Float("gamma")}}));
              })
              .Try(Sample().In({2, 3}, -2, -0.5)));
  ops.Add(FloatOp("Selu", 6, {6, 22}, kElu, kFastElu, FloatAttrs({"alpha", "gamma"}))
              .Attr("alpha", 1.67326319217681884765625)
              .Attr("gamma", 1.05070102214813232421875)
              // dx = gamma dy where x > 0, else (y + gamma alpha) dy
              .Gradient([](GradContext& g) {
                const double alpha = g.Float("alpha"), gamma = g.Float("gamma");
                g.dx(0, g.dy() * Where(g.x() > 0.0, g.builder().Scalar(g.x().dtype(), gamma),
                                       g.y() + gamma * alpha));
              })
              .Try(Sample().In({2, 3}, 0.5, 2))
              .Try(Sample().In({2, 3}, -2, -0.5)));
  ops.Add(FloatOp(
              "Celu", 12, {12, 28},
              [](auto x, const float* p) {
                const auto alpha = static_cast<decltype(x)>(p[0]);
                return x > 0 ? x : alpha * std::expm1(x / alpha);
              },
              [](float x, const float* p) { return x > 0 ? x : p[0] * vm::Expm1(x / p[0]); },
              FloatAttrs({"alpha"}))
              .Attr("alpha", 1.0)
              // dx = dy where x > 0, else (y / alpha + 1) dy
              .Gradient([](GradContext& g) {
                g.dx(0, Where(g.x() > 0.0, g.dy(), g.dy() * (g.y() / g.Float("alpha") + 1.0)));
              })
              .Body([](BodyContext& b) {
                const double alpha = b.Float("alpha");
                b.Return(Max(b.x(0), 0.0) + Min((Exp(b.x(0) / alpha) - 1.0) * alpha, 0.0));
              })
              .Try(Sample().In({2, 3}, 0.5, 2))
              .Try(Sample().In({2, 3}, -2, -0.5).Attr("alpha", 0.5)));
}

void RegisterHard(OpRegistry& ops) {
  const auto hard_sigmoid = [](auto x, const float* p) {
    using T = decltype(x);
    const T v = static_cast<T>(p[0]) * x + static_cast<T>(p[1]);
    const T raised = v < 0 ? static_cast<T>(0) : v;
    return raised > 1 ? static_cast<T>(1) : raised;
  };
  ops.Add(FloatOp("HardSigmoid", 1, {1, 6, 22}, hard_sigmoid, hard_sigmoid,
                  FloatAttrs({"alpha", "beta"}))
              .Attr("alpha", 0.2)
              .Attr("beta", 0.5)
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = alpha dy where 0 < y < 1, else 0
              .Gradient([](GradContext& g) {
                Expr inside = And(g.y() > 0.0, g.y() < 1.0);
                g.dx(0, Where(inside, g.dy() * g.Float("alpha"), Zero(g)));
              })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({2, 3}, 3, 4)));
  const auto hard_swish = [](auto x) {
    using T = decltype(x);
    const T v = x / static_cast<T>(6) + static_cast<T>(0.5);
    const T raised = v < 0 ? static_cast<T>(0) : v;
    return x * (raised > 1 ? static_cast<T>(1) : raised);
  };
  ops.Add(
      FloatOp("HardSwish", 14, {14, 22}, hard_swish)
          // dx = 0 where x <= -3, dy where x > 3, else (x / 3 + 1/2) dy
          .Gradient([](GradContext& g) {
            Expr x = g.x();
            Expr middle = Where(x > 3.0, g.dy(), g.dy() * (x / 3.0 + 0.5));
            g.dx(0, Where(x <= -3.0, Zero(g), middle));
          })
          .Body([](BodyContext& b) { b.Return(b.x(0) * Max(Min(b.x(0) / 6.0 + 0.5, 1.0), 0.0)); })
          .Try(Sample().In({2, 3}, -2.5, 2.5))
          .Try(Sample().In({2, 3}, 3.5, 5))
          .Try(Sample().In({2, 3}, -5, -3.5)));
  const auto shrink = [](auto x, const float* p) {
    using T = decltype(x);
    using C = std::conditional_t<std::is_floating_point_v<T>, T, double>;
    const C v = static_cast<C>(x), lambda = static_cast<C>(p[0]), bias = static_cast<C>(p[1]);
    return static_cast<T>(v < -lambda ? v + bias : v > lambda ? v - bias : static_cast<C>(0));
  };
  ops.Add(UnaryOp<NumericTypes>("Shrink", 9, {9}, kNumeric, shrink, shrink,
                                FloatAttrs({"lambd", "bias"}))
              .Attr("lambd", 0.5)
              .Attr("bias", 0.0)
              // dx = dy where |x| > lambd, else 0
              .Gradient([](GradContext& g) {
                g.dx(0, Where(Abs(g.x()) > g.Float("lambd"), g.dy(), Zero(g)));
              })
              .Try(Sample().In({2, 3}, 0.75, 2).Attr("bias", 0.25))
              .Try(Sample().In({2, 3}, -2, -0.75).Attr("bias", 0.25))
              .Try(Sample().In({2, 3}, -0.25, 0.25)));
}

}  // namespace

void RegisterActivationOps(OpRegistry& ops) {
  RegisterRelu(ops);
  RegisterPrelu(ops);
  RegisterElu(ops);
  RegisterHard(ops);
}

}  // namespace graphrun
