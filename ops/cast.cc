// Cast, CastLike, BitCast.
//
// Source: https://onnx.ai/onnx/operators (Cast 25, CastLike 25, BitCast 26). Every element type but
// the complex ones; a Cast's numbers pass through int64, uint64, f32 or f64, whichever holds the
// source exactly. Where the standard leaves the result open: floats beyond the range of an integer
// type give its nearest 64-bit integer, of which the type's low bits stay; text of numbers with a
// fraction is truncated to integers.
#ifdef __F16C__
#include <immintrin.h>
#endif

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "ops/elementwise.h"

namespace graphrun {
namespace {

using PlainTypes =
    Concat<Concat<NumericTypes, TypeList<bool>>, Concat<SmallFloatTypes, SmallIntTypes>>;
constexpr DTypeSet kCastTypes = kNumeric | kBools | kStringsOnly | kSmallFloats | kSmallInts;

struct CastOptions {
  bool saturate = true;
  enum class Round { kUp, kDown, kNearest } round = Round::kUp;  // to float8e8m0 only
};

// What elements of T become on their way.
template <typename T>
using Via =
    std::conditional_t<std::is_same_v<T, double> || std::is_same_v<T, uint64_t>, T,
                       std::conditional_t<std::is_same_v<Compute<T>, float>, float, int64_t>>;

int64_t ToInt64(double v) {
  if (v != v) return 0;
  if (v >= 9223372036854775808.0) return std::numeric_limits<int64_t>::max();
  if (v < -9223372036854775808.0) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(v);
}

Float8E8M0 ToPowerOfTwo(float v, const CastOptions& options) {
  Float8E8M0 r;
  r.bits = 0xff;
  const float magnitude = std::fabs(v);
  if (v != v || (!options.saturate && (magnitude == 0 || std::isinf(magnitude)))) return r;
  if (magnitude == 0) {
    r.bits = 0;
    return r;
  }
  int exponent = 0;
  const double fraction = std::frexp(static_cast<double>(magnitude), &exponent);  // in [0.5, 1)
  int biased = exponent - 1 + 127;
  if (options.round == CastOptions::Round::kUp) biased += fraction > 0.5;
  if (options.round == CastOptions::Round::kNearest) biased += fraction >= 0.75;
  if (std::isinf(magnitude)) biased = 255;
  if (!options.saturate && (biased < 0 || biased > 254)) return r;
  r.bits = static_cast<uint8_t>(biased < 0 ? 0 : biased > 254 ? 254 : biased);
  return r;
}

template <typename To, typename V>
To Convert(V v, const CastOptions& options) {
  if constexpr (std::is_same_v<To, bool>) {
    return v != 0;
  } else if constexpr (std::is_same_v<To, Float8E8M0>) {
    return ToPowerOfTwo(static_cast<float>(v), options);
  } else if constexpr (std::is_same_v<To, Float8E4M3FN> || std::is_same_v<To, Float8E4M3FNUZ> ||
                       std::is_same_v<To, Float8E5M2> || std::is_same_v<To, Float8E5M2FNUZ>) {
    return To::FromFloat(static_cast<float>(v), options.saturate);
  } else if constexpr (std::is_same_v<To, Float4E2M1>) {
    // There is no NaN: the standard's cases give -0 for it.
    To r(v);
    if (v != v) r.bits = 8;
    return r;
  } else if constexpr (std::is_same_v<Compute<To>, float> || std::is_same_v<To, double>) {
    return To(v);
  } else if constexpr (std::is_floating_point_v<V>) {
    if (std::is_same_v<To, uint64_t> && v >= V(9223372036854775808.0)) {
      return static_cast<To>(v >= V(18446744073709551616.0) ? ~uint64_t{0}
                                                            : static_cast<uint64_t>(v));
    }
    return static_cast<To>(ToInt64(static_cast<double>(v)));
  } else {
    return To(v);
  }
}

template <typename From, typename V>
void Load(const From* x, V* via, int64_t n) {
#ifdef __F16C__
  if constexpr (std::is_same_v<From, Float16> && std::is_same_v<V, float>) {
    for (; n >= 8; n -= 8, x += 8, via += 8) {
      _mm256_storeu_ps(via, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
    }
  }
#endif
  for (int64_t i = 0; i < n; ++i) via[i] = static_cast<V>(static_cast<Compute<From>>(x[i]));
}

template <typename To, typename V>
void Store(const V* via, To* out, int64_t n, const CastOptions& options) {
#ifdef __F16C__
  if constexpr (std::is_same_v<To, Float16> && std::is_same_v<V, float>) {
    for (; n >= 8; n -= 8, via += 8, out += 8) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                       _mm256_cvtps_ph(_mm256_loadu_ps(via), _MM_FROUND_TO_NEAREST_INT));
    }
  }
#endif
  for (int64_t i = 0; i < n; ++i) out[i] = Convert<To>(via[i], options);
}

// n elements to y[at...], whatever its plain type is.
template <typename V>
void StoreRange(const V* via, DType to, void* y, int64_t at, int64_t n,
                const CastOptions& options) {
  DispatchDType(PlainTypes(), to,
                [&]<typename To>() { Store(via, static_cast<To*>(y) + at, n, options); });
}

void CastPlain(DType from, const void* x, DType to, void* y, int64_t n,
               const CastOptions& options) {
  DispatchDType(PlainTypes(), from, [&]<typename From>() {
    ParallelFor(n, 16384, [&](int64_t begin, int64_t end) {
      constexpr int64_t kChunk = 1024;
      Via<From> via[kChunk];
      for (int64_t i = begin; i < end; i += kChunk) {
        const int64_t m = std::min(kChunk, end - i);
        Load(static_cast<const From*>(x) + i, via, m);
        StoreRange(via, to, y, i, m, options);
      }
    });
  });
}

// Text of a number: decimal, or inf and nan in any case with an optional sign; and what Cast makes
// of bool.
absl::Status ParseNumber(const std::string& text, double* value) {
  if (absl::SimpleAtod(text, value)) return absl::OkStatus();
  if (text == "True" || text == "False") {
    *value = text == "True" ? 1 : 0;
    return absl::OkStatus();
  }
  return DataError("\"", text, "\" is not the text of a number. Received it as an element to cast");
}

absl::Status CastFromStrings(const std::string* x, DType to, void* y, int64_t n,
                             const CastOptions& options) {
  for (int64_t i = 0; i < n; ++i) {
    int64_t integer = 0;
    if (IsInteger(to) && absl::SimpleAtoi(x[i], &integer)) {
      StoreRange(&integer, to, y, i, 1, options);
      continue;
    }
    double number = 0;
    GR_RETURN_IF_ERROR(ParseNumber(x[i], &number));
    StoreRange(&number, to, y, i, 1, options);
  }
  return absl::OkStatus();
}

template <typename F>
std::string FloatText(F v) {
  if (v != v) return "NaN";
  if (std::isinf(v)) return v > 0 ? "INF" : "-INF";
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), v);
  return std::string(buffer, result.ptr);
}

