// HannWindow, HammingWindow, BlackmanWindow, MelWeightMatrix, AffineGrid: tensors computed from
// sizes and a few numbers.
//
// Source: https://onnx.ai/onnx/operators (windows and MelWeightMatrix 17; AffineGrid 20).
#include <cmath>

#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr double kPi = 3.14159265358979323846;

absl::StatusOr<DType> OutputType(const NodeContext& c) {
  const int64_t dtype = c.Int("output_datatype", 1);
  if (dtype < 1 || dtype > INT32_MAX || !IsValidDType(static_cast<int32_t>(dtype)) ||
      !kNumeric.Contains(static_cast<DType>(dtype))) {
    return c.Error("output_datatype is ", dtype, ", which is no number type");
  }
  return static_cast<DType>(dtype);
}

template <typename T>
T FromDouble(double v) {
  return T(static_cast<Compute<T>>(v));
}

absl::Status InferWindow(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const DType dtype, OutputType(c));
  const auto size = c.ints(0);
  if (size && (size->size() != 1 || (*size)[0] < 0)) {
    return c.Error("size must be one number, at least 0");
  }
  const auto symbol = c.sizes(0);
  Dim length = size ? Dim((*size)[0]) : symbol && symbol->size() == 1 ? (*symbol)[0] : Dim();
  c.set_output(0, dtype, Shape({std::move(length)}));
  return absl::OkStatus();
}

// w[i] = a0 - a1 cos(2 pi i / n) + a2 cos(4 pi i / n); n is the size, less one if symmetric.
KernelFactory WindowKernel(double a0, double a1, double a2) {
  return [a0, a1, a2](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    const bool periodic = c.Int("periodic", 1) != 0;
    std::unique_ptr<Kernel> kernel;
    DispatchDType(NumericTypes(), c.output_dtype(0), [&]<typename T>() {
      kernel = MakeKernel([=](RunContext& r) -> absl::Status {
        const Tensor& input = r.input(0);
        const int64_t size = input.num_elements() == 1 ? input.AsInt64s()[0] : -1;
        if (size < 0) return ModelError("size must be one number, at least 0");
        GR_RETURN_IF_ERROR(r.ResizeOutput(0, kDTypeOf<T>, {size}));
        T* y = r.output(0).template mutable_data<T>();
        const double step = 2 * kPi / static_cast<double>(std::max<int64_t>(size - !periodic, 1));
        for (int64_t i = 0; i < size; ++i) {
          const double angle = static_cast<double>(i) * step;
          y[i] = FromDouble<T>(a0 - a1 * std::cos(angle) + a2 * std::cos(2 * angle));
        }
        return absl::OkStatus();
      });
    });
    return kernel;
  };
}

OpDef Window(const char* name, double a0, double a1, double a2) {
  return OpDef(name, 17)
      .Input("size", "T1")
      .Output("output", "T2")
      .Attr("output_datatype", 1)
      .Attr("periodic", 1)
      .Types("T1", kIndices)
      .Types("T2", kNumeric)
      .Infer(InferWindow)
      .Kernel("native", WindowKernel(a0, a1, a2))
      .NotDifferentiable("constant")
      .Try(Sample().In(Tensor::Scalar<int64_t>(8)))
      .Try(Sample().In(Tensor::Scalar<int32_t>(5)).Variable().Attr("periodic", 0))
      .Try(Sample().In(Tensor::Scalar<int64_t>(1)).Attr("output_datatype", 11))
      .Try(Sample().In(Tensor::Scalar<int64_t>(0)))
      .Try(Sample().In(Tensor::Scalar<int64_t>(-1)).Refused("at least 0"));
}

absl::Status InferMel(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const DType dtype, OutputType(c));
  const auto bins = c.ints(0), length = c.ints(1);
  const auto one = [](const absl::optional<std::vector<int64_t>>& v) {
    return v && v->size() == 1 && (*v)[0] >= 0;
  };
  if ((bins && !one(bins)) || (length && !one(length))) {
    return c.Error("num_mel_bins and dft_length must be one number each, at least 0");
  }
  c.set_output(0, dtype,
               Shape({one(length) ? Dim((*length)[0] / 2 + 1) : Dim(),
                      one(bins) ? Dim((*bins)[0]) : Dim()}));
  return absl::OkStatus();
}

