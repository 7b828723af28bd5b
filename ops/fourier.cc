// DFT, STFT: discrete Fourier transforms, in double for double and in float for all other types.
//
// Source: https://onnx.ai/onnx/operators (DFT 17, 20; STFT 17). A complex tensor has a last axis
// of 2: real and imaginary part. In version 17 of DFT the axis is an attribute, 1 by default.
#include <algorithm>

#include "ops/fft.h"
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

template <typename T>
using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;

// A real signal's transform mirrors its own conjugate: bins 0 and n / 2 are real.
template <typename R>
void MakeEndsReal(std::vector<std::complex<R>>* bins) {
  bins->front().imag(0);
  if (bins->size() % 2 == 0) (*bins)[bins->size() / 2].imag(0);
}

// What a DFT does along its axis.
struct Transform {
  int64_t length = 0;  // of the transform
  int64_t output = 0;  // elements along the axis afterwards
  int64_t parts = 2;   // 1: the result is real
};

absl::StatusOr<Transform> TransformOf(int64_t size, int64_t parts, bool inverse, bool onesided,
                                      absl::optional<int64_t> length) {
  if (parts != 1 && parts != 2) {
    return ModelError("the last axis has size ", parts, " but must be 1 (real) or 2 (complex)");
  }
  if (onesided && !inverse && parts != 1) {
    return ModelError("onesided takes real input: its last axis must be 1");
  }
  Transform t;
  t.length = length ? *length : onesided && inverse ? 2 * (size - 1) : size;
  if (t.length < 1 || t.length > (int64_t{1} << 28)) {
    return ModelError("the transform has length ", t.length, " but must have 1 to 2^28");
  }
  t.output = onesided && !inverse ? t.length / 2 + 1 : t.length;
  t.parts = onesided && inverse ? 1 : 2;
  return t;
}

absl::Status InferDftBy(InferContext& c, absl::optional<int64_t> axis) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  if (x.rank() < 2) return c.Error("the input has shape ", x.ToString(), " but needs two axes");
  Shape y = axis ? x : Shape::UnknownOfRank(x.rank());
  const bool inverse = c.Int("inverse") != 0, onesided = c.Int("onesided") != 0;
  y[x.rank() - 1] = Dim(inverse && onesided ? 1 : 2);
  if (axis) {
    GR_ASSIGN_OR_RETURN(const int a, c.Axis(*axis, x.rank()));
    if (a == x.rank() - 1) return c.Error("the last axis holds the parts of complex numbers");
    y[a] = Dim();
    const auto length = c.ints(1);
    const bool known = !c.has_input(1) || (length && length->size() == 1);
    if (known && (c.has_input(1) || x[a].is_number()) && x[x.rank() - 1].is_number()) {
      const auto t = TransformOf(
          x[a].is_number() ? x[a].value() : 0, x[x.rank() - 1].value(), inverse, onesided,
          c.has_input(1) ? absl::optional<int64_t>((*length)[0]) : absl::nullopt);
      if (!t.ok()) return Annotate(t.status(), c.node().Describe());
      y[a] = Dim(t->output);
    }
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::Status InferDft(InferContext& c) {
  if (!c.has_input(2)) return InferDftBy(c, -2);
  const auto axis = c.ints(2);
  return InferDftBy(
      c, axis && axis->size() == 1 ? absl::optional<int64_t>((*axis)[0]) : absl::nullopt);
}
absl::Status InferDft17(InferContext& c) { return InferDftBy(c, c.Int("axis", 1)); }

// The one number of an input.
absl::StatusOr<int64_t> OneInt(const Tensor& t) {
  if (t.num_elements() != 1)
    return ModelError("an input that must be one number is ", t.type().ToString());
  return t.AsInt64s()[0];
}

absl::StatusOr<std::unique_ptr<Kernel>> DftKernel(PrepareContext& c) {
  const bool inverse = c.Int("inverse") != 0, onesided = c.Int("onesided") != 0;
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([inverse, onesided](RunContext& r) -> absl::Status {
      const Dims in = r.input(0).dims();
      int64_t asked = -2;
      absl::optional<int64_t> length;
      if (r.has_input(2)) {
        GR_ASSIGN_OR_RETURN(asked, OneInt(r.input(2)));
      }
      if (r.has_input(1)) {
        GR_ASSIGN_OR_RETURN(length, OneInt(r.input(1)));
      }
      GR_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(asked, static_cast<int>(in.size())));
      const auto a = static_cast<size_t>(axis);
      if (a + 1 >= in.size())
        return ModelError("axis ", axis, " holds the parts of complex numbers");
      const int64_t size = in[a], parts = in.back();
      GR_ASSIGN_OR_RETURN(const Transform t, TransformOf(size, parts, inverse, onesided, length));
      Dims out = in;
      out[a] = t.output;
      out.back() = t.parts;
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, kDTypeOf<T>, out));
      const T* x = r.input(0).data<T>();
      T* y = r.output(0).mutable_data<T>();
      const int64_t outer = Product(absl::MakeConstSpan(in).subspan(0, a));
      const int64_t inner = Product(absl::MakeConstSpan(in).subspan(a + 1, in.size() - a - 2));
      using R = Real<T>;
      const Fft<R> fft(t.length);
      ParallelFor(outer * inner, std::max<int64_t>(4096 / t.length, 1),
                  [&](int64_t begin, int64_t end) {
                    std::vector<std::complex<R>> signal(static_cast<size_t>(t.length)), work;
                    for (int64_t i = begin; i < end; ++i) {
                      const int64_t o = i / inner, e = i % inner;
                      std::fill(signal.begin(), signal.end(), 0);
                      for (int64_t k = 0; k < std::min(size, t.length); ++k) {
                        const T* from = x + ((o * size + k) * inner + e) * parts;
                        signal[static_cast<size_t>(k)] = {static_cast<R>(from[0]),
                                                          parts == 2 ? static_cast<R>(from[1]) : 0};
                      }
                      if (onesided && inverse) {
                        // The missing half is the conjugate of the given one.
                        for (int64_t k = t.length / 2 + 1; k < t.length; ++k)
                          signal[static_cast<size_t>(k)] =
                              std::conj(signal[static_cast<size_t>(t.length - k)]);
                      }
                      fft.Run(signal.data(), inverse, &work);
                      if (parts == 1) MakeEndsReal(&signal);
                      for (int64_t k = 0; k < t.output; ++k) {
                        T* to = y + ((o * t.output + k) * inner + e) * t.parts;
                        const std::complex<R> v = signal[static_cast<size_t>(k)];
                        to[0] = T(static_cast<Compute<T>>(v.real()));
                        if (t.parts == 2) to[1] = T(static_cast<Compute<T>>(v.imag()));
                      }
                    }
                  });
      return absl::OkStatus();
    });
  });
  return kernel;
}