void CastToStrings(DType from, const void* x, std::string* y, int64_t n) {
  DispatchDType(PlainTypes(), from, [&]<typename From>() {
    const From* in = static_cast<const From*>(x);
    for (int64_t i = 0; i < n; ++i) {
      const auto v = static_cast<Via<From>>(static_cast<Compute<From>>(in[i]));
      if constexpr (std::is_same_v<From, bool>) {
        y[i] = v != 0 ? "True" : "False";
      } else if constexpr (std::is_floating_point_v<std::decay_t<decltype(v)>>) {
        y[i] = FloatText(v);
      } else {
        y[i] = absl::StrCat(v);
      }
    }
  });
}

absl::StatusOr<std::unique_ptr<Kernel>> PrepareCast(PrepareContext& c) {
  const DType from = c.input_dtype(0), to = c.output_dtype(0);
  CastOptions options;
  options.saturate = c.Int("saturate", 1) != 0;
  const std::string round = c.String("round_mode", "up");
  if (round == "down") options.round = CastOptions::Round::kDown;
  if (round == "nearest") options.round = CastOptions::Round::kNearest;
  return MakeKernel([from, to, options](RunContext& r) -> absl::Status {
    const Tensor& x = r.input(0);
    Tensor& y = r.output(0);
    const int64_t n = x.num_elements();
    if (from == to) {
      if (from == DType::kString) {
        std::copy(x.data<std::string>(), x.data<std::string>() + n, y.mutable_data<std::string>());
      } else if (n > 0 && x.raw() != y.raw()) {
        std::memcpy(y.mutable_raw(), x.raw(), static_cast<size_t>(x.byte_size()));
      }
    } else if (from == DType::kString) {
      return CastFromStrings(x.data<std::string>(), to, y.mutable_raw(), n, options);
    } else if (to == DType::kString) {
      CastToStrings(from, x.raw(), y.mutable_data<std::string>(), n);
    } else {
      CastPlain(from, x.raw(), to, y.mutable_raw(), n, options);
    }
    return absl::OkStatus();
  });
}

absl::Status SetCastOutput(InferContext& c, DType to) {
  c.set_output(0, to, c.input_shape(0));
  const auto sizes = c.sizes(0);
  if (sizes && IsInteger(to)) c.set_sizes(0, *sizes);
  return absl::OkStatus();
}