// Triangles between the edges of neighbouring bands, equally wide on the mel scale.
absl::StatusOr<std::unique_ptr<Kernel>> MelKernel(PrepareContext& c) {
  std::unique_ptr<Kernel> kernel;
  DispatchDType(NumericTypes(), c.output_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([](RunContext& r) -> absl::Status {
      for (int i = 0; i < 5; ++i) {
        if (r.input(i).num_elements() != 1) return ModelError("every input must be one number");
      }
      const int64_t bands = r.input(0).AsInt64s()[0], length = r.input(1).AsInt64s()[0];
      const int64_t rate = r.input(2).AsInt64s()[0];
      const double low = r.input(3).AsDouble(0), high = r.input(4).AsDouble(0);
      if (bands < 0 || length < 0 || rate <= 0 || !(low >= 0 && high >= low && high < 1e12)) {
        return ModelError("no mel matrix of ", bands, " bands, DFT length ", length, ", rate ",
                          rate, " from ", low, " to ", high, " Hz");
      }
      const int64_t bins = length / 2 + 1;
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, kDTypeOf<T>, {bins, bands}));
      T* y = r.output(0).mutable_data<T>();
      std::fill(y, y + bins * bands, FromDouble<T>(0));
      const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
      const double step = (mel(high) - mel(low)) / static_cast<double>(bands + 2);
      const auto edge = [&](int64_t i) {
        const double hertz =
            700 * (std::pow(10, (mel(low) + static_cast<double>(i) * step) / 2595) - 1);
        return static_cast<int64_t>(
            std::floor(static_cast<double>(length + 1) * hertz / static_cast<double>(rate)));
      };
      const auto set = [&](int64_t bin, int64_t band, double v) {
        if (bin >= 0 && bin < bins) y[bin * bands + band] = FromDouble<T>(v);
      };
      for (int64_t b = 0; b < bands; ++b) {
        const int64_t left = edge(b), center = edge(b + 1), right = edge(b + 2);
        if (left == center) set(center, b, 1);
        for (int64_t j = std::max<int64_t>(left, 0); left < center && j <= std::min(center, bins);
             ++j)
          set(j, b, static_cast<double>(j - left) / static_cast<double>(center - left));
        for (int64_t j = std::max<int64_t>(center, 0); j < std::min(right, bins); ++j)
          set(j, b, static_cast<double>(right - j) / static_cast<double>(right - center));
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::Status InferAffineGrid(InferContext& c) {
  const Shape& theta = c.input_shape(0);
  if (theta.has_rank() && theta.rank() != 3) {
    return c.Error("theta has shape ", theta.ToString(), " but must be [N, 2, 3] or [N, 3, 4]");
  }
  const auto size = c.sizes(1);
  if (!size) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  const auto axes = static_cast<int64_t>(size->size()) - 2;
  if (axes != 2 && axes != 3) return c.Error("size has ", axes + 2, " elements but needs 4 or 5");
  if (theta.has_rank() && ((theta[1].is_number() && theta[1].value() != axes) ||
                           (theta[2].is_number() && theta[2].value() != axes + 1))) {
    return c.Error("theta has shape ", theta.ToString(), " but ", axes, " axes need [N, ", axes,
                   ", ", axes + 1, "]");
  }
  std::vector<Dim> dims = {(*size)[0]};
  dims.insert(dims.end(), size->begin() + 2, size->end());
  dims.push_back(Dim(axes));
  c.set_output(0, c.input_dtype(0), Shape(std::move(dims)));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> AffineGridKernel(PrepareContext& c) {
  const bool corners = c.Int("align_corners") != 0;
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([corners](RunContext& r) -> absl::Status {
      const Dims size = r.input(1).AsInt64s();
      const Dims& theta_dims = r.input(0).dims();
      const auto axes = static_cast<int64_t>(size.size()) - 2;
      if ((axes != 2 && axes != 3) || theta_dims != Dims{size[0], axes, axes + 1}) {
        return ModelError("theta of shape ", DimsToString(theta_dims), " and size ",
                          DimsToString(size), " do not fit");
      }
      Dims out = {size[0]};
      out.insert(out.end(), size.begin() + 2, size.end());
      out.push_back(axes);
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, kDTypeOf<T>, out));
      const T* theta = r.input(0).data<T>();
      T* y = r.output(0).mutable_data<T>();
      const int64_t points = Product(absl::MakeConstSpan(size).subspan(2));
      ParallelFor(size[0] * points, 4096, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          double at[4] = {0, 0, 0, 0};  // from the last axis to the first, then 1
          int64_t rest = i % points;
          for (int64_t a = 0; a < axes; ++a) {
            const int64_t n = size[static_cast<size_t>(axes + 1 - a)];
            const auto k = static_cast<double>(rest % n), count = static_cast<double>(n);
            rest /= n;
            at[a] = corners ? (n == 1 ? -1 : -1 + 2 * k / (count - 1)) : (2 * k + 1) / count - 1;
          }
          at[axes] = 1;
          const T* matrix = theta + i / points * axes * (axes + 1);
          for (int64_t a = 0; a < axes; ++a) {
            double sum = 0;
            for (int64_t k = 0; k <= axes; ++k)
              sum += static_cast<double>(matrix[a * (axes + 1) + k]) * at[k];
            y[i * axes + a] = FromDouble<T>(sum);
          }
        }
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

// dtheta = the sum over points of dy times (x, y, ..., 1): the grid of the identity says the
// points.
void AffineGridGradient(GradContext& g) {
  Builder& b = g.builder();
  const Shape& theta = g.x(0).shape();
  if (!theta.has_rank() || !theta[1].is_number()) return;
  const int64_t axes = theta[1].value();
  Tensor eye = Tensor::Zeros(g.x(0).dtype(), {1, axes, axes + 1});
  DispatchDType(FloatTypes(), eye.dtype(), [&]<typename T>() {
    for (int64_t a = 0; a < axes; ++a) eye.mutable_data<T>()[a * (axes + 2)] = FromDouble<T>(1);
  });
  Expr one = ConcatAll({b.Ints({1}), Slice(g.x(1), {1}, {INT64_MAX}, {0})}, 0);
  Expr grid =
      b.Op("AffineGrid", {b.Constant(eye), one}, {{"align_corners", g.Int("align_corners")}});
  Expr points =
      b.Op("Pad", {Reshape(grid, {-1, axes}), b.Ints({0, 0, 0, 1}), b.Scalar(eye.dtype(), 1)});
  Expr rows = Reshape(g.dy(), ConcatAll({DimOf(g.x(0), 0), b.Ints({-1, axes})}, 0));
  g.dx(0, MatMul(Transpose(rows, {0, 2, 1}), points));
}

}  // namespace

void RegisterSignalOps(OpRegistry& ops) {
  ops.Add(Window("HannWindow", 0.5, 0.5, 0));
  ops.Add(Window("HammingWindow", 25.0 / 46, 21.0 / 46, 0));
  ops.Add(Window("BlackmanWindow", 0.42, 0.5, 0.08));
  const Tensor bands = Tensor::Scalar<int64_t>(8), length = Tensor::Scalar<int64_t>(16);
  ops.Add(OpDef("MelWeightMatrix", 17)
              .Input("num_mel_bins", "T1")
              .Input("dft_length", "T1")
              .Input("sample_rate", "T1")
              .Input("lower_edge_hertz", "T2")
              .Input("upper_edge_hertz", "T2")
              .Output("output", "T3")
              .Attr("output_datatype", 1)
              .Types("T1", kIndices)
              .Types("T2", kFloats)
              .Types("T3", kNumeric)
              .Infer(InferMel)
              .Kernel("native", MelKernel)
              .NotDifferentiable("the standard calls it so")
              .Try(Sample()
                       .In(bands)
                       .In(length)
                       .In(Tensor::Scalar<int64_t>(8192))
                       .In(Tensor::Scalar<float>(0))
                       .In(Tensor::Scalar<float>(4096)))
              .Try(Sample()
                       .In(bands)
                       .In(length)
                       .In(Tensor::Scalar<int64_t>(0))
                       .In(Tensor::Scalar<float>(0))
                       .In(Tensor::Scalar<float>(4096))
                       .Refused("rate 0")));
  ops.Add(
      OpDef("AffineGrid", 20)
          .Input("theta", "T1")
          .Input("size", "int64")
          .Output("grid", "T1")
          .Attr("align_corners", 0)
          .Types("T1", kFloats)
          .Infer(InferAffineGrid)
          .NoGradientFor({1})
          .Kernel("native", AffineGridKernel)
          .Gradient(AffineGridGradient)
          .Try(Sample().In({2, 2, 3}).In(Tensor::Int64s({2, 3, 4, 5})))
          .Try(Sample().In({1, 3, 4}).In(Tensor::Int64s({1, 1, 2, 3, 2})).Attr("align_corners", 1))
          .Try(Sample().In({2, 2, 3}).In(Tensor::Int64s({2, 1, 2, 2})).Variable())
          .Try(Sample().In({1, 2, 3}).In(Tensor::Int64s({1, 1, 2})).Refused("needs 4 or 5")));
}

}  // namespace graphrun