struct Frames {
  int64_t length = 0, step = 1, count = 0, bins = 0;
};

// `signal` [batch, samples, parts]; negative: not given.
absl::StatusOr<Frames> FramesOf(int64_t samples, int64_t step, int64_t window, int64_t length,
                                bool onesided) {
  Frames f;
  f.length = length >= 0 ? length : window >= 0 ? window : samples;
  f.step = step;
  if (f.step < 1 || f.length < 1 || f.length > samples) {
    return ModelError("frames of ", f.length, " samples every ", f.step, " do not fit a signal of ",
                      samples);
  }
  if (window >= 0 && window != f.length) {
    return ModelError("the window has ", window, " elements but frame_length is ", f.length);
  }
  if (f.length > (int64_t{1} << 28))
    return LimitError("frames of ", f.length, " samples are too long");
  f.count = (samples - f.length) / f.step + 1;
  f.bins = onesided ? f.length / 2 + 1 : f.length;
  return f;
}

absl::Status InferStft(InferContext& c) {
  const Shape &x = c.input_shape(0), &window = c.input_shape(2);
  if (x.has_rank() && x.rank() != 3) {
    return c.Error("the signal has shape ", x.ToString(), " but must be [batch, samples, 1 or 2]");
  }
  Shape y = Shape::UnknownOfRank(4);
  y[3] = Dim(2);
  if (x.has_rank()) y[0] = x[0];
  const auto step = c.ints(1), length = c.ints(3);
  const bool known = x.has_rank() && x[1].is_number() && step && step->size() == 1 &&
                     (!c.has_input(3) || (length && length->size() == 1)) &&
                     (!c.has_input(2) || window.is_concrete());
  if (known) {
    const int64_t size = c.has_input(2) && window.rank() == 1 ? window[0].value() : int64_t{-1};
    const auto f = FramesOf(x[1].value(), (*step)[0], size, c.has_input(3) ? (*length)[0] : -1,
                            c.Int("onesided", 1) != 0);
    if (!f.ok()) return Annotate(f.status(), c.node().Describe());
    y[1] = Dim(f->count);
    y[2] = Dim(f->bins);
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> StftKernel(PrepareContext& c) {
  const bool onesided = c.Int("onesided", 1) != 0;
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([onesided](RunContext& r) -> absl::Status {
      const Dims in = r.input(0).dims();
      const int64_t samples = in[1], parts = in[2];
      if (parts != 1 && parts != 2) return ModelError("the signal's last axis must be 1 or 2");
      GR_ASSIGN_OR_RETURN(const int64_t step, OneInt(r.input(1)));
      int64_t length = -1;
      if (r.has_input(3)) {
        GR_ASSIGN_OR_RETURN(length, OneInt(r.input(3)));
      }
      GR_ASSIGN_OR_RETURN(const Frames f,
                          FramesOf(samples, step, r.has_input(2) ? r.input(2).num_elements() : -1,
                                   length, onesided));
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, kDTypeOf<T>, {in[0], f.count, f.bins, 2}));
      const T* x = r.input(0).data<T>();
      const T* window = r.has_input(2) ? r.input(2).data<T>() : nullptr;
      T* y = r.output(0).mutable_data<T>();
      using R = Real<T>;
      const Fft<R> fft(f.length);
      ParallelFor(in[0] * f.count, std::max<int64_t>(4096 / f.length, 1),
                  [&](int64_t begin, int64_t end) {
                    std::vector<std::complex<R>> frame(static_cast<size_t>(f.length)), work;
                    for (int64_t i = begin; i < end; ++i) {
                      const T* from = x + (i / f.count * samples + i % f.count * f.step) * parts;
                      for (int64_t k = 0; k < f.length; ++k) {
                        const R w = window == nullptr ? 1 : static_cast<R>(window[k]);
                        frame[static_cast<size_t>(k)] = {
                            w * static_cast<R>(from[k * parts]),
                            parts == 2 ? w * static_cast<R>(from[k * parts + 1]) : 0};
                      }
                      fft.Run(frame.data(), false, &work);
                      if (parts == 1) MakeEndsReal(&frame);
                      for (int64_t k = 0; k < f.bins; ++k) {
                        const std::complex<R> v = frame[static_cast<size_t>(k)];
                        y[(i * f.bins + k) * 2] = T(static_cast<Compute<T>>(v.real()));
                        y[(i * f.bins + k) * 2 + 1] = T(static_cast<Compute<T>>(v.imag()));
                      }
                    }
                  });
      return absl::OkStatus();
    });
  });
  return kernel;
}

