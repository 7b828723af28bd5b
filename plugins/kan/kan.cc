// SplineActivation: a learnt activation for each group of channels, the edge function of a
// Kolmogorov-Arnold network (Liu et al., arXiv:2404.19756) with groups as in Yang, Wang
// (arXiv:2409.10594).
//
//   y[n, c] = sum_k coefficients[c G / C, k] B(u - k),  u = 1 + (K - 3) (x[n, c] - low) / (high -
//   low)
//
// x [N, C], coefficients [G, K] with K >= 4 and C a multiple of G; B is the cubic B-spline on (-2,
// 2), so that on [low, high] the K functions can make every cubic spline with knots (high - low) /
// (K - 3) apart; far outside y is 0.
#include <algorithm>
#include <cmath>

#include "sdk/graphrun.hpp"

namespace {

using gr::Expr;

constexpr char kDomain[] = "graphrun.kan";
constexpr char kSizes[] =
    "SplineActivation: x is [N, C] and coefficients [G, K] with K of at least 4 and C a multiple "
    "of G";

// B(t) and its derivative.
template <typename T>
T Bump(T t) {
  const T a = std::abs(t);
  if (a >= 2) return 0;
  if (a >= 1) return (2 - a) * (2 - a) * (2 - a) / 6;
  return T(2) / 3 - a * a + a * a * a / 2;
}
template <typename T>
T Slope(T t) {
  const T a = std::abs(t), sign = t < 0 ? T(-1) : T(1);
  if (a >= 2) return 0;
  if (a >= 1) return -sign * (2 - a) * (2 - a) / 2;
  return sign * (T(3) / 2 * a * a - 2 * a);
}

struct Spline {
  double low, scale;  // u = 1 + scale (x - low)
  int64_t rows, channels, groups, knots;

