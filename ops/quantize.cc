// QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear.
//
// Source: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html (10, 13, 19, 21, 23, 24, 25),
// onnx__DequantizeLinear.html (the same), onnx__DynamicQuantizeLinear.html (11). Scales: one for
// the tensor, one for each index of `axis`, or one for each block of `block_size` along it.
// Quotients are rounded half to even in the scale's precision; a NaN quantises to 0.
#include <cmath>
#include <limits>

#include "ops/quantized.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr DTypeSet kQuantized =
    DTypeSet{DType::kUInt8,      DType::kInt8,           DType::kUInt16,
             DType::kInt16,      DType::kFloat8E4M3FN,   DType::kFloat8E4M3FNUZ,
             DType::kFloat8E5M2, DType::kFloat8E5M2FNUZ, DType::kFloat4E2M1} |
    kSmallInts;
using QuantizedTypes =
    Concat<Concat<TypeList<uint8_t, int8_t, uint16_t, int16_t>, SmallIntTypes>,
           TypeList<Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float4E2M1>>;

// The smallest and largest value of an integer type; nothing for floats.
template <typename T>
struct RangeOf {
  static constexpr bool is_integer = std::is_integral_v<T>;
  static constexpr float low =
      is_integer ? static_cast<float>(std::numeric_limits<T>::lowest()) : 0;
  static constexpr float high = is_integer ? static_cast<float>(std::numeric_limits<T>::max()) : 0;
};
template <int bits, bool is_signed>
struct RangeOf<SmallInt<bits, is_signed>> {
  static constexpr bool is_integer = true;
  static constexpr float low = is_signed ? -static_cast<float>(1 << (bits - 1)) : 0;
  static constexpr float high = static_cast<float>((1 << (bits - (is_signed ? 1 : 0))) - 1);
};

constexpr int64_t kChunk = 512;

// Calls f(first element, count, scale index of the first, step of the scale index) for stretches of
// at most kChunk elements, in parallel.
template <typename F>
void ForStretches(const ScaleIndex& s, F&& f) {
  const int64_t rows = s.outer * s.size;
  const int64_t step = !s.single && s.block > 0 ? 1 : 0;
  ParallelFor(s.single ? (s.inner + kChunk - 1) / kChunk : rows,
              s.single ? 32 : std::max<int64_t>(16384 / std::max<int64_t>(s.inner, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t item = begin; item < end; ++item) {
                  if (s.single) {
                    f(item * kChunk, std::min(kChunk, s.inner - item * kChunk), 0, 0);
                    continue;
                  }
                  for (int64_t i = 0; i < s.inner; i += kChunk) {
                    f(item * s.inner + i, std::min(kChunk, s.inner - i),
                      s.At(item / s.size, item % s.size, i), step);
                  }
                }
              });
}

std::vector<float> Floats(const RunContext& r, int input, size_t count) {
  if (!r.has_input(input)) return std::vector<float>(count, 0.0f);
  const std::vector<double> numbers = Numbers(r, input);
  return std::vector<float>(numbers.begin(), numbers.end());
}

