// DeformConv: a convolution that reads its input at places shifted by learned offsets.
//
// Source: https://onnx.ai/onnx/operators/onnx__DeformConv.html (19, 22); Dai et al., "Deformable
// Convolutional Networks" (2017); Zhu et al., "Deformable ConvNets v2" (2018). 1 to 3 spatial axes,
// linear interpolation, zeros outside of the input. The mask has one element for each kernel
// element, not one for each of its coordinates. At a whole place the gradient by an offset is the
// one towards the next higher place.
#include <cmath>

#include "ops/conv_shape.h"
#include "runtime/base/parallel.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

bool Differs(const Dim& d, int64_t size) { return d.is_number() && d.value() != size; }

absl::Status CheckFields(const InferContext& c, int input, const char* name, const Shape& y,
                         int64_t channels) {
  const Shape& s = c.input_shape(input);
  if (!c.has_input(input) || !s.has_rank()) return absl::OkStatus();
  bool fits = s.rank() == y.rank() && !Differs(s[1], channels);
  for (int a = 0; fits && a < y.rank(); ++a) {
    if (a != 1 && y[a].is_number()) fits = !Differs(s[a], y[a].value());
  }
  if (fits) return absl::OkStatus();
  return c.Error("input ", name, " has shape ", s.ToString(), " but must have ", channels,
                 " channels and the other sizes of the output ", y.ToString());
}

