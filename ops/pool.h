// What poolings share: inference, sizes, and the walk over runs of channels.
#pragma once

#include <type_traits>

#include "ops/channel_runs.h"
#include "ops/sliding.h"
#include "runtime/base/parallel.h"
#include "runtime/op/op_def.h"

namespace graphrun {

// The pooled shape [N, C, spatial...] of input 0; `global`: windows of the whole input.
inline absl::StatusOr<Shape> InferPooled(const InferContext& c, bool global) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank()) return Shape();
  if (x.rank() < (global ? 2 : 3) || (!global && x.rank() > 5)) {
    return c.Error("input X has shape ", x.ToString(),
                   " but must have 1 to 3 spatial axes after [N, C]");
  }
  Shape y({x[0], x[1]});
  if (global) {
    for (int i = 2; i < x.rank(); ++i) y.Append(Dim(1));
    return y;
  }
  GR_ASSIGN_OR_RETURN(const Window window, ReadWindow(c, x.rank() - 2, nullptr));
  GR_ASSIGN_OR_RETURN(const std::vector<Dim> out, SlideOver(c, window, SpatialDims(x)));
  for (const Dim& d : out) y.Append(d);
  return y;
}

// The sliding of a prepared node whose pooled tensor has dims y and whose input has dims x. A
// global one folds all spatial axes into the last.
inline absl::StatusOr<Sliding> PoolSliding(const NodeContext& c, const Dims& x, const Dims& y,
                                           bool global) {
  if (global) {
    int64_t positions = 1;
    for (size_t i = 2; i < x.size(); ++i) positions *= x[i];
    return Sliding::Of({positions}, {1}, Window{{positions}, {1}, {1}, {0}, {0}});
  }
  GR_ASSIGN_OR_RETURN(Window window, ReadWindow(c, static_cast<int>(x.size()) - 2, nullptr));
  const Dims spatial = SpatialDims(x);
  return Sliding::Of(spatial, SpatialDims(y), ResolvePads(c, std::move(window), spatial));
}

// Calls f(first, lanes) for stretches of a run: `lanes` is a constant 16 where it can be, so that
// loops over it become vector instructions.
template <typename F>
void ForLanes(int64_t run, F&& f) {
  int64_t i = 0;
  for (; i + 16 <= run; i += 16) f(i, std::integral_constant<int64_t, 16>());
  if (i < run) f(i, run - i);
}

// Calls f(outer, od, oh) for every row of outputs, in parallel.
template <typename F>
void ForPooledRows(const Sliding& s, const ChannelRuns& r, F&& f) {
  const int64_t work = s.out[2] * s.kernel_size() * r.run;
  ParallelFor(r.outer() * s.out[0] * s.out[1],
              std::max<int64_t>(16384 / std::max<int64_t>(work, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t row = begin; row < end; ++row) {
                  f(row / (s.out[0] * s.out[1]), row / s.out[1] % s.out[0], row % s.out[1]);
                }
              });
}

// Calls f(offset of the input element's run) for every kernel element of output (od, oh, ow) inside
// the input, in order; and f's k counts all kernel elements.
template <typename F>
void ForWindow(const Sliding& s, int64_t run, int64_t od, int64_t oh, int64_t ow, F&& f) {
  int64_t d0, d1, h0, h1, w0, w1;
  s.KernelInside(0, od, &d0, &d1);
  s.KernelInside(1, oh, &h0, &h1);
  s.KernelInside(2, ow, &w0, &w1);
  for (int64_t kd = d0; kd < d1; ++kd) {
    for (int64_t kh = h0; kh < h1; ++kh) {
      const int64_t row = (s.At(0, od, kd) * s.in[1] + s.At(1, oh, kh)) * s.in[2];
      for (int64_t kw = w0; kw < w1; ++kw) f((row + s.At(2, ow, kw)) * run);
    }
  }
}

// The runs of input i's layout; wants that layout and makes output 0 alike. Row-major where the
// layout is another one.
inline ChannelRuns TakeRuns(PrepareContext& c, int i) {
  const Dims dims = c.input_dims(i);
  const Layout layout = c.input_layout(i);
  const auto runs = ChannelRuns::Of(dims, layout);
  return runs ? *runs : *ChannelRuns::Of(dims, Layout());
}

}  // namespace graphrun
