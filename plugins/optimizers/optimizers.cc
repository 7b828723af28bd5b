// Optimizers beyond the built-in ones: Lion, LAMB, Adan and Muon. Each is its update as formulas,
// which graphrun fuses into one loop over the parameter, as it does with its own.
#include <algorithm>
#include <cmath>

#include "sdk/graphrun.hpp"

namespace {

using gr::Expr;
using gr::Update;

// u = sign(beta1 m + (1 - beta1) g), w' = w - lr (u + decay w), m' = beta2 m + (1 - beta2) g.
// Chen et al. (arXiv:2302.06675), algorithm 2.
void Lion(Update& u) {
  const double beta1 = u["beta1"], beta2 = u["beta2"], decay = u["weight_decay"];
  Expr step = Sign(beta1 * u.slot(0) + (1 - beta1) * u.g());
  if (decay != 0) step = step + decay * u.w();
  u.parameter(u.w() - u.lr() * step);
  u.slot(0, beta2 * u.slot(0) + (1 - beta2) * u.g());
}

// Adam's direction r plus decay w, scaled by |w| / |r + decay w| (1 where either norm is 0).
// You et al. (arXiv:1904.00962), algorithm 2.
void Lamb(Update& u) {
  const double beta1 = u["beta1"], beta2 = u["beta2"], decay = u["weight_decay"];
  Expr m = beta1 * u.slot(0) + (1 - beta1) * u.g();
  Expr v = beta2 * u.slot(1) + (1 - beta2) * Square(u.g());
  Expr mean = m / (1.0 - u.PowerOfStep(beta1)), square = v / (1.0 - u.PowerOfStep(beta2));
  Expr r = mean / (Sqrt(square) + u["epsilon"]);
  if (decay != 0) r = r + decay * u.w();
  Expr w_norm = Sqrt(ReduceSum(Square(u.w()))), r_norm = Sqrt(ReduceSum(Square(r)));
  Expr ratio =
      Where(And(w_norm > 0.0, r_norm > 0.0), w_norm / Max(r_norm, 1e-30), FullLike(w_norm, 1));
  u.parameter(u.w() - u.lr() * ratio * r);
  u.slot(0, m);
  u.slot(1, v);
}

// m' = (1-b1) m + b1 g, d' = (1-b2) d + b2 (g - g_old), n' = (1-b3) n + b3 (g + (1-b2) (g -
// g_old))^2, w' = (w - lr (m' + (1-b2) d') / (sqrt(n') + epsilon)) / (1 + lr decay), with g_old = g
// in the first step and, as in the authors' program, corrections of the start-up bias. Xie et al.
// (arXiv:2208.06677), algorithm 1.
void Adan(Update& u) {
  const double b1 = u["beta1"], b2 = u["beta2"], b3 = u["beta3"];
  Expr previous = Where(CastLike(u.step(), u.w()) < 1.5, u.g(), u.slot(3));
  Expr change = u.g() - previous;
  Expr m = (1 - b1) * u.slot(0) + b1 * u.g();
  Expr d = (1 - b2) * u.slot(1) + b2 * change;
  Expr n = (1 - b3) * u.slot(2) + b3 * Square(u.g() + (1 - b2) * change);
  Expr m_hat = m / (1.0 - u.PowerOfStep(1 - b1)), d_hat = d / (1.0 - u.PowerOfStep(1 - b2));
  Expr n_hat = n / (1.0 - u.PowerOfStep(1 - b3));
  Expr next = u.w() - u.lr() * (m_hat + (1 - b2) * d_hat) / (Sqrt(n_hat) + u["epsilon"]);
  u.parameter(next / (1.0 + u.lr() * u["weight_decay"]));
  u.slot(0, m);
  u.slot(1, d);
  u.slot(2, n);
  u.slot(3, u.g());
}

// Five steps of a polynomial iteration bring the singular values of the momentum near 1, for
// matrices (further axes are taken together); w' = w (1 - lr decay) - lr sqrt(max(1, rows /
// columns)) O. Vectors take momentum's steps. Jordan et al., "Muon: an optimizer for hidden layers
// in neural networks" (2024).
void Muon(Update& u) {
  const double beta = u["beta"];
  Expr m = beta * u.slot(0) + u.g();
  Expr direction = u.g() + beta * m;  // Nesterov's look-ahead
  u.slot(0, m);
  Expr kept = u.w() - u.lr() * u["weight_decay"] * u.w();
  if (u.w().rank() < 2) {
    u.parameter(kept - u.lr() * direction);
    return;
  }
  const auto rows = static_cast<double>(u.w().dim(0).value);
  double columns = 1;
  for (int a = 1; a < u.w().rank(); ++a) columns *= static_cast<double>(u.w().dim(a).value);
  const bool tall = rows > columns;
  Expr x = Reshape(direction, {static_cast<int64_t>(rows), -1});
  if (tall) x = Transpose(x, {1, 0});
  x = x / (Sqrt(ReduceSum(Square(x))) + 1e-7);
  for (int i = 0; i < 5; ++i) {
    Expr a = MatMul(x, Transpose(x, {1, 0}));
    x = 3.4445 * x + MatMul(-4.7750 * a + 2.0315 * MatMul(a, a), x);
  }
  if (tall) x = Transpose(x, {1, 0});
  const double scale = std::sqrt(std::max(1.0, rows / columns));
  u.parameter(kept - u.lr() * scale * ReshapeTo(x, ShapeOf(u.w())));
}

void Declare(gr::Plugin& plugin) {
  constexpr double kMost = 1 - 1e-12;
  plugin.Add(gr::Optimizer("lion", 1e-4)
                 .Doc("the sign of a momentum")
                 .Number({"beta1", 0.9, 0, kMost})
                 .Number({"beta2", 0.99, 0, kMost})
                 .Number({"weight_decay", 0})
                 .Slot("momentum")
                 .Update(Lion));
  plugin.Add(gr::Optimizer("lamb", 2e-3)
                 .Doc("Adam with steps in proportion to each layer's norm, for large batches")
                 .Number({"beta1", 0.9, 0, kMost})
                 .Number({"beta2", 0.999, 0, kMost})
                 .Number({"epsilon", 1e-6, 1e-30, 1})
                 .Number({"weight_decay", 0})
                 .Slot("mean")
                 .Slot("mean_square")
                 .Update(Lamb));
  plugin.Add(gr::Optimizer("adan", 1e-3)
                 .Doc("adaptive Nesterov momentum")
                 .Number({"beta1", 0.02, 1e-12, 1})
                 .Number({"beta2", 0.08, 1e-12, 1})
                 .Number({"beta3", 0.01, 1e-12, 1})
                 .Number({"epsilon", 1e-8, 1e-30, 1})
                 .Number({"weight_decay", 0})
                 .Slot("mean")
                 .Slot("mean_change")
                 .Slot("mean_square")
                 .Slot("gradient")
                 .Update(Adan));
  plugin.Add(gr::Optimizer("muon", 0.02)
                 .Doc("momentum with orthogonal steps for matrices")
                 .Number({"beta", 0.95, 0, kMost})
                 .Number({"weight_decay", 0})
                 .Slot("momentum")
                 .Update(Muon));
}

}  // namespace

GR_CPP_PLUGIN("optimizers", "1.0.0", "Lion, LAMB, Adan and Muon", Declare);