absl::Status InferDeformConv(InferContext& c) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(1);
  if (!x.has_rank() || !w.has_rank()) {
    c.set_output(0, c.input_dtype(0), x.has_rank() ? Shape::UnknownOfRank(x.rank()) : Shape());
    return absl::OkStatus();
  }
  if (x.rank() < 3 || x.rank() > 5 || w.rank() != x.rank()) {
    return c.Error("input X has shape ", x.ToString(), " and W ", w.ToString(),
                   ": both must have 1 to 3 spatial axes after two others");
  }
  const int64_t groups = c.Int("group", 1), offset_groups = c.Int("offset_group", 1);
  constexpr int64_t kMost = 1 << 20;
  if (groups < 1 || groups > kMost || offset_groups < 1 || offset_groups > kMost) {
    return c.Error("group is ", groups, " and offset_group ", offset_groups,
                   " but both must be positive");
  }
  if (x[1].is_number() && w[1].is_number() &&
      CheckedMul(w[1].value(), groups).value_or(-1) != x[1].value()) {
    return c.Error("input X has shape ", x.ToString(), " and W ", w.ToString(),
                   " with group=", groups, ": X must have W's second size times group channels");
  }
  if ((w[0].is_number() && w[0].value() % groups != 0) ||
      (x[1].is_number() && x[1].value() % offset_groups != 0)) {
    return c.Error("group=", groups, " must divide the output channels of W ", w.ToString(),
                   " and offset_group=", offset_groups, " the channels of X ", x.ToString());
  }
  GR_ASSIGN_OR_RETURN(const Window window, ReadWindow(c, x.rank() - 2, &w));
  GR_ASSIGN_OR_RETURN(const std::vector<Dim> out, SlideOver(c, window, SpatialDims(x)));
  Shape y({x[0], w[0]});
  for (const Dim& d : out) y.Append(d);
  const Shape& b = c.input_shape(3);
  if (c.has_input(3) && b.has_rank() &&
      (b.rank() != 1 || (w[0].is_number() && Differs(b[0], w[0].value())))) {
    return c.Error("input B has shape ", b.ToString(), " but must be [", w[0].ToString(), "]");
  }
  bool known = true;
  for (const int64_t k : window.kernel) known = known && k >= 0;
  const auto taps = known ? NumElements(window.kernel) : absl::StatusOr<int64_t>(0);
  GR_RETURN_IF_ERROR(taps.status());
  const auto fields = CheckedMul(*taps, offset_groups * (x.rank() - 2));
  if (!fields) return c.Error("the kernel is too large");
  if (known) {
    GR_RETURN_IF_ERROR(CheckFields(c, 2, "offset", y, *fields));
    GR_RETURN_IF_ERROR(CheckFields(c, 4, "mask", y, *taps * offset_groups));
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

// The corners around one place of the input, with their shares; none outside of it.
struct Corners {
  int count = 0;
  int64_t at[8];
  double share[8];
};

// REQUIRES: `place` has an element for each axis of `in` (1 to 3 of them).
Corners CornersOf(const Dims& in, const double* place) {
  Corners c;
  c.count = 1;
  c.at[0] = 0;
  c.share[0] = 1;
  for (size_t a = 0; a < in.size(); ++a) {
    const double p = place[a];
    if (!(p > -1 && p < static_cast<double>(in[a]))) return Corners();
    const auto low = static_cast<int64_t>(std::floor(p));
    const double upper = p - static_cast<double>(low);
    Corners next;
    for (int side = 0; side < 2; ++side) {
      const double share = side == 0 ? 1 - upper : upper;
      const int64_t i = low + side;
      if (i < 0 || i >= in[a] || share == 0) continue;
      for (int k = 0; k < c.count; ++k) {
        next.at[next.count] = c.at[k] * in[a] + i;
        next.share[next.count++] = c.share[k] * share;
      }
    }
    c = next;
  }
  return c;
}

// The value of an image at a place, and its slope along each axis.
struct Probe {
  double value = 0, slope[3] = {0, 0, 0};
};

// Calls f(element, share, slopes of that share) for each corner around `place` inside the input.
template <typename F>
void ForCorners(const Dims& in, const double* place, F&& f) {
  const size_t axes = in.size();
  int64_t low[3];
  double upper[3];
  for (size_t a = 0; a < axes; ++a) {
    if (!(place[a] > -1 && place[a] < static_cast<double>(in[a]))) return;
    low[a] = static_cast<int64_t>(std::floor(place[a]));
    upper[a] = place[a] - static_cast<double>(low[a]);
  }
  for (size_t corner = 0; corner < (size_t{1} << axes); ++corner) {
    int64_t at = 0;
    double share = 1, slopes[3] = {1, 1, 1};
    bool inside = true;
    for (size_t a = 0; a < axes; ++a) {
      const bool high = (corner >> a & 1) != 0;
      const int64_t i = low[a] + (high ? 1 : 0);
      inside = inside && i >= 0 && i < in[a];
      at = at * in[a] + i;
      const double own = high ? upper[a] : 1 - upper[a];
      share *= own;
      for (size_t b = 0; b < axes; ++b) slopes[b] *= b == a ? (high ? 1.0 : -1.0) : own;
    }
    if (inside) f(at, share, slopes);
  }
}

struct DeformShape {
  Dims in, out;
  Window window;
  int64_t batch, groups, inputs, outputs, offset_groups;  // inputs and outputs of a group
  int64_t in_size, out_size, taps;
};

// Where kernel element k of offset group `field / taps` reads for output o.
template <typename T>
void PlaceOf(const DeformShape& s, const T* offset, int64_t field, int64_t k, int64_t o,
             double* place) {
  const auto rank = static_cast<int64_t>(s.in.size());
  int64_t rest_o = o, rest_k = k;
  for (size_t a = s.in.size(); a-- > 0;) {
    const int64_t start = rest_o % s.out[a] * s.window.strides[a] - s.window.pads_begin[a] +
                          rest_k % s.window.kernel[a] * s.window.dilations[a];
    const T shift = offset[(field * rank + static_cast<int64_t>(a)) * s.out_size + o];
    place[a] = static_cast<double>(start) + static_cast<double>(shift);
    rest_o /= s.out[a];
    rest_k /= s.window.kernel[a];
  }
}

// The inputs of all channels that the kernel meets at output `o` of image n: column [C, taps].
template <typename T>
void Gather(const DeformShape& s, const T* x, const T* offset, const T* mask, int64_t n, int64_t o,
            Compute<T>* column) {
  const int64_t channels = s.groups * s.inputs, per_group = channels / s.offset_groups;
  for (int64_t g = 0; g < s.offset_groups; ++g) {
    for (int64_t k = 0; k < s.taps; ++k) {
      const int64_t field = (n * s.offset_groups + g) * s.taps + k;
      double place[3];
      PlaceOf(s, offset, field, k, o, place);
      const Corners corners = CornersOf(s.in, place);
      const double scale =
          mask == nullptr ? 1.0 : static_cast<double>(mask[field * s.out_size + o]);
      for (int64_t i = g * per_group; i < (g + 1) * per_group; ++i) {
        const T* image = x + (n * channels + i) * s.in_size;
        double sum = 0;
        for (int j = 0; j < corners.count; ++j) {
          sum += corners.share[j] * static_cast<double>(image[corners.at[j]]);
        }
        column[i * s.taps + k] = static_cast<Compute<T>>(sum * scale);
      }
    }
  }
}

absl::StatusOr<DeformShape> ShapeOf(const PrepareContext& c, const Dims& x, const Dims& w,
                                    const Dims& y) {
  const Shape weight = Shape::Of(w);
  DeformShape s;
  s.in = SpatialDims(x);
  s.out = SpatialDims(y);
  GR_ASSIGN_OR_RETURN(s.window, ReadWindow(c, static_cast<int>(x.size()) - 2, &weight));
  s.window = ResolvePads(c, s.window, s.in);
  s.batch = x[0];
  s.groups = c.Int("group", 1);
  s.inputs = w[1];
  s.outputs = w[0] / s.groups;
  s.offset_groups = c.Int("offset_group", 1);
  GR_ASSIGN_OR_RETURN(s.in_size, NumElements(s.in));
  GR_ASSIGN_OR_RETURN(s.out_size, NumElements(s.out));
  GR_ASSIGN_OR_RETURN(s.taps, NumElements(s.window.kernel));
  return s;
}

absl::StatusOr<std::unique_ptr<Kernel>> DeformConvKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const DeformShape s,
                      ShapeOf(c, c.input_dims(0), c.input_dims(1), c.output_dims(0)));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([s](RunContext& r) {
      using C = Compute<T>;
      const T* x = r.input(0).data<T>();
      const T* w = r.input(1).data<T>();
      const T* offset = r.input(2).data<T>();
      const T* bias = r.has_input(3) ? r.input(3).data<T>() : nullptr;
      const T* mask = r.has_input(4) ? r.input(4).data<T>() : nullptr;
      T* y = r.output(0).mutable_data<T>();
      const int64_t rows = s.groups * s.outputs, depth = s.inputs * s.taps;
      ParallelFor(s.batch * s.out_size, 1 + 16384 / (rows * depth + 1),
                  [&](int64_t begin, int64_t end) {
                    std::vector<C> column(static_cast<size_t>(s.groups * depth));
                    for (int64_t p = begin; p < end; ++p) {
                      const int64_t n = p / s.out_size, o = p % s.out_size;
                      Gather(s, x, offset, mask, n, o, column.data());
                      for (int64_t row = 0; row < rows; ++row) {
                        const C* from = column.data() + row / s.outputs * depth;
                        C sum = bias == nullptr ? C(0) : static_cast<C>(bias[row]);
                        for (int64_t i = 0; i < depth; ++i) {
                          sum += from[i] * static_cast<C>(w[row * depth + i]);
                        }
                        y[(n * rows + row) * s.out_size + o] = T(sum);
                      }
                    }
                  });
      return absl::OkStatus();
    });
  });
  return kernel;
}