constexpr const char* kWhy = "the standard calls it so";

}  // namespace

void RegisterFourierOps(OpRegistry& ops) {
  ops.Add(OpDef("DFT", 17)
              .Input("input", "T1")
              .Input("dft_length", "T2", Arity::kOptional)
              .Output("output", "T1")
              .Attr("axis", 1)
              .Attr("inverse", 0)
              .Attr("onesided", 0)
              .Types("T1", kFloats)
              .Types("T2", kIndices)
              .Infer(InferDft17)
              .Body([](BodyContext& b) {
                b.Return(
                    b.Op("DFT",
                         {b.x(0), b.x(1),
                          b.builder().Scalar(DType::kInt64, static_cast<double>(b.Int("axis", 1)))},
                         b.AttrsExcept({"axis"})));
              })
              .NotDifferentiable(kWhy)
              .Try(Sample().In({1, 10, 2, 1}).Attr("axis", 1)));
  ops.Add(OpDef("DFT", 20)
              .Input("input", "T1")
              .Input("dft_length", "T2", Arity::kOptional)
              .Input("axis", "int64", Arity::kOptional)
              .Output("output", "T1")
              .Attr("inverse", 0)
              .Attr("onesided", 0)
              .Types("T1", kFloats)
              .Types("T2", kIndices)
              .Infer(InferDft)
              .Kernel("native", DftKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample().In({2, 8, 1}))
              .Try(Sample().In({2, 7, 3, 2}).None().In(Tensor::Scalar<int64_t>(1)))
              .Try(Sample().In({2, 10, 1}).Attr("onesided", 1))
              .Try(Sample().In({2, 6, 2}).Attr("onesided", 1).Attr("inverse", 1))
              .Try(Sample().In({2, 6, 2}).In(Tensor::Scalar<int64_t>(9)).Attr("inverse", 1))
              .Try(Sample()
                       .In(Tensor::Of<float>({4, 1}, {1, 0, 0, 0}))
                       .Gives(Tensor::Of<float>({4, 2}, {1, 0, 1, 0, 1, 0, 1, 0})))
              .Try(Sample().In({2, 8, 3}).Refused("last axis has size 3"))
              .Try(Sample().In({2, 8, 2}).Attr("onesided", 1).Refused("takes real input")));
  ops.Add(
      OpDef("STFT", 17)
          .Input("signal", "T1")
          .Input("frame_step", "T2")
          .Input("window", "T1", Arity::kOptional)
          .Input("frame_length", "T2", Arity::kOptional)
          .Output("output", "T1")
          .Attr("onesided", 1)
          .Types("T1", kFloats)
          .Types("T2", kIndices)
          .Infer(InferStft)
          .Kernel("native", StftKernel)
          .NotDifferentiable(kWhy)
          .Try(Sample()
                   .In({1, 32, 1})
                   .In(Tensor::Scalar<int64_t>(8))
                   .In({16})
                   .In(Tensor::Scalar<int64_t>(16)))
          .Try(Sample().In({2, 20, 1}).In(Tensor::Scalar<int64_t>(3)).In({6}).Attr("onesided", 0))
          .Try(
              Sample().In({1, 4, 1}).In(Tensor::Scalar<int64_t>(1)).In({6}).Refused("do not fit")));
}

}  // namespace graphrun
