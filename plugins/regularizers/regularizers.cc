// Regularizers for the shape of weight matrices: orthogonal and spectral. A weight is seen as a
// matrix with one row for each output unit.
#include "sdk/graphrun.hpp"

namespace {

using gr::Expr;

// [units, the rest]; `back` undoes it.
Expr AsMatrix(gr::Weight& weight) {
  Expr w = weight.w();
  if (w.rank() < 2) return w;
  gr::Ints order = {weight.unit_axis()};
  for (int a = 0; a < w.rank(); ++a)
    if (a != weight.unit_axis()) order.push_back(a);
  return Reshape(Transpose(w, order), {w.dim(weight.unit_axis()).value, -1});
}

Expr Back(gr::Weight& weight, Expr matrix) {
  Expr w = weight.w();
  gr::Ints order = {weight.unit_axis()}, sizes = {w.dim(weight.unit_axis()).value};
  for (int a = 0; a < w.rank(); ++a) {
    if (a == weight.unit_axis()) continue;
    order.push_back(a);
    sizes.push_back(w.dim(a).value);
  }
  gr::Ints inverse(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    inverse[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  return Transpose(Reshape(matrix, sizes), inverse);
}

// M M^T - I where M has no more rows than columns, else M^T M - I: the smaller of the two, which
// can become 0.
struct Gram {
  Expr difference;
  bool wide;
};
Gram GramOf(Expr m) {
  const int64_t rows = m.dim(0).value, columns = m.dim(1).value;
  const bool wide = rows <= columns;
  Expr t = Transpose(m, {1, 0});
  Expr product = wide ? MatMul(m, t) : MatMul(t, m);
  return {product - gr::Op("EyeLike", {product}), wide};
}

// strength/4 |W W^T - I|^2, so that the gradient is strength (W W^T - I) W. Vectors are left alone.
Expr OrthogonalGradient(gr::Weight& weight) {
  if (weight.w().rank() < 2) return ZerosLike(weight.w());
  Expr m = AsMatrix(weight);
  const Gram gram = GramOf(m);
  Expr gradient = gram.wide ? MatMul(gram.difference, m) : MatMul(m, gram.difference);
  return weight["strength"] * Back(weight, gradient);
}
Expr OrthogonalPenalty(gr::Weight& weight) {
  if (weight.w().rank() < 2) return ReduceSum(ZerosLike(weight.w()));
  return weight["strength"] / 4 * ReduceSum(Square(GramOf(AsMatrix(weight)).difference));
}

// The largest singular value s with its vectors, by power iteration from the row of ones.
struct Singular {
  Expr u, v, s;
};
Singular Largest(Expr m, double iterations) {
  const auto unit = [](Expr x) { return x / (Sqrt(ReduceSum(Square(x))) + 1e-12); };
  Expr t = Transpose(m, {1, 0});
  Expr u = unit(MatMul(m, FullLike(ReduceSum(t, {1}, true), 1)));
  Expr v;
  for (int i = 0; i < static_cast<int>(iterations); ++i) {
    v = unit(MatMul(t, u));
    u = unit(MatMul(m, v));
  }
  return {u, v, ReduceSum(u * MatMul(m, v))};
}

// strength/2 s^2 with s the largest singular value: the gradient is strength s u v^T.
// Yoshida, Miyato (arXiv:1705.10941).
Expr SpectralGradient(gr::Weight& weight) {
  if (weight.w().rank() < 2) return weight["strength"] * weight.w();
  const Singular one = Largest(AsMatrix(weight), weight["iterations"]);
  return weight["strength"] * Back(weight, one.s * MatMul(one.u, Transpose(one.v, {1, 0})));
}
Expr SpectralPenalty(gr::Weight& weight) {
  if (weight.w().rank() < 2) return weight["strength"] / 2 * ReduceSum(Square(weight.w()));
  return weight["strength"] / 2 * Square(Largest(AsMatrix(weight), weight["iterations"]).s);
}

void Declare(gr::Plugin& plugin) {
  plugin.Add(gr::Regularizer("orthogonal")
                 .Doc("strength/4 |W W^T - I|^2")
                 .Number({"strength", 0.01, 0, 1e30})
                 .Gradient(OrthogonalGradient)
                 .Penalty(OrthogonalPenalty));
  plugin.Add(gr::Regularizer("spectral")
                 .Doc("strength/2 times the square of the largest singular value")
                 .Number({"strength", 0.01, 0, 1e30})
                 .Number({"iterations", 8, 1, 100})
                 .Gradient(SpectralGradient)
                 .Penalty(SpectralPenalty));
}

}  // namespace

GR_CPP_PLUGIN("regularizers", "1.0.0", "orthogonal and spectral regularizers", Declare);