// With g[i, k] = sum over rows of w[row, i, k] dy[row], the gradient by what kernel element k of
// channel i read, m the mask and p the place:
//   dx at a corner = share * m * g, dmask = sum over i of x(p) g, doffset = m * sum of x'(p) g.
template <typename T>
void ImageGradients(const DeformShape& s, const T* dy, const T* x, const T* w, const T* offset,
                    const T* mask, int64_t n, double* dx, T* doffset, T* dmask) {
  const size_t axes = s.in.size();
  const auto rank = static_cast<int64_t>(axes);
  const int64_t channels = s.groups * s.inputs, per_group = channels / s.offset_groups;
  const int64_t rows = s.groups * s.outputs, depth = s.inputs * s.taps;
  std::vector<double> g(static_cast<size_t>(channels * s.taps));
  for (int64_t o = 0; o < s.out_size; ++o) {
    std::fill(g.begin(), g.end(), 0.0);
    for (int64_t row = 0; row < rows; ++row) {
      const auto d = static_cast<double>(dy[(n * rows + row) * s.out_size + o]);
      double* to = g.data() + row / s.outputs * depth;
      for (int64_t i = 0; i < depth; ++i) to[i] += d * static_cast<double>(w[row * depth + i]);
    }
    for (int64_t group = 0; group < s.offset_groups; ++group) {
      for (int64_t k = 0; k < s.taps; ++k) {
        const int64_t field = (n * s.offset_groups + group) * s.taps + k;
        double place[3];
        PlaceOf(s, offset, field, k, o, place);
        const double m = mask == nullptr ? 1 : static_cast<double>(mask[field * s.out_size + o]);
        Probe sum;
        for (int64_t i = group * per_group; i < (group + 1) * per_group; ++i) {
          const T* image = x + (n * channels + i) * s.in_size;
          double* grads = dx + i * s.in_size;
          const double own = g[static_cast<size_t>(i * s.taps + k)];
          ForCorners(s.in, place, [&](int64_t at, double share, const double* slopes) {
            const double v = static_cast<double>(image[at]) * own;
            grads[at] += share * m * own;
            sum.value += share * v;
            for (size_t a = 0; a < axes; ++a) sum.slope[a] += slopes[a] * v;
          });
        }
        if (dmask != nullptr) dmask[field * s.out_size + o] = T(static_cast<Compute<T>>(sum.value));
        for (int64_t a = 0; a < rank; ++a) {
          doffset[(field * rank + a) * s.out_size + o] =
              T(static_cast<Compute<T>>(m * sum.slope[a]));
        }
      }
    }
  }
}