  explicit Spline(const gr::Node& node, int x_input, int c_input) {
    const std::vector<int64_t> x = node.input_dims(x_input), c = node.input_dims(c_input);
    rows = x[0];
    channels = x[1];
    groups = c[0];
    knots = c[1];
    low = node.Float("low");
    scale = static_cast<double>(knots - 3) / (node.Float("high") - low);
  }
  int64_t GroupOf(int64_t channel) const { return channel / (channels / groups); }
  // Calls f(k, u - k) for the functions that are not 0 at x.
  template <typename T, typename F>
  void Near(T x, F f) const {
    const T u = 1 + static_cast<T>(scale) * (x - static_cast<T>(low));
    if (!(u > -2 && u < static_cast<T>(knots + 1))) return;
    const auto first = static_cast<int64_t>(std::floor(u)) - 1;
    const int64_t last = std::min(first + 3, knots - 1);
    for (int64_t k = std::max<int64_t>(first, 0); k <= last; ++k) f(k, u - static_cast<T>(k));
  }
};

template <typename T>
gr::RunFunction Forward(gr::Prepare& p) {
  const Spline s(p, 0, 1);
  return [s](gr::Run& r) {
    const T *x = r.In<T>(0), *c = r.In<T>(1);
    T* y = r.Out<T>(0);
    r.ParallelFor(
        s.rows, std::max<int64_t>(1, 2048 / std::max<int64_t>(s.channels, 1)), [&](int64_t n) {
          for (int64_t j = 0; j < s.channels; ++j) {
            const T* row = c + s.GroupOf(j) * s.knots;
            T sum = 0;
            s.Near(x[n * s.channels + j], [&](int64_t k, T t) { sum += row[k] * Bump(t); });
            y[n * s.channels + j] = sum;
          }
        });
  };
}

// Inputs dy, x, coefficients; outputs dx and dcoefficients. A group belongs to one thread: sums
// have one order.
template <typename T>
gr::RunFunction Backward(gr::Prepare& p) {
  const Spline s(p, 1, 2);
  return [s](gr::Run& r) {
    const T *dy = r.In<T>(0), *x = r.In<T>(1), *c = r.In<T>(2);
    T *dx = r.Out<T>(0), *dc = r.Out<T>(1);
    const int64_t each = s.channels / s.groups;
    r.ParallelFor(s.groups, 1, [&](int64_t g) {
      const T* row = c + g * s.knots;
      T* drow = dc + g * s.knots;
      std::fill_n(drow, s.knots, T(0));
      for (int64_t n = 0; n < s.rows; ++n) {
        for (int64_t j = g * each; j < (g + 1) * each; ++j) {
          const int64_t at = n * s.channels + j;
          T slope = 0;
          s.Near(x[at], [&](int64_t k, T t) {
            slope += row[k] * Slope(t);
            drow[k] += dy[at] * Bump(t);
          });
          dx[at] = dy[at] * slope * static_cast<T>(s.scale);
        }
      }
    });
  };
}

// The same in standard operators: t [N, C, K] is u - k.
struct Distances {
  Expr t, scale;
};
Distances DistancesOf(const gr::Node& node, Expr x, Expr c) {
  Expr knots = CastLike(DimOf(c, 1), x);  // [1]
  const double low = node.Float("low"), width = node.Float("high") - low;
  Expr scale = (knots - 3.0) / width;
  Expr u = 1.0 + scale * (x - low);
  Expr zero = gr::Cast(Squeeze(ZerosLike(DimOf(c, 1)), {0}), GR_INT64);
  Expr one = gr::FullLike(zero, 1), count = Squeeze(DimOf(c, 1), {0});
  Expr k = CastLike(gr::Op("Range", {zero, count, one}), x);
  return {Unsqueeze(u, {2}) - k, scale};
}
Expr BumpOf(Expr t) {
  Expr a = Abs(t), far = Max(2.0 - a, 0.0);
  return Where(a < 1.0, 2.0 / 3 - a * a + 0.5 * a * a * a, far * far * far / 6.0);
}
Expr SlopeOf(Expr t) {
  Expr a = Abs(t), far = Max(2.0 - a, 0.0);
  return Sign(t) * Where(a < 1.0, 1.5 * a * a - 2.0 * a, -0.5 * far * far);
}
// coefficients [G, K] for each channel: [C, K].
Expr OfChannels(Expr c, Expr x) {
  Expr each = gr::Op("Div", {DimOf(x, 1), DimOf(c, 0)});  // [1]
  Expr three = Unsqueeze(c, {1});                         // [G, 1, K]
  Expr wide = Expand(three, gr::Concat({DimOf(c, 0), each, DimOf(c, 1)}, 0));
  return ReshapeTo(wide, gr::Concat({DimOf(x, 1), DimOf(c, 1)}, 0));
}

void CheckSizes(gr::Infer& i, int x, int c) {
  if (i.input_rank(x) < 0 || i.input_rank(c) < 0) return;
  if (i.input_rank(x) != 2 || i.input_rank(c) != 2) throw gr::BadInput(kSizes);
  const int64_t channels = i.input_dim(x, 1).value, groups = i.input_dim(c, 0).value;
  const int64_t knots = i.input_dim(c, 1).value;
  if ((knots >= 0 && knots < 4) || groups == 0 ||
      (channels >= 0 && groups > 0 && channels % groups != 0))
    throw gr::BadInput(kSizes);
  if (!(i.Float("low") < i.Float("high")))
    throw gr::BadInput("SplineActivation: the attribute low must be below high");
}

void SameAs(gr::Infer& i, int output, int input) {
  if (i.input_rank(input) < 0) {
    i.UnknownOutput(output, i.input_dtype(input));
  } else {
    i.Output(output, i.input_dtype(input), i.dims(input));
  }
}

void Declare(gr::Plugin& plugin) {
  plugin.Add(
      gr::Operator(kDomain, "SplineActivation")
          .Doc("a learnt cubic spline for each group of channels")
          .Input("x")
          .Input("coefficients")
          .Role(GR_WEIGHT, 0)
          .Output("y")
          .Float("low", -2)
          .Float("high", 2)
          .Shapes([](gr::Infer& i) {
            CheckSizes(i, 0, 1);
            SameAs(i, 0, 0);
          })
          .Kernel<float, double>(
              "native", [](auto zero, gr::Prepare& p) { return Forward<decltype(zero)>(p); })
          .Gradient([](gr::Gradient& g) {
            const auto d = gr::Ops("SplineActivationGrad", {g.dy(), g.x(0), g.x(1)}, 2,
                                   {{"low", g.Float("low")}, {"high", g.Float("high")}}, kDomain);
            g.dx(0, d[0]);
            g.dx(1, d[1]);
          })
          .Body([](gr::Body& b) {
            const Distances d = DistancesOf(b, b.x(0), b.x(1));
            b.y(0, ReduceSum(BumpOf(d.t) * OfChannels(b.x(1), b.x(0)), {2}, false));
          })
          .Try(gr::Sample().In({5, 4}).In({2, 6}))
          .Try(gr::Sample().In({3, 4}, -3, 3).In({4, 9}).Set({"low", -1.0}).Set({"high", 1.5}))
          .Try(gr::Sample().In({0, 4}).In({1, 4}))
          .Try(gr::Sample().In({3, 4}).In({3, 6}).Refused("C a multiple of G"))
          .Try(gr::Sample().In({3, 4}).In({2, 3}).Refused("K of at least 4")));
  plugin.Add(
      gr::Operator(kDomain, "SplineActivationGrad")
          .Doc("dx and dcoefficients of SplineActivation")
          .Input("dy")
          .Input("x")
          .Input("coefficients")
          .Output("dx")
          .Output("dcoefficients")
          .Float("low", -2)
          .Float("high", 2)
          .Shapes([](gr::Infer& i) {
            CheckSizes(i, 1, 2);
            SameAs(i, 0, 1);
            SameAs(i, 1, 2);
          })
          .Kernel<float, double>(
              "native", [](auto zero, gr::Prepare& p) { return Backward<decltype(zero)>(p); })
          // dx = dy slope, dcoefficients = the sum of dy bump over the rows and channels of a
          // group. Through this body the gradient has a gradient.
          .Body([](gr::Body& b) {
            Expr dy = b.x(0), x = b.x(1), c = b.x(2);
            const Distances d = DistancesOf(b, x, c);
            b.y(0, dy * d.scale * ReduceSum(SlopeOf(d.t) * OfChannels(c, x), {2}, false));
            Expr of_channels = ReduceSum(Unsqueeze(dy, {2}) * BumpOf(d.t), {0}, false);  // [C, K]
            Expr each = gr::Op("Div", {DimOf(x, 1), DimOf(c, 0)});
            Expr sizes = gr::Concat({DimOf(c, 0), each, DimOf(c, 1)}, 0);
            b.y(1, ReduceSum(ReshapeTo(of_channels, sizes), {1}, false));
          })
          .Try(gr::Sample().In({5, 4}).In({5, 4}).In({2, 6}).Outputs(2))
          .Try(gr::Sample().In({3, 4}).In({3, 4}, -3, 3).In({4, 9}).Outputs(2)));
}

}  // namespace

GR_CPP_PLUGIN("kan", "1.0.0", "learnt spline activations", Declare);
