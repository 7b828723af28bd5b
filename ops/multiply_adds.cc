#include "ops/multiply_adds.h"

namespace graphrun {
namespace {

// The sizes of a value, empty where they are not known.
Dims SizesOf(const Value* v) {
  return v != nullptr && v->shape().is_concrete() ? v->shape().ToDims() : Dims();
}

double Product(const Dims& dims, size_t first = 0) {
  double product = 1;
  for (size_t i = first; i < dims.size(); ++i) product *= static_cast<double>(dims[i]);
  return product;
}

}  // namespace

double MatMulMultiplyAdds(const NodeContext& c) {
  const Dims a = SizesOf(c.node().input(0)), y = SizesOf(c.node().output(0));
  if (a.empty()) return 0;
  const bool turned = a.size() > 1 && c.Int("transA") != 0;
  return Product(y) * static_cast<double>(a[a.size() - (turned ? 2 : 1)]);
}

double ConvMultiplyAdds(const NodeContext& c, int y, int w) {
  const Dims filters = SizesOf(c.node().input(w));
  const Dims output = SizesOf(y < 0 ? c.node().output(0) : c.node().input(y));
  return filters.empty() || output.empty() ? 0 : Product(output) * Product(filters, 1);
}

double RecurrentMultiplyAdds(const NodeContext& c) {
  const Dims x = SizesOf(c.node().input(0));
  const Dims w = SizesOf(c.node().input(1)), r = SizesOf(c.node().input(2));
  if (x.size() != 3) return 0;
  return static_cast<double>(x[0]) * static_cast<double>(x[1]) * (Product(w) + Product(r));
}

double AttentionMultiplyAdds(const NodeContext& c) {
  const Dims q = SizesOf(c.node().input(0)), k = SizesOf(c.node().input(1));
  const Dims y = SizesOf(c.node().output(0));
  if (k.size() < 2) return 0;
  return static_cast<double>(k[k.size() - 2]) * (Product(q) + Product(y));
}

}  // namespace graphrun