// dw[row, i] += sum over outputs o of dy[row, o] * column o [i] of image n.
template <typename T>
void WeightGradient(const DeformShape& s, const T* dy, const T* x, const T* offset, const T* mask,
                    int64_t n, std::vector<double>* dw) {
  using C = Compute<T>;
  const int64_t rows = s.groups * s.outputs, depth = s.inputs * s.taps;
  std::vector<C> columns(static_cast<size_t>(s.out_size * s.groups * depth));
  ParallelFor(s.out_size, 1 + 4096 / (s.groups * depth + 1), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      Gather(s, x, offset, mask, n, o, columns.data() + o * s.groups * depth);
    }
  });
  ParallelFor(rows, 1 + 16384 / (s.out_size * depth + 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      double* to = dw->data() + row * depth;
      for (int64_t o = 0; o < s.out_size; ++o) {
        const auto d = static_cast<double>(dy[(n * rows + row) * s.out_size + o]);
        const C* from = columns.data() + (o * s.groups + row / s.outputs) * depth;
        for (int64_t i = 0; i < depth; ++i) to[i] += d * static_cast<double>(from[i]);
      }
    }
  });
}

// Inputs dY, X, W, offset, mask; outputs dX, dW, doffset, dmask.
absl::StatusOr<std::unique_ptr<Kernel>> DeformConvGradKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const DeformShape s,
                      ShapeOf(c, c.input_dims(1), c.input_dims(2), c.input_dims(0)));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([s](RunContext& r) {
      const T *dy = r.input(0).data<T>(), *x = r.input(1).data<T>(), *w = r.input(2).data<T>(),
              *offset = r.input(3).data<T>();
      const T* mask = r.has_input(4) ? r.input(4).data<T>() : nullptr;
      T *dx = r.output(0).mutable_data<T>(), *doffset = r.output(2).mutable_data<T>();
      T* dmask = r.has_output(3) ? r.output(3).mutable_data<T>() : nullptr;
      const int64_t image = s.groups * s.inputs * s.in_size;
      ParallelFor(s.batch, 1, [&](int64_t begin, int64_t end) {
        std::vector<double> sums(static_cast<size_t>(image));
        for (int64_t n = begin; n < end; ++n) {
          std::fill(sums.begin(), sums.end(), 0.0);
          ImageGradients(s, dy, x, w, offset, mask, n, sums.data(), doffset, dmask);
          for (int64_t i = 0; i < image; ++i) {
            dx[n * image + i] = T(static_cast<Compute<T>>(sums[static_cast<size_t>(i)]));
          }
        }
      });
      std::vector<double> dw(static_cast<size_t>(r.output(1).num_elements()));
      for (int64_t n = 0; n < s.batch; ++n) WeightGradient(s, dy, x, offset, mask, n, &dw);
      T* to = r.output(1).mutable_data<T>();
      for (size_t i = 0; i < dw.size(); ++i) to[i] = T(static_cast<Compute<T>>(dw[i]));
      return absl::OkStatus();
    });
  });
  return kernel;
}