absl::StatusOr<DType> Target(const NodeContext& c, DTypeSet allowed) {
  const int64_t to = c.Int("to");
  if (to <= 0 || to >= kNumDTypes || !allowed.Contains(static_cast<DType>(to))) {
    return c.Error("attribute to is ", to, ", which is no element type to cast to");
  }
  return static_cast<DType>(to);
}

absl::Status CheckRoundMode(const NodeContext& c) {
  const std::string round = c.String("round_mode", "up");
  if (round == "up" || round == "down" || round == "nearest") return absl::OkStatus();
  return c.Error("attribute round_mode is \"", round, "\" but must be up, down or nearest");
}

// Numbers as they are; to bool: whether they differ from 0. bf16 is rounded where it is stored.
void CastBlock(const float* const* x, int, float* y, int64_t n, const float* params) {
  const float* a = x[0];
  if (params[0] != 0) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = a[i] != 0 ? 1.0f : 0.0f;
  } else {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = a[i];
  }
}

std::vector<float> CastParams(const NodeContext& c) {
  return {c.node().output(0)->dtype() == DType::kBool ? 1.0f : 0.0f};
}

int SameType(const NodeContext& c) {
  return c.node().output(0)->dtype() == c.node().input(0)->dtype() ? 0 : -1;
}

void RegisterCast(OpRegistry& ops) {
  const auto to = [](DType dtype) { return static_cast<int64_t>(dtype); };
  const Tensor numbers = Tensor::Of<float>({4}, {1.5f, -2.25f, 0, 3});
  ops.Add(OpDef("Cast", 1)
              .Input("input", "T1")
              .Output("output", "any")
              .RequiredAttr("to", Attr::Kind::kString)
              .Types("T1", kNumeric | kBools)
              .Infer([](InferContext& c) -> absl::Status {
                const DType dtype = DTypeFromName(absl::AsciiStrToLower(c.String("to")));
                if (dtype == DType::kUndefined)
                  return c.Error("attribute to is \"", c.String("to"), "\"");
                return SetCastOutput(c, dtype);
              })
              .Body([](BodyContext& b) {
                const DType dtype = DTypeFromName(absl::AsciiStrToLower(b.String("to")));
                b.Return(b.Op("Cast", {b.x(0)}, {{"to", static_cast<int64_t>(dtype)}}));
              })
              .Try(Sample().In({2, 3}).Attr("to", "DOUBLE")));
  ops.Add(OpDef("Cast", 6)
              .Versions({6, 9, 13, 19, 21, 23, 24, 25})
              .Input("input", "T1")
              .Output("output", "any")
              .RequiredAttr("to", Attr::Kind::kInt)
              .Attr("saturate", 1)
              .Attr("round_mode", "up")
              .Types("T1", kCastTypes)
              .Infer([](InferContext& c) -> absl::Status {
                GR_ASSIGN_OR_RETURN(const DType dtype, Target(c, kCastTypes));
                GR_RETURN_IF_ERROR(CheckRoundMode(c));
                return SetCastOutput(c, dtype);
              })
              .NoOp(SameType)
              .Kernel("block", BlockKernel())
              .Kernel("native", PrepareCast)
              .PointwiseBlock(CastBlock, CastParams)
              // dx = dy in x's element type
              .Gradient([](GradContext& g) { g.dx(0, Cast(g.dy(), g.x().dtype())); })
              .Try(Sample().In({2, 3}).Attr("to", to(DType::kFloat64)))
              .Try(Sample()
                       .In({2, 3})
                       .Attr("to", to(DType::kFloat32))
                       .NoGradient("f32 rounds what f64 differences see"))
              .Try(Sample()
                       .In({2, 3})
                       .Attr("to", to(DType::kBFloat16))
                       .NoGradient("steps of the coarser type"))
              .Try(Sample()
                       .In(numbers)
                       .Attr("to", to(DType::kInt32))
                       .Gives(Tensor::Of<int32_t>({4}, {1, -2, 0, 3})))
              .Try(Sample()
                       .In(numbers)
                       .Attr("to", to(DType::kBool))
                       .Gives(Tensor::Of<bool>({4}, {true, true, false, true})))
              .Try(Sample()
                       .In(Tensor::Of<float>({3}, {-9, 7.75f, 16}))
                       .Attr("to", to(DType::kInt4))
                       .Gives(Tensor::Of<Int4>({3}, {Int4(7), Int4(7), Int4(0)})))
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({2}, {200, 300}))
                       .Attr("to", to(DType::kInt8))
                       .Gives(Tensor::Of<int8_t>({2}, {-56, 44})))
              .Try(Sample()
                       .In(Tensor::Of<std::string>({3}, {"1.5", "-2e1", "INF"}))
                       .Attr("to", to(DType::kFloat32))
                       .Gives(Tensor::Of<float>(
                           {3}, {1.5f, -20, std::numeric_limits<float>::infinity()})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {-12, 7}))
                       .Attr("to", to(DType::kString))
                       .Gives(Tensor::Of<std::string>({2}, {"-12", "7"})))
              .Try(Sample()
                       .In(Tensor::Of<std::string>({2}, {"True", "False"}))
                       .Attr("to", to(DType::kFloat32))
                       .Gives(Tensor::Of<float>({2}, {1, 0})))
              .Try(Sample()
                       .In(Tensor::Of<std::string>({1}, {"x"}))
                       .Attr("to", to(DType::kFloat32))
                       .Refused("\"x\""))
              .Try(Sample().In({2}).Attr("to", 99).Refused("no element type"))
              .Try(Sample()
                       .In({2})
                       .Attr("to", 24)
                       .Attr("round_mode", "sideways")
                       .Refused("round_mode")));
}

}  // namespace

