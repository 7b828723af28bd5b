// Smooth activations: Sigmoid, Swish, SwiGLU, Mish, Gelu, Softplus, Softsign. (Tanh is in
// trigonometry.cc.)
//
// Source: https://onnx.ai/onnx/operators (Sigmoid 13, Swish 24, SwiGLU 28, Mish 22, Gelu 20,
// Softplus 22, Softsign 22). Element types: floats.
#include <cmath>

#include "ops/elementwise.h"

namespace graphrun {
namespace {

constexpr double kRootHalf = 0.70710678118654752440;
constexpr double kRootTwoOverPi = 0.79788456080286535588;
constexpr double kCubic = 0.044715;

template <typename T>
T StableSigmoid(T x) {
  const T e = std::exp(-std::fabs(x));
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}
template <typename T>
T StableSoftplus(T x) {
  return (x > 0 || x != x ? x : 0) + std::log1p(std::exp(-std::fabs(x)));
}

// params: 1 for the form with tanh
constexpr auto kGelu = [](auto x, const float* p) {
  using T = decltype(x);
  const T u = static_cast<T>(kRootTwoOverPi) * (x + static_cast<T>(kCubic) * x * x * x);
  const T inner = p[0] != 0 ? std::tanh(u) : std::erf(x * static_cast<T>(kRootHalf));
  return static_cast<T>(0.5) * x * (1 + inner);
};

// Phi(x) - 1/2, and Phi(x) + x phi(x) - 1/2: odd functions, as x times a ratio of polynomials of
// x^2 that were fitted by reweighted least squares to less than 5e-9. Error in f32: 2e-7.
inline float NormalArea(float x) {
  const float u = x * x;
  float above = 2.40507467e-08f;
  above = vm::MulAdd(above, u, 6.37901019e-06f);
  above = vm::MulAdd(above, u, 0.000160328094f);
  above = vm::MulAdd(above, u, 0.00462795502f);
  above = vm::MulAdd(above, u, 0.0329351621f);
  above = vm::MulAdd(above, u, 0.398942254f);
  float below = 1.23717748e-06f;
  below = vm::MulAdd(below, u, 7.1350223e-05f);
  below = vm::MulAdd(below, u, 0.00183653561f);
  below = vm::MulAdd(below, u, 0.0281384672f);
  below = vm::MulAdd(below, u, 0.249222438f);
  below = vm::MulAdd(below, u, 1.0f);
  const float ratio = x * above / below;
  return std::fabs(x) > 5.3f ? std::copysign(0.5f, x) : ratio;
}

inline float NormalSlope(float x) {
  const float u = x * x;
  float above = -2.80791497e-11f;
  above = vm::MulAdd(above, u, 1.15320225e-08f);
  above = vm::MulAdd(above, u, 8.91549442e-07f);
  above = vm::MulAdd(above, u, 3.2059199e-05f);
  above = vm::MulAdd(above, u, 0.00019735156f);
  above = vm::MulAdd(above, u, 0.013763766f);
  above = vm::MulAdd(above, u, -0.0229022284f);
  above = vm::MulAdd(above, u, 0.797884538f);
  float below = 3.0229829e-07f;
  below = vm::MulAdd(below, u, 9.68139365e-06f);
  below = vm::MulAdd(below, u, 0.000236912287f);
  below = vm::MulAdd(below, u, 0.00390181436f);
  below = vm::MulAdd(below, u, 0.0437943182f);
  below = vm::MulAdd(below, u, 0.304629349f);
  below = vm::MulAdd(below, u, 1.0f);
  const float ratio = x * above / below;
  return std::fabs(x) > 5.8f ? std::copysign(0.5f, x) : ratio;
}

void GeluBlock(const float* const* x, int, float* y, int64_t n, const float* params) {
  const float* a = x[0];
  if (params[0] != 0) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const float v = a[i];
      const float u =
          static_cast<float>(kRootTwoOverPi) * (v + static_cast<float>(kCubic) * v * v * v);
      y[i] = 0.5f * v * (1.0f + vm::Tanh(u));
    }
  } else {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = a[i] * (0.5f + NormalArea(a[i]));
  }
}

