// RoiAlign, MaxRoiPool: regions of an image pooled to a fixed size; their gradients by the image
// are ai.graphrun.RoiAlignGrad and ai.graphrun.MaxRoiPoolGrad.
//
// Source: https://onnx.ai/onnx/operators (RoiAlign 10, 16, 22; MaxRoiPool 1, 22); He et al., "Mask
// R-CNN" (2017); Girshick, "Fast R-CNN" (2015). Mode max of RoiAlign takes the largest weighted
// corner of all samples, as the standard's reference does. Version 10 has no half-pixel shift.
#include <cmath>

#include "ops/move.h"
#include "ops/roi_bins.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status CheckRois(const InferContext& c, const Shape& x, const Shape& rois, int64_t columns) {
  if (x.has_rank() && x.rank() != 4) {
    return c.Error("the input has shape ", x.ToString(), " but must be [N, C, H, W]");
  }
  if (rois.has_rank() &&
      (rois.rank() != 2 || (rois[1].is_number() && rois[1].value() != columns))) {
    return c.Error("rois has shape ", rois.ToString(), " but must be [regions, ", columns, "]");
  }
  return absl::OkStatus();
}

// The height and width of the result.
absl::StatusOr<Dims> PooledSize(const NodeContext& c, bool align) {
  Dims size =
      align ? Dims{c.Int("output_height", 1), c.Int("output_width", 1)} : c.Ints("pooled_shape");
  if (size.size() != 2 || size[0] < 1 || size[1] < 1 || size[0] > 65536 || size[1] > 65536) {
    return c.Error("the pooled size is ", DimsToString(size), " but must be a height and a width");
  }
  const std::string mode = c.String("mode", "avg");
  if (align && mode != "avg" && mode != "max") {
    return c.Error("mode is \"", mode, "\" but must be avg or max");
  }
  return size;
}

// As many image numbers as regions.
absl::Status CheckImages(const InferContext& c, const Shape& rois, const Shape& images) {
  if (!rois.has_rank() || !images.has_rank()) return absl::OkStatus();
  const bool fits = images.rank() == 1 && (!images[0].is_number() || !rois[0].is_number() ||
                                           images[0].value() == rois[0].value());
  if (fits) return absl::OkStatus();
  return c.Error("batch_indices has shape ", images.ToString(), " but rois has ", rois.ToString(),
                 ": one number for each region is needed");
}

template <bool kAlign>
absl::Status InferRoi(InferContext& c) {
  const Shape &x = c.input_shape(0), &rois = c.input_shape(1);
  GR_RETURN_IF_ERROR(CheckRois(c, x, rois, kAlign ? 4 : 5));
  if (kAlign) GR_RETURN_IF_ERROR(CheckImages(c, rois, c.input_shape(2)));
  GR_ASSIGN_OR_RETURN(const Dims size, PooledSize(c, kAlign));
  c.set_output(0, c.input_dtype(0),
               Shape({rois.has_rank() ? rois[0] : Dim(), x.has_rank() ? x[1] : Dim(), Dim(size[0]),
                      Dim(size[1])}));
  return absl::OkStatus();
}

template <bool kAlign>
absl::Status InferRoiGrad(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckRois(c, c.input_shape(1), c.input_shape(2), kAlign ? 4 : 5));
  if (kAlign) GR_RETURN_IF_ERROR(CheckImages(c, c.input_shape(2), c.input_shape(3)));
  GR_RETURN_IF_ERROR(PooledSize(c, kAlign).status());
  c.set_output(0, c.input_dtype(0), c.input_shape(1));
  return absl::OkStatus();
}

template <bool kAlign>
absl::StatusOr<RoiBins> BinsOf(const NodeContext& c, const Dims& image) {
  RoiBins bins;
  GR_ASSIGN_OR_RETURN(const Dims size, PooledSize(c, kAlign));
  bins.batch = image[0];
  bins.channels = image[1];
  bins.height = image[2];
  bins.width = image[3];
  bins.pooled_height = size[0];
  bins.pooled_width = size[1];
  bins.scale = static_cast<double>(c.Float("spatial_scale", 1));
  bins.sampling = c.Int("sampling_ratio");
  bins.half_pixel = c.String("coordinate_transformation_mode", "half_pixel") == "half_pixel";
  bins.max = !kAlign || c.String("mode", "avg") == "max";
  return bins;
}