// dB = the sum of dY over all axes but the second; the others by DeformConvGrad.
void DeformConvGradient(GradContext& g) {
  const std::vector<Expr> grads =
      g.builder().Ops("DeformConvGrad", {g.dy(), g.x(0), g.x(1), g.x(2), g.x(4)},
                      g.has_input(4) ? 4 : 3, g.node().attrs(), kGraphrunDomain);
  for (int i = 0; i < 3; ++i) g.dx(i, grads[static_cast<size_t>(i)]);
  if (g.has_input(4)) g.dx(4, grads[3]);
  if (!g.has_input(3)) return;
  std::vector<int64_t> axes = {0};
  for (int64_t a = 2; a < g.y().shape().rank(); ++a) axes.push_back(a);
  g.dx(3, ReduceSum(g.dy(), axes, false));
}

OpDef WithOffsets(OpDef def) {
  return def.Attr("dilations", Attr::Kind::kInts)
      .Attr("group", 1)
      .Attr("kernel_shape", Attr::Kind::kInts)
      .Attr("offset_group", 1)
      .Attr("pads", Attr::Kind::kInts)
      .Attr("strides", Attr::Kind::kInts)
      .Types("T", kFloats);
}

}  // namespace

void RegisterDeformConvOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  ops.Add(WithOffsets(OpDef("DeformConvGrad", 1, kGraphrunDomain)
                          .Input("dY", "T")
                          .Input("X", "T")
                          .Input("W", "T")
                          .Input("offset", "T")
                          .Input("mask", "T", Arity::kOptional)
                          .Output("dX", "T")
                          .Output("dW", "T")
                          .Output("doffset", "T")
                          .Output("dmask", "T", Arity::kOptional))
              .Infer([](InferContext& c) {
                for (int i = 0; i < 4; ++i) {
                  if (i < 3 || c.has_input(4)) c.set_output_type(i, c.input_type(i + 1));
                }
                return absl::OkStatus();
              })
              .Kernel("native", DeformConvGradKernel)
              .NotDifferentiable("the second derivative is not written")
              .Try(Sample()
                       .In({1, 1, 2, 2})
                       .In({1, 1, 3, 3})
                       .In({1, 1, 2, 2})
                       .In({1, 8, 2, 2})
                       .Outputs(3)));
  ops.Add(WithOffsets(OpDef("DeformConv", 19)
                          .Input("X", "T")
                          .Input("W", "T")
                          .Input("offset", "T")
                          .Input("B", "T", Arity::kOptional)
                          .Input("mask", "T", Arity::kOptional)
                          .Output("Y", "T"))
              .Versions({19, 22})
              .Infer(InferDeformConv)
              .Kernel("native", DeformConvKernel)
              .Gradient(DeformConvGradient)
              .Try(Sample()
                       .In({1, 1, 3, 3})
                       .In({1, 1, 2, 2})
                       .In({1, 8, 4, 4}, 0.1, 0.9)
                       .Attr("pads", Ints{1, 1, 1, 1}))
              .Try(Sample()
                       .In({2, 4, 5, 4})
                       .In({6, 2, 3, 2})
                       .In({2, 24, 2, 3}, -0.9, -0.1)
                       .In({6})
                       .In({2, 12, 2, 3})
                       .Attr("group", 2)
                       .Attr("offset_group", 2)
                       .Attr("strides", Ints{2, 1}))
              .Try(Sample()
                       .In({1, 2, 6})
                       .In({3, 2, 2})
                       .In({1, 2, 4}, 1.1, 1.9)
                       .Attr("dilations", Ints{2}))
              .Try(Sample().In({1, 1, 3, 3, 2}).In({1, 1, 2, 1, 2}).In({1, 12, 2, 3, 1}, 0.1, 0.9))
              .Try(Sample().In({0, 1, 3, 3}).In({1, 1, 2, 2}).In({0, 8, 2, 2}))
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 1, 1, 3}, {1, 2, 4}))
                       .In(Tensor::Of<float>({1, 1, 1, 1}, {10}))
                       .In(Tensor::Of<float>({1, 2, 1, 3}, {0, 0.5f, 0, 0.5f, 0, 0.5f}))
                       .NoGradient("places at which the interpolation has kinks")
                       .Gives(Tensor::Of<float>({1, 1, 1, 3}, {15, 10, 20})))
              .Try(Sample()
                       .In({1, 1, 3, 3})
                       .In({1, 1, 2, 2})
                       .In({1, 4, 2, 2})
                       .Refused("must have 8 channels")));
}

}  // namespace graphrun