// With one scale for all elements, the result lies as input 0 does.
void KeepLayout(PrepareContext& c, const ScaleIndex& s) {
  const Layout layout = c.input_layout(0);
  if (!s.single || !layout.is_blocked() || layout.HasPadding(c.input_dims(0))) return;
  c.Want(0, layout);
  c.Make(0, layout);
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeQuantize(PrepareContext& c) {
  const ScaleIndex s =
      ScaleIndex::Of(c.input_dims(0), c.input_dims(1), c.Int("axis", 1), c.Int("block_size", 0));
  KeepLayout(c, s);
  const bool saturate = c.Int("saturate", 1) != 0;
  const auto asked = static_cast<DType>(c.Int("precision", 0));
  const DType precision = asked == DType::kUndefined ? c.input_dtype(1) : asked;
  std::unique_ptr<Kernel> kernel;
  DispatchDType(QuantizedTypes(), c.output_dtype(0), [&]<typename Q>() {
    kernel = MakeKernel([=](RunContext& r) {
      const std::vector<float> scale = Floats(r, 1, 0), zero = Floats(r, 2, scale.size());
      Q* y = r.output(0).mutable_data<Q>();
      DispatchDType(Concat<FloatTypes, TypeList<int32_t>>(), r.input(0).dtype(), [&]<typename T>() {
        const T* x = r.input(0).data<T>();
        ForStretches(s, [&](int64_t at, int64_t n, int64_t first, int64_t step) {
          float q[kChunk];
          const float* s = scale.data() + first;
          const float* z = zero.data() + first;
          if (step == 0) {
            const float one = s[0];
            for (int64_t i = 0; i < n; ++i) {
              q[i] = static_cast<float>(static_cast<Compute<T>>(x[at + i])) / one;
            }
          } else {
            for (int64_t i = 0; i < n; ++i) {
              q[i] = static_cast<float>(static_cast<Compute<T>>(x[at + i])) / s[i];
            }
          }
          if (precision == DType::kFloat16) {
            for (int64_t i = 0; i < n; ++i) q[i] = static_cast<float>(Float16(q[i]));
          } else if (precision == DType::kBFloat16) {
            for (int64_t i = 0; i < n; ++i) q[i] = static_cast<float>(BFloat16(q[i]));
          }
          if constexpr (RangeOf<Q>::is_integer) {
            int32_t whole[kChunk];
            const auto clamp = [](float v) {
              v = v < RangeOf<Q>::low ? RangeOf<Q>::low : v;
              v = v > RangeOf<Q>::high ? RangeOf<Q>::high : v;
              return static_cast<int32_t>(v == v ? v : 0);
            };
            if (step == 0) {
              const float one = z[0];
              for (int64_t i = 0; i < n; ++i) whole[i] = clamp(std::nearbyint(q[i]) + one);
            } else {
              for (int64_t i = 0; i < n; ++i) whole[i] = clamp(std::nearbyint(q[i]) + z[i]);
            }
            for (int64_t i = 0; i < n; ++i) y[at + i] = Q(whole[i]);
          } else {
            for (int64_t i = 0; i < n; ++i) y[at + i] = Q::FromFloat(q[i], saturate);
          }
        });
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeDequantize(PrepareContext& c) {
  const ScaleIndex s =
      ScaleIndex::Of(c.input_dims(0), c.input_dims(1), c.Int("axis", 1), c.Int("block_size", 0));
  KeepLayout(c, s);
  std::unique_ptr<Kernel> kernel;
  DispatchDType(Concat<QuantizedTypes, TypeList<int32_t>>(), c.input_dtype(0), [&]<typename Q>() {
    kernel = MakeKernel([=](RunContext& r) {
      const std::vector<float> scale = Floats(r, 1, 0), zero = Floats(r, 2, scale.size());
      const Q* x = r.input(0).data<Q>();
      DispatchDType(FloatTypes(), r.output(0).dtype(), [&]<typename T>() {
        T* y = r.output(0).mutable_data<T>();
        ForStretches(s, [&](int64_t at, int64_t n, int64_t first, int64_t step) {
          if constexpr (!std::is_same_v<Q, int32_t>) {
            if (step == 0) {
              const float one = scale[static_cast<size_t>(first)];
              const float z = zero[static_cast<size_t>(first)];
              for (int64_t i = 0; i < n; ++i) {
                const float v = static_cast<float>(static_cast<Compute<Q>>(x[at + i])) - z;
                y[at + i] = T(static_cast<Compute<T>>(v * one));
              }
              return;
            }
          }
          for (int64_t i = 0; i < n; ++i) {
            const auto k = static_cast<size_t>(first + i * step);
            float v;
            if constexpr (std::is_same_v<Q, int32_t>) {
              v = static_cast<float>(x[at + i] - static_cast<int32_t>(zero[k]));
            } else {
              v = static_cast<float>(static_cast<Compute<Q>>(x[at + i])) - zero[k];
            }
            y[at + i] = T(static_cast<Compute<T>>(v * scale[k]));
          }
        });
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::Status InferQuantize(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckScale(c, 1, "y_scale"));
  DType y = static_cast<DType>(c.Int("output_dtype", 0));
  if (c.has_input(2)) {
    GR_RETURN_IF_ERROR(CheckScale(c, 2, "y_zero_point"));
    if (y != DType::kUndefined && y != c.input_dtype(2)) {
      return c.Error("attribute output_dtype is ", DTypeName(y), " but y_zero_point is ",
                     DTypeName(c.input_dtype(2)));
    }
    y = c.input_dtype(2);
  }
  if (y == DType::kUndefined) y = DType::kUInt8;
  if (!IsValidDType(static_cast<int32_t>(y)) || !kQuantized.Contains(y)) {
    return c.Error("attribute output_dtype is ", static_cast<int32_t>(y),
                   ", which is not a quantised type");
  }
  c.set_output(0, y, c.input_shape(0));
  return absl::OkStatus();
}

absl::Status InferDequantize(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckScale(c, 1, "x_scale"));
  if (c.has_input(2)) GR_RETURN_IF_ERROR(CheckScale(c, 2, "x_zero_point"));
  DType y = static_cast<DType>(c.Int("output_dtype", 0));
  if (y == DType::kUndefined) y = c.input_dtype(1);
  if (!IsValidDType(static_cast<int32_t>(y)) || !kFloats.Contains(y)) {
    return c.Error("attribute output_dtype is ", static_cast<int32_t>(y), ", which is not a float");
  }
  c.set_output(0, y, c.input_shape(0));
  return absl::OkStatus();
}

// scale = (max(x, 0) - min(x, 0)) / 255, zero = round(clamp(-min(x, 0) / scale)).
absl::StatusOr<std::unique_ptr<Kernel>> MakeDynamicQuantize(PrepareContext&) {
  return MakeKernel([](RunContext& r) {
    const float* x = r.input(0).data<float>();
    const int64_t n = r.input(0).num_elements();
    float low = 0, high = 0;
    // Extremes of lanes, then of all: a single running extreme is no vector code.
    constexpr int64_t kLanes = 32;
    float lows[kLanes] = {}, highs[kLanes] = {};
    for (int64_t i = 0; i < n / kLanes; ++i) {
      for (int64_t j = 0; j < kLanes; ++j) {
        const float v = x[i * kLanes + j];
        lows[j] = v < lows[j] ? v : lows[j];
        highs[j] = v > highs[j] ? v : highs[j];
      }
    }
    for (int64_t i = 0; i < kLanes + n % kLanes; ++i) {
      const bool lane = i < kLanes;
      const float v = lane ? 0 : x[n - n % kLanes + i - kLanes];
      low = std::min(low, lane ? lows[i] : (v < 0 ? v : 0));
      high = std::max(high, lane ? highs[i] : (v > 0 ? v : 0));
    }
    const float scale = (high - low) / 255;
    const float zero = scale == 0 ? 0 : std::nearbyint(std::clamp(-low / scale, 0.0f, 255.0f));
    r.output(1).mutable_data<float>()[0] = scale;
    r.output(2).mutable_data<uint8_t>()[0] = static_cast<uint8_t>(zero);
    uint8_t* y = r.output(0).mutable_data<uint8_t>();
    ParallelFor((n + kChunk - 1) / kChunk, 32, [=](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        const int64_t at = chunk * kChunk, count = std::min(kChunk, n - at);
        const float by = scale == 0 ? 1 : scale;
        uint8_t bytes[kChunk];  // of its own: bytes may alias everything else
        for (int64_t i = 0; i < count; ++i) {
          float v = std::nearbyint(x[at + i] / by) + zero;
          v = v < 0 ? 0 : v;
          v = v > 255 ? 255 : v;
          bytes[i] = static_cast<uint8_t>(static_cast<int32_t>(v == v ? v : 0));
        }
        std::copy(bytes, bytes + count, y + at);
      }
    });
    return absl::OkStatus();
  });
}

OpDef Quantize(int since, std::vector<int> versions) {
  OpDef def("QuantizeLinear", since);
  def.Versions(std::move(versions))
      .Input("x", "T1")
      .Input("y_scale", "T2")
      .Input("y_zero_point", "T3", Arity::kOptional)
      .Output("y", "T3")
      .Types("T1", kFloats | DTypeSet{DType::kInt32})
      .Types("T2", kFloats | DTypeSet{DType::kInt32, DType::kFloat8E8M0})
      .Types("T3", kQuantized)
      .Infer(InferQuantize)
      .NotDifferentiable("rounds to integers")
      .Kernel("native", MakeQuantize);
  return def;
}

OpDef Dequantize(int since, std::vector<int> versions) {
  OpDef def("DequantizeLinear", since);
  def.Versions(std::move(versions))
      .Input("x", "T1")
      .Input("x_scale", "T2")
      .Input("x_zero_point", "T1", Arity::kOptional)
      .Output("y", "T3")
      .Types("T1", kQuantized | DTypeSet{DType::kInt32})
      .Types("T2", kFloats | DTypeSet{DType::kFloat8E8M0})
      .Types("T3", kFloats)
      .Infer(InferDequantize)
      .NotDifferentiable("integer input")
      .Kernel("native", MakeDequantize);
  return def;
}

Tensor Values(std::initializer_list<float> v) {
  return Tensor::Of<float>({static_cast<int64_t>(v.size())}, v);
}

}  // namespace

void RegisterQuantizeOps(OpRegistry& ops) {
  const Sample plain = Sample()
                           .In(Values({-3, 0.5f, 1.5f, 2.5f, 1000}))
                           .In(Tensor::Scalar<float>(1))
                           .In(Tensor::Scalar<uint8_t>(2))
                           .Gives(Tensor::Of<uint8_t>({5}, {0, 2, 4, 4, 255}));
  ops.Add(Quantize(10, {10}).Try(plain));
  ops.Add(Quantize(13, {13}).Attr("axis", 1).Try(plain));
  ops.Add(Quantize(19, {19}).Attr("axis", 1).Attr("saturate", 1).Try(plain));
  ops.Add(Quantize(21, {21, 23, 24, 25})
              .Attr("axis", 1)
              .Attr("block_size", 0)
              .Attr("output_dtype", 0)
              .Attr("precision", 0)
              .Attr("saturate", 1)
              .Try(plain)
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 2}, {-3, 4, 5, 6}))
                       .In(Values({1, 2}))
                       .In(Tensor::Of<int8_t>({2}, {0, 1}))
                       .Gives(Tensor::Of<int8_t>({2, 2}, {-3, 3, 5, 4})))
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 4}, {-3, 4, 5, 6}))
                       .In(Tensor::Of<float>({1, 2}, {1, 2}))
                       .Attr("block_size", 2)
                       .Attr("output_dtype", static_cast<int64_t>(DType::kInt8))
                       .Gives(Tensor::Of<int8_t>({1, 4}, {-3, 4, 2, 3})))
              .Try(Sample().In({2, 3}).In({2}).Refused("one element for each index"))
              .Try(Sample().In({2, 3}).In({2, 2}).Attr("block_size", 1).Refused("in blocks of")));
  const Sample back = Sample()
                          .In(Tensor::Of<uint8_t>({3}, {0, 3, 255}))
                          .In(Tensor::Scalar<float>(2))
                          .In(Tensor::Scalar<uint8_t>(3))
                          .Gives(Values({-6, 0, 504}));
  ops.Add(Dequantize(10, {10}).Try(back));
  ops.Add(Dequantize(13, {13, 19}).Attr("axis", 1).Try(back));
  ops.Add(Dequantize(21, {21, 23, 24, 25})
              .Attr("axis", 1)
              .Attr("block_size", 0)
              .Attr("output_dtype", 0)
              .Try(back)
              .Try(Sample()
                       .In(Tensor::Of<int8_t>({2, 2}, {-3, 3, 5, 4}))
                       .In(Values({1, 2}))
                       .In(Tensor::Of<int8_t>({2}, {0, 1}))
                       .Gives(Tensor::Of<float>({2, 2}, {-3, 4, 5, 6}))));
  ops.Add(OpDef("DynamicQuantizeLinear", 11)
              .Input("x", "T1")
              .Output("y", "uint8")
              .Output("y_scale", "T1")
              .Output("y_zero_point", "uint8")
              .Types("T1", {DType::kFloat32})
              .Infer([](InferContext& c) {
                c.set_output(0, DType::kUInt8, c.input_shape(0));
                c.set_output(1, DType::kFloat32, Shape::Scalar());
                c.set_output(2, DType::kUInt8, Shape::Scalar());
                return absl::OkStatus();
              })
              .NotDifferentiable("rounds to integers")
              .Kernel("native", MakeDynamicQuantize)
              .Try(Sample()
                       .In(Values({0, 2, -3, -2.5f, 1.34f, 0.5f}))
                       .Outputs(3)
                       .Gives(Tensor::Of<uint8_t>({6}, {153, 255, 0, 26, 221, 179}))
                       .Gives(Tensor::Scalar<float>(0.0196078438f))
                       .Gives(Tensor::Scalar<uint8_t>(153))));
}

}  // namespace graphrun