// Region n of the inputs: its image, and its bins.
template <bool kAlign, typename T>
absl::Status Locate(const RoiBins& bins, const RunContext& r, int first, int64_t n, int64_t* image,
                    std::vector<RoiBin>* out) {
  const T* roi = r.input(first).data<T>() + n * (kAlign ? 4 : 5);
  double box[4];
  for (int i = 0; i < 4; ++i) box[i] = static_cast<double>(roi[i + (kAlign ? 0 : 1)]);
  *image = kAlign ? r.input(first + 1).data<int64_t>()[n]
                  : static_cast<int64_t>(static_cast<double>(roi[0]));
  if (*image < 0 || *image >= bins.batch) {
    return ModelError("region ", n, " is of image ", *image, " but there are ", bins.batch);
  }
  return kAlign ? bins.Align(box, out) : bins.Pool(box, out);
}

template <bool kAlign>
absl::StatusOr<std::unique_ptr<Kernel>> RoiKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const RoiBins bins, BinsOf<kAlign>(c, c.input_dims(0)));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([bins](RunContext& r) -> absl::Status {
      const T* x = r.input(0).data<T>();
      T* y = r.output(0).mutable_data<T>();
      const int64_t pixels = bins.height * bins.width;
      std::vector<RoiBin> places;
      for (int64_t n = 0; n < r.output(0).dim(0); ++n) {
        int64_t image = 0;
        GR_RETURN_IF_ERROR((Locate<kAlign, T>(bins, r, 1, n, &image, &places)));
        const auto per_channel = static_cast<int64_t>(places.size());
        ParallelFor(bins.channels, 16, [&](int64_t begin, int64_t end) {
          for (int64_t ch = begin; ch < end; ++ch) {
            const T* from = x + (image * bins.channels + ch) * pixels;
            T* to = y + (n * bins.channels + ch) * per_channel;
            for (int64_t b = 0; b < per_channel; ++b) {
              const RoiBin& bin = places[static_cast<size_t>(b)];
              to[b] = T(static_cast<Compute<T>>(bin.Value(from, bins.max)));
            }
          }
        });
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

template <bool kAlign>
absl::StatusOr<std::unique_ptr<Kernel>> RoiGradKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const RoiBins bins, BinsOf<kAlign>(c, c.input_dims(1)));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([bins](RunContext& r) -> absl::Status {
      const T* dy = r.input(0).data<T>();
      const T* x = r.input(1).data<T>();
      T* dx = r.output(0).mutable_data<T>();
      const int64_t pixels = bins.height * bins.width;
      std::vector<double> sums(static_cast<size_t>(r.output(0).num_elements()));
      std::vector<RoiBin> places;
      for (int64_t n = 0; n < r.input(0).dim(0); ++n) {
        int64_t image = 0;
        GR_RETURN_IF_ERROR((Locate<kAlign, T>(bins, r, 2, n, &image, &places)));
        const auto per_channel = static_cast<int64_t>(places.size());
        for (int64_t ch = 0; ch < bins.channels; ++ch) {
          const int64_t at = (image * bins.channels + ch) * pixels;
          for (int64_t b = 0; b < per_channel; ++b) {
            places[static_cast<size_t>(b)].AddGradient(
                static_cast<double>(dy[(n * bins.channels + ch) * per_channel + b]), x + at,
                sums.data() + at, bins.max);
          }
        }
      }
      for (size_t i = 0; i < sums.size(); ++i) dx[i] = T(static_cast<Compute<T>>(sums[i]));
      return absl::OkStatus();
    });
  });
  return kernel;
}

template <bool kAlign>
void RoiGradient(GradContext& g) {
  std::vector<Expr> inputs = {g.dy(), g.x(0), g.x(1)};
  AttrMap attrs = g.node().attrs();
  if (kAlign) {
    inputs.push_back(g.x(2));
    attrs.insert_or_assign("coordinate_transformation_mode",
                           g.String("coordinate_transformation_mode", "half_pixel"));
  }
  g.dx(0,
       g.builder().Op(kAlign ? "RoiAlignGrad" : "MaxRoiPoolGrad", inputs, attrs, kGraphrunDomain));
}