// dy (Phi(x) + x phi(x)), or the same of the form with tanh
template <bool kTanh>
struct GeluSlope {
  template <typename T>
  T operator()(T dy, T x) const {
    if constexpr (kTanh) {
      const T t =
          std::tanh(static_cast<T>(kRootTwoOverPi) * (x + static_cast<T>(kCubic) * x * x * x));
      const T du = static_cast<T>(kRootTwoOverPi) * (1 + static_cast<T>(3 * kCubic) * x * x);
      return dy * static_cast<T>(0.5) * (1 + t + x * (1 - t * t) * du);
    } else {
      const T cdf = static_cast<T>(0.5) * (1 + std::erf(x * static_cast<T>(kRootHalf)));
      const T pdf = static_cast<T>(0.5 * kRootTwoOverPi) * std::exp(x * x * static_cast<T>(-0.5));
      return dy * (cdf + x * pdf);
    }
  }
};

void GeluGradBlock(const float* const* x, int, float* y, int64_t n, const float* params) {
  const float *dy = x[0], *a = x[1];
  constexpr float kRoot = static_cast<float>(kRootTwoOverPi), kC = static_cast<float>(kCubic);
  if (params[0] != 0) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const float v = a[i], t = vm::Tanh(kRoot * (v + kC * v * v * v));
      const float du = kRoot * (1.0f + 3.0f * kC * v * v);
      y[i] = dy[i] * (0.5f * (1.0f + t) + 0.5f * v * (1.0f - t * t) * du);
    }
  } else {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = dy[i] * (0.5f + NormalSlope(a[i]));
  }
}

void GeluGradBody(BodyContext& b) {
  Expr dy = b.x(0), x = b.x(1);
  if (b.String("approximate") == "tanh") {
    Expr t = Tanh((x + x * x * x * kCubic) * kRootTwoOverPi);
    Expr du = (Square(x) * (3 * kCubic) + 1.0) * kRootTwoOverPi;
    b.Return(dy * ((t + 1.0) * 0.5 + x * 0.5 * (1.0 - Square(t)) * du));
  } else {
    Expr cdf = (Erf(x * kRootHalf) + 1.0) * 0.5;
    Expr pdf = Exp(Square(x) * -0.5) * (0.5 * kRootTwoOverPi);
    b.Return(dy * (cdf + x * pdf));
  }
}

std::vector<float> GeluParams(const NodeContext& c) {
  return {c.String("approximate") == "tanh" ? 1.0f : 0.0f};
}

// With e = e^x: tanh(log(1 + e)) = n / (n + 2) where n = e (e + 2).
constexpr auto kFastMish = [](float x) {
  const float e = vm::Exp(x > 20.0f ? 20.0f : x);
  const float n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
};

}  // namespace

