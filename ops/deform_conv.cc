// DeformConv: a convolution that reads its input at places shifted by learned offsets.
//
// Source: https://onnx.ai/onnx/operators/onnx__DeformConv.html (19, 22); Dai et al., "Deformable
// Convolutional Networks" (2017); Zhu et al., "Deformable ConvNets v2" (2018). 1 to 3 spatial axes,
// linear interpolation, zeros outside of the input. The mask has one element for each kernel
// element, not one for each of its coordinates.
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

struct DeformShape {
  Dims in, out;
  Window window;
  int64_t batch, groups, inputs, outputs, offset_groups;  // inputs and outputs of a group
  int64_t in_size, out_size, taps;
};

// The inputs of all channels that the kernel meets at output `o` of image n: column [C, taps].
template <typename T>
void Gather(const DeformShape& s, const T* x, const T* offset, const T* mask, int64_t n, int64_t o,
            Compute<T>* column) {
  const size_t axes = s.in.size();
  const auto rank = static_cast<int64_t>(axes);
  const int64_t channels = s.groups * s.inputs, per_group = channels / s.offset_groups;
  for (int64_t g = 0; g < s.offset_groups; ++g) {
    for (int64_t k = 0; k < s.taps; ++k) {
      const int64_t field = (n * s.offset_groups + g) * s.taps + k;
      double place[3];
      int64_t rest_o = o, rest_k = k;
      for (size_t a = axes; a-- > 0;) {
        const int64_t start = rest_o % s.out[a] * s.window.strides[a] - s.window.pads_begin[a] +
                              rest_k % s.window.kernel[a] * s.window.dilations[a];
        const T shift = offset[(field * rank + static_cast<int64_t>(a)) * s.out_size + o];
        place[a] = static_cast<double>(start) + static_cast<double>(shift);
        rest_o /= s.out[a];
        rest_k /= s.window.kernel[a];
      }
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

absl::StatusOr<std::unique_ptr<Kernel>> DeformConvKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0), w = c.input_dims(1), y = c.output_dims(0);
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

}  // namespace

void RegisterDeformConvOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  ops.Add(OpDef("DeformConv", 19)
              .Input("X", "T")
              .Input("W", "T")
              .Input("offset", "T")
              .Input("B", "T", Arity::kOptional)
              .Input("mask", "T", Arity::kOptional)
              .Output("Y", "T")
              .Attr("dilations", Attr::Kind::kInts)
              .Attr("group", 1)
              .Attr("kernel_shape", Attr::Kind::kInts)
              .Attr("offset_group", 1)
              .Attr("pads", Attr::Kind::kInts)
              .Attr("strides", Attr::Kind::kInts)
              .Types("T", kFloats)
              .Versions({19, 22})
              .Infer(InferDeformConv)
              .Kernel("native", DeformConvKernel)
              .NotDifferentiable("the gradients by input and offsets are not written")
              .Try(Sample()
                       .In({1, 1, 3, 3})
                       .In({1, 1, 2, 2})
                       .In({1, 8, 4, 4})
                       .Attr("pads", Ints{1, 1, 1, 1}))
              .Try(Sample()
                       .In({2, 4, 5, 4})
                       .In({6, 2, 3, 2})
                       .In({2, 24, 2, 3})
                       .In({6})
                       .In({2, 12, 2, 3})
                       .Attr("group", 2)
                       .Attr("offset_group", 2)
                       .Attr("strides", Ints{2, 1}))
              .Try(Sample().In({1, 2, 6}).In({3, 2, 2}).In({1, 2, 4}).Attr("dilations", Ints{2}))
              .Try(Sample().In({1, 1, 3, 3, 2}).In({1, 1, 2, 1, 2}).In({1, 12, 2, 3, 1}))
              .Try(Sample().In({0, 1, 3, 3}).In({1, 1, 2, 2}).In({0, 8, 2, 2}))
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 1, 1, 3}, {1, 2, 4}))
                       .In(Tensor::Of<float>({1, 1, 1, 1}, {10}))
                       .In(Tensor::Of<float>({1, 2, 1, 3}, {0, 0.5f, 0, 0.5f, 0, 0.5f}))
                       .Gives(Tensor::Of<float>({1, 1, 1, 3}, {15, 10, 20})))
              .Try(Sample()
                       .In({1, 1, 3, 3})
                       .In({1, 1, 2, 2})
                       .In({1, 4, 2, 2})
                       .Refused("must have 8 channels")));
}

}  // namespace graphrun