OpDef AlignAttrs(OpDef def, const char* coordinates) {
  return def.Attr("coordinate_transformation_mode", coordinates)
      .Attr("mode", "avg")
      .Attr("output_height", 1)
      .Attr("output_width", 1)
      .Attr("sampling_ratio", 0)
      .Attr("spatial_scale", 1.0f)
      .Types("T1", kFloats);
}

OpDef Align(int since, const char* coordinates) {
  return AlignAttrs(OpDef("RoiAlign", since)
                        .Input("X", "T1")
                        .Input("rois", "T1")
                        .Input("batch_indices", "int64")
                        .Output("Y", "T1"),
                    coordinates)
      .Infer(InferRoi<true>)
      .NoGradientFor({1, 2})
      .Kernel("native", RoiKernel<true>)
      .Gradient(RoiGradient<true>);
}

}  // namespace

void RegisterRoiAlignOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  const Tensor regions = Tensor::Of<float>({2, 4}, {0, 1, 3, 4, 0.5f, 0, 4, 2.5f});
  const Tensor images = Tensor::Int64s({1, 0});
  const Tensor numbered = Tensor::Of<float>({2, 5}, {1, 0, 1, 3, 4, 0, 1, 0, 4, 2});
  const auto sample = [&] {
    return Sample()
        .In({2, 2, 5, 6})
        .In(regions)
        .Constant()
        .In(images)
        .Attr("output_height", 2)
        .Attr("output_width", 3);
  };
  ops.Add(Align(10, "output_half_pixel").Try(sample()));
  ops.Add(Align(16, "half_pixel")
              .Versions({16, 22})
              .Try(sample())
              .Try(sample().Attr("sampling_ratio", 2).Attr("spatial_scale", 0.5f))
              .Try(sample()
                       .Attr("mode", "max")
                       .Attr("coordinate_transformation_mode", "output_half_pixel"))
              .Try(Sample()
                       .In({1, 1, 2, 2})
                       .In(Tensor::Of<float>({1, 4}, {0, 0, 1, 1}))
                       .In(Tensor::Int64s({3}))
                       .Refused("is of image 3"))
              .Try(sample().Attr("output_height", 0).Refused("a height and a width")));
  ops.Add(AlignAttrs(OpDef("RoiAlignGrad", 1, kGraphrunDomain)
                         .Input("dY", "T1")
                         .Input("X", "T1")
                         .Input("rois", "T1")
                         .Input("batch_indices", "int64")
                         .Output("dX", "T1"),
                     "half_pixel")
              .Infer(InferRoiGrad<true>)
              .Kernel("native", RoiGradKernel<true>)
              .NotDifferentiable("second derivatives of pooling are not provided")
              .Try(Sample().In({2, 1, 1, 1}).In({2, 1, 4, 4}).In(regions).In(images)));
  ops.Add(
      OpDef("MaxRoiPool", 1)
          .Versions({1, 22})
          .Input("X", "T")
          .Input("rois", "T")
          .Output("Y", "T")
          .RequiredAttr("pooled_shape", Attr::Kind::kInts)
          .Attr("spatial_scale", 1.0f)
          .Types("T", kFloats)
          .Infer(InferRoi<false>)
          .NoGradientFor({1})
          .Kernel("native", RoiKernel<false>)
          .Gradient(RoiGradient<false>)
          .Try(Sample().In({2, 2, 5, 6}).In(numbered).Constant().Attr("pooled_shape", Ints{2, 2}))
          .Try(Sample()
                   .In({2, 2, 5, 6})
                   .In({2, 4})
                   .Attr("pooled_shape", Ints{2, 2})
                   .Refused("[regions, 5]")));
  ops.Add(OpDef("MaxRoiPoolGrad", 1, kGraphrunDomain)
              .Input("dY", "T")
              .Input("X", "T")
              .Input("rois", "T")
              .Output("dX", "T")
              .RequiredAttr("pooled_shape", Attr::Kind::kInts)
              .Attr("spatial_scale", 1.0f)
              .Types("T", kFloats)
              .Infer(InferRoiGrad<false>)
              .Kernel("native", RoiGradKernel<false>)
              .NotDifferentiable("second derivatives of pooling are not provided")
              .Try(Sample()
                       .In({2, 1, 1, 1})
                       .In({2, 1, 5, 6})
                       .In(numbered)
                       .Attr("pooled_shape", Ints{1, 1})));
}

}  // namespace graphrun
