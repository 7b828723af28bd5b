#include "ops/conv_gradients.h"

#include "ops/window.h"

namespace graphrun {
namespace {

std::vector<int64_t> AllButChannels(int rank) {
  std::vector<int64_t> axes = {0};
  for (int i = 2; i < rank; ++i) axes.push_back(i);
  return axes;
}

// The window of a body's node with pads resolved; refuses where x's sizes are not known.
absl::optional<Window> BodyWindow(BodyContext& b, const Shape& x, const Shape& w) {
  if (!x.is_concrete() || !w.is_concrete()) {
    b.Refuse(b.Error("its body needs concrete sizes of X and W"));
    return absl::nullopt;
  }
  auto window = ReadWindow(b, x.rank() - 2, &w);
  if (!window.ok()) {
    b.Refuse(window.status());
    return absl::nullopt;
  }
  return ResolvePads(b, *std::move(window), SpatialDims(x.ToDims()));
}

}  // namespace

// dx = dy convolved with the flipped weights over the dilated dy (ConvGradInput), dw = x correlated
// with dy (ConvGradWeight), db = dy summed over all but the channels.
void ConvGradient(GradContext& g) {
  Builder& e = g.builder();
  const AttrMap attrs = g.node().attrs();
  if (g.needs(0)) g.dx(0, e.Op("ConvGradInput", {g.dy(), g.x(1), g.x(0)}, attrs, kGraphrunDomain));
  if (g.needs(1)) {
    const auto dw = e.Ops("ConvGradWeight", {g.dy(), g.x(0), g.x(1)}, g.needs(2) ? 2 : 1, attrs,
                          kGraphrunDomain);
    g.dx(1, dw[0]);
    if (g.needs(2)) g.dx(2, dw[1]);
  } else if (g.needs(2)) {
    g.dx(2, ReduceSum(g.dy(), AllButChannels(g.dy().shape().rank()), false));
  }
}

// dx is linear in dy and in w: its gradients are the convolution itself and ConvGradWeight.
void ConvGradInputGradient(GradContext& g) {
  Builder& e = g.builder();
  const AttrMap attrs = g.node().attrs();
  if (g.needs(0)) g.dx(0, e.Op("Conv", {g.dy(), g.x(1)}, attrs));
  if (g.needs(1)) g.dx(1, e.Op("ConvGradWeight", {g.x(0), g.dy(), g.x(1)}, attrs, kGraphrunDomain));
}

// dw is linear in dy and in x: their gradients are the convolution itself and ConvGradInput; db
// adds its gradient to all positions of a channel.
void ConvGradWeightGradient(GradContext& g) {
  Builder& e = g.builder();
  const AttrMap attrs = g.node().attrs();
  if (g.needs(0)) {
    Expr ddy;
    if (g.has_dy(0)) ddy = e.Op("Conv", {g.x(1), g.dy(0)}, attrs);
    if (g.has_dy(1)) {
      std::vector<int64_t> axes = AllButChannels(g.x(0).shape().rank());
      Expr spread = Expand(Unsqueeze(g.dy(1), axes), ShapeOf(g.x(0)));
      ddy = ddy.is_defined() ? ddy + spread : spread;
    }
    g.dx(0, ddy);
  }
  if (g.needs(1) && g.has_dy(0))
    g.dx(1, e.Op("ConvGradInput", {g.x(0), g.dy(0), g.x(1)}, attrs, kGraphrunDomain));
}

// A transposed convolution whose output_padding restores x's sizes.
void ConvGradInputBody(BodyContext& b) {
  const Shape& x = b.x(2).shape();
  const Shape& dy = b.x(0).shape();
  const auto window = BodyWindow(b, x, b.x(1).shape());
  if (!window || !dy.is_concrete()) return;
  AttrMap attrs = WindowAttrs(*window);
  Dims extra;
  for (int i = 0; i < window->rank(); ++i) {
    const auto a = static_cast<size_t>(i);
    const int64_t covered = (dy[i + 2].value() - 1) * window->strides[a] + window->Extent(i) -
                            window->pads_begin[a] - window->pads_end[a];
    extra.push_back(x[i + 2].value() - covered);
  }
  attrs.insert_or_assign("output_padding", extra);
  attrs.insert_or_assign("group", b.Int("group", 1));
  b.Return(b.Op("ConvTranspose", {b.x(0), b.x(1)}, attrs));
}

// The convolution of x with dy, batch and channels exchanged, strides and dilations exchanged.
void ConvGradWeightBody(BodyContext& b) {
  Expr dy = b.x(0), x = b.x(1);
  const Shape xs = x.shape(), ws = b.x(2).shape();
  const auto window = BodyWindow(b, xs, ws);
  if (!window || !dy.shape().is_concrete()) return;
  const int rank = xs.rank();
  const int64_t groups = b.Int("group", 1), n = xs[0].value(), inputs = ws[1].value();
  std::vector<int64_t> exchange = {1, 0};
  for (int i = 2; i < rank; ++i) exchange.push_back(i);
  if (groups > 1) {
    // [N, G*I, ...] to [I, G*N, ...]
    const Dims spatial = SpatialDims(xs.ToDims());
    Dims split = {n, groups, inputs}, joined = {inputs, groups * n};
    split.insert(split.end(), spatial.begin(), spatial.end());
    joined.insert(joined.end(), spatial.begin(), spatial.end());
    std::vector<int64_t> perm = {2, 1, 0};
    for (int i = 3; i <= rank; ++i) perm.push_back(i);
    x = Reshape(Transpose(Reshape(x, split), perm), joined);
  } else {
    x = Transpose(x, exchange);
  }
  Window swapped = *window;
  swapped.strides = window->dilations;
  swapped.dilations = window->strides;
  swapped.kernel = SpatialDims(dy.shape().ToDims());
  AttrMap attrs = WindowAttrs(swapped);
  attrs.insert_or_assign("group", groups);
  Expr dw = Transpose(b.Op("Conv", {x, Transpose(dy, exchange)}, attrs), exchange);
  // Rows of x that no window reached give windows too many.
  std::vector<int64_t> starts, axes;
  for (int i = 2; i < rank; ++i) {
    starts.push_back(0);
    axes.push_back(i);
  }
  dw = Slice(dw, starts, window->kernel, axes);
  Expr db = ReduceSum(dy, AllButChannels(rank), false);
  const DType to = static_cast<DType>(b.Int("output_type", 0));
  if (to != DType::kUndefined && to != dw.dtype()) {
    dw = Cast(dw, to);
    db = Cast(db, to);
  }
  b.Return({dw, db});
}

}  // namespace graphrun