void RegisterSmoothActivationOps(OpRegistry& ops) {
  ops.Add(FloatOp(
              "Sigmoid", 1, {1, 6, 13}, [](auto x) { return StableSigmoid(x); },
              [](float x) { return vm::Sigmoid(x); })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              .Link(OutputLink::kSigmoid)
              // dx = dy y (1 - y); reads y, so x may be freed
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * g.y() * (1.0 - g.y())); })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({40}, -30, 30)));
  ops.Add(FloatOp(
              "Swish", 24, {24},
              [](auto x, const float* p) {
                return x * StableSigmoid(static_cast<decltype(x)>(p[0]) * x);
              },
              [](float x, const float* p) { return x * vm::Sigmoid(p[0] * x); },
              FloatAttrs({"alpha"}))
              .Attr("alpha", 1.0)
              // with s = sigmoid(alpha x): dx = dy s (1 + alpha x (1 - s))
              .Gradient([](GradContext& g) {
                Expr z = g.x() * g.Float("alpha"), s = Sigmoid(z);
                g.dx(0, g.dy() * s * (z * (1.0 - s) + 1.0));
              })
              .Body([](BodyContext& b) { b.Return(b.x(0) * Sigmoid(b.x(0) * b.Float("alpha"))); })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({2, 3}).Attr("alpha", 1.75)));
  ops.Add(OpDef("SwiGLU", 28)
              .Input("A", "T")
              .Input("B", "T")
              .Output("Y", "T")
              .Attr("alpha", 1.0)
              .Types("T", kFloats)
              .Infer([](InferContext& c) -> absl::Status {
                const Shape &a = c.input_shape(0), &b = c.input_shape(1);
                if (a.is_concrete() && b.is_concrete() && !(a == b)) {
                  return c.Error("A has shape ", a.ToString(), " and B ", b.ToString(),
                                 ", which must be equal");
                }
                return SameAsInput(c);
              })
              .Body([](BodyContext& b) {
                b.Return(b.Op("Swish", {b.x(0)}, {{"alpha", b.Float("alpha")}}) * b.x(1));
              })
              .Try(Sample().In({2, 3}).In({2, 3}).Attr("alpha", 1.5))
              .Try(Sample().In({2, 3}).In({3}).Refused("must be equal")));
  ops.Add(
      FloatOp(
          "Mish", 18, {18, 22}, [](auto x) { return x * std::tanh(StableSoftplus(x)); }, kFastMish)
          // with t = tanh(softplus(x)): dx = dy (t + x (1 - t^2) sigmoid(x))
          .Gradient([](GradContext& g) {
            Expr x = g.x(), t = Tanh(g.builder().Op("Softplus", {x}));
            g.dx(0, g.dy() * (t + x * (1.0 - Square(t)) * Sigmoid(x)));
          })
          .Body([](BodyContext& b) { b.Return(b.x(0) * Tanh(b.Op("Softplus", {b.x(0)}))); })
          .Try(Sample().In({2, 3}))
          .Try(Sample().In({40}, -30, 30)));
  ops.Add(
      FloatOp("Gelu", 20, {20}, kGelu, kGelu, GeluParams)
          .PointwiseBlock(GeluBlock, GeluParams)
          .Attr("approximate", "none")
          .Infer([](InferContext& c) -> absl::Status {
            const std::string form = c.String("approximate");
            if (form != "none" && form != "tanh") {
              return c.Error("attribute approximate is \"", form, "\" but must be none or tanh");
            }
            return SameAsInput(c);
          })
          // See GeluGrad; reads x
          .Gradient([](GradContext& g) {
            g.dx(0, g.builder().Op("GeluGrad", {g.dy(), g.x()},
                                   {{"approximate", g.String("approximate")}}, kGraphrunDomain));
          })
          .Body([](BodyContext& b) {
            Expr x = b.x(0);
            Expr inner = b.String("approximate") == "tanh"
                             ? Tanh((x + x * x * x * kCubic) * kRootTwoOverPi)
                             : Erf(x * kRootHalf);
            b.Return(x * 0.5 * (inner + 1.0));
          })
          .Try(Sample().In({2, 3}))
          .Try(Sample().In({40}, -6, 6))
          .Try(Sample().In({500}, -15, 15))
          .Try(Sample().In({2, 3}).Attr("approximate", "tanh"))
          .Try(Sample().In({2, 3}).Attr("approximate", "fast").Refused("none or tanh")));
  ops.Add(OpDef("GeluGrad", 1, kGraphrunDomain)
              .Input("dY", "T")
              .Input("X", "T")
              .Output("dX", "T")
              .Types("T", kFloats)
              .Attr("approximate", "none")
              .Infer([](InferContext& c) -> absl::Status {
                const Shape &dy = c.input_shape(0), &x = c.input_shape(1);
                if (dy.is_concrete() && x.is_concrete() && !(dy == x)) {
                  return c.Error("dY has shape ", dy.ToString(), " and X ", x.ToString(),
                                 ", which must be equal");
                }
                c.set_output(0, c.input_dtype(1), x);
                return absl::OkStatus();
              })
              .InPlace(0, 0)
              .InPlace(1, 0)
              .Kernel("block", BlockKernel())
              .Kernel("native",
                      [](PrepareContext& c) {
                        return c.String("approximate") == "tanh"
                                   ? NativeBinary<FloatTypes>(GeluSlope<true>())(c)
                                   : NativeBinary<FloatTypes>(GeluSlope<false>())(c);
                      })
              .PointwiseBlock(GeluGradBlock, GeluParams)
              .Body(GeluGradBody)
              .Try(Sample().In({2, 3}).In({2, 3}))
              .Try(Sample().In({40}).In({40}, -6, 6))
              .Try(Sample().In({500}).In({500}, -15, 15))
              .Try(Sample().In({2, 30}).In({2, 30}).Attr("approximate", "tanh"))
              .Try(Sample().In({2, 3}).In({3}).Refused("must be equal")));
  ops.Add(FloatOp(
              "Softplus", 1, {1, 22}, [](auto x) { return StableSoftplus(x); },
              [](float x) { return vm::Softplus(x); })
              // dx = dy sigmoid(x)
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * Sigmoid(g.x())); })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({40}, -30, 30)));
  ops.Add(FloatOp("Softsign", 1, {1, 22}, [](auto x) { return x / (1 + std::fabs(x)); })
              // dx = dy / (1 + |x|)^2
              .Gradient([](GradContext& g) { g.dx(0, g.dy() / Square(Abs(g.x()) + 1.0)); })
              .Try(Sample().In({2, 3}, 0.5, 2))
              .Try(Sample().In({2, 3}, -2, -0.5)));
}

}  // namespace graphrun