void RegisterCastOps(OpRegistry& ops) {
  RegisterCast(ops);
  ops.Add(OpDef("CastLike", 15)
              .Versions({15, 19, 21, 23, 24, 25})
              .Input("input", "T1")
              .Input("target_type", "T2")
              .Output("output", "T2")
              .Attr("saturate", 1)
              .Attr("round_mode", "up")
              .Types("T1", kCastTypes)
              .Types("T2", kCastTypes)
              .Infer([](InferContext& c) -> absl::Status {
                GR_RETURN_IF_ERROR(CheckRoundMode(c));
                return SetCastOutput(c, c.input_dtype(1));
              })
              .NoOp(SameType)
              .ShapeOnly(1)
              .NoGradientFor({1})
              .Body([](BodyContext& b) {
                AttrMap attrs = {{"to", static_cast<int64_t>(b.x(1).dtype())},
                                 {"saturate", b.Int("saturate")}};
                if (b.node().attr("round_mode") != nullptr)
                  attrs.insert({"round_mode", b.String("round_mode")});
                b.Return(b.Op("Cast", {b.x(0)}, std::move(attrs)));
              })
              .Try(Sample().In({2, 3}).In({1}))
              .Try(Sample().In({2, 3}).In(Tensor::Of<double>({1}, {0}))));
  static constexpr DTypeSet kBits = kCastTypes | kComplex;
  ops.Add(OpDef("BitCast", 26)
              .Input("input", "T1")
              .Output("output", "any")
              .RequiredAttr("to", Attr::Kind::kInt)
              .Types("T1", kBits)
              .Infer([](InferContext& c) -> absl::Status {
                GR_ASSIGN_OR_RETURN(const DType to, Target(c, kBits));
                const DType from = c.input_dtype(0);
                if (to == DType::kString || from == DType::kString ||
                    DTypeFileBits(to) != DTypeFileBits(from)) {
                  return c.Error("attribute to is ", DTypeName(to),
                                 ", whose elements differ in size from ", DTypeName(from),
                                 ". Take a type of as many bits");
                }
                c.set_output(0, to, c.input_shape(0));
                return absl::OkStatus();
              })
              .NotDifferentiable("bits of numbers")
              .Kernel("native",
                      [](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
                        const int bits = DTypeFileBits(c.input_dtype(0));
                        const DType to = c.output_dtype(0);
                        return MakeKernel([bits, to](RunContext& r) {
                          const Tensor& x = r.input(0);
                          const auto* from = static_cast<const uint8_t*>(x.raw());
                          auto* y = static_cast<uint8_t*>(r.output(0).mutable_raw());
                          if (bits >= 8) {
                            if (x.byte_size() > 0)
                              std::memcpy(y, from, static_cast<size_t>(x.byte_size()));
                            return absl::OkStatus();
                          }
                          // Below 8 bits the signed types keep their value sign-extended in a byte.
                          const int mask = (1 << bits) - 1, sign = 1 << (bits - 1);
                          const bool is_signed = to == DType::kInt4 || to == DType::kInt2;
                          for (int64_t i = 0; i < x.num_elements(); ++i) {
                            const int low = from[i] & mask;
                            y[i] = static_cast<uint8_t>(
                                is_signed && (low & sign) ? low - (1 << bits) : low);
                          }
                          return absl::OkStatus();
                        });
                      })
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({2}, {0x3f800000, -1}))
                       .Attr("to", static_cast<int64_t>(DType::kUInt32))
                       .Gives(Tensor::Of<uint32_t>({2}, {0x3f800000u, 0xffffffffu})))
              .Try(Sample()
                       .In(Tensor::Of<int8_t>({1}, {1}))
                       .Attr("to", static_cast<int64_t>(DType::kInt16))
                       .Refused("as many bits")));
}

}  // namespace graphrun
