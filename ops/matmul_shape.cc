#include "ops/matmul_shape.h"

#include <algorithm>

namespace graphrun {

MatMulShape MatMulShape::Of(const Dims& a, const Dims& b, bool trans_a, bool trans_b) {
  MatMulShape s;
  s.trans_a = trans_a && a.size() > 1;
  s.trans_b = trans_b && b.size() > 1;
  Dims am = a, bm = b;
  if (am.size() == 1) am.insert(am.begin(), 1);
  if (bm.size() == 1) bm.push_back(1);
  s.m = am[am.size() - (s.trans_a ? 1 : 2)];
  s.k = am[am.size() - (s.trans_a ? 2 : 1)];
  s.n = bm[bm.size() - (s.trans_b ? 2 : 1)];
  s.a_batch.assign(am.begin(), am.end() - 2);
  s.b_batch.assign(bm.begin(), bm.end() - 2);
  const size_t rank = std::max(s.a_batch.size(), s.b_batch.size());
  s.a_batch.insert(s.a_batch.begin(), rank - s.a_batch.size(), 1);
  s.b_batch.insert(s.b_batch.begin(), rank - s.b_batch.size(), 1);
  for (size_t i = 0; i < rank; ++i) {
    s.batch.push_back(s.a_batch[i] == 1 ? s.b_batch[i] : s.a_batch[i]);
  }
  return s;
}

bool MatMulShape::is_empty() const { return m == 0 || n == 0 || Product(batch) == 0; }

MatMulShape MatMulShape::Simplified() const {
  MatMulShape s = *this;
  const auto ones = [](const Dims& dims) {
    return std::all_of(dims.begin(), dims.end(), [](int64_t d) { return d == 1; });
  };
  if (ones(b_batch) && (!trans_a || ones(a_batch))) {
    s.m = m * Product(batch);
    s.batch.clear();
  } else if (a_batch == b_batch || ones(a_batch) || ones(b_batch)) {
    s.batch = {Product(batch)};
    s.a_batch = {Product(a_batch)};
    s.b_batch = {Product(b_batch)};
    return s;
  }
  if (s.batch.empty()) {
    s.a_batch.clear();
    s.b_batch.clear();
  }
  return s;
}

absl::StatusOr<Shape> InferMatMulShape(const NodeContext& c, const Shape& a, const Shape& b,
                                       bool trans_a, bool trans_b) {
  if (!a.has_rank() || !b.has_rank()) return Shape();
  if (a.rank() == 0 || b.rank() == 0) {
    return c.Error("input ", a.rank() == 0 ? "A" : "B",
                   " is a scalar, but a matrix product takes at least one axis. Use Mul to scale");
  }
  std::vector<Dim> am = a.dims(), bm = b.dims();
  if (am.size() == 1) am.insert(am.begin(), Dim(1));
  if (bm.size() == 1) bm.push_back(Dim(1));
  const bool ta = trans_a && a.rank() > 1, tb = trans_b && b.rank() > 1;
  const Dim m = am[am.size() - (ta ? 1 : 2)], ka = am[am.size() - (ta ? 2 : 1)];
  const Dim n = bm[bm.size() - (tb ? 2 : 1)], kb = bm[bm.size() - (tb ? 1 : 2)];
  if (ka.is_number() && kb.is_number() && ka.value() != kb.value()) {
    return c.Error("input A has shape ", a.ToString(), ta ? " (transposed)" : "", " but B is ",
                   b.ToString(), tb ? " (transposed)" : "", ": B must have ", ka.value(),
                   " rows, it has ", kb.value(), ". Is one of them stored transposed?");
  }
  auto batch = BroadcastShapes(Shape(std::vector<Dim>(am.begin(), am.end() - 2)),
                               Shape(std::vector<Dim>(bm.begin(), bm.end() - 2)));
  if (!batch.ok()) {
    return c.Error("the batch axes of A ", a.ToString(), " and B ", b.ToString(),
                   " do not broadcast");
  }
  Shape y = *std::move(batch);
  if (a.rank() > 1) y.Append(m);
  if (b.rank() > 1) y.Append(n);
  return y;
}

}  // namespace graphrun
