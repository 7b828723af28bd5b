// Add, Sub, Mul, Div, Mod, Pow, Neg, Abs, Sign, Reciprocal, element by element with NumPy's
// broadcasting.
//
// Source: https://onnx.ai/onnx/operators (Add 14, Sub 14, Mul 14, Div 14, Mod 13, Pow 15, Neg 13,
// Abs 13, Sign 13, Reciprocal 13). Before version 7 broadcasting was an attribute. Where the
// standard says nothing: division of integers by zero and the remainder of it give 0; Mod of floats
// without fmod has the divisor's sign, as for integers; an integer to a negative power is truncated
// towards zero.
#include <cmath>

#include "ops/arc_math.h"
#include "ops/elementwise.h"

namespace graphrun {
namespace {

template <typename T>
T Divide(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0) return 0;
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(a));
    }
  }
  return static_cast<T>(a / b);
}

// The remainder with the dividend's sign.
template <typename T>
T Remainder(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmod(a, b);
  } else {
    if (b == 0) return 0;
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return 0;
    }
    return static_cast<T>(a % b);
  }
}

// The remainder with the divisor's sign.
template <typename T>
T Modulo(T a, T b) {
  const T r = Remainder(a, b);
  if constexpr (std::is_unsigned_v<T>) return r;
  return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
}

// Remainders of f32, params[0] telling whose sign they have: vector code where all quotients of a
// run are small.
void ModuloBlock(const float* const* x, int, float* y, int64_t n, const float* params) {
  constexpr int64_t kRun = 64;
  const bool fmod = params[0] != 0;
  for (int64_t at = 0; at < n; at += kRun) {
    const float *a = x[0] + at, *b = x[1] + at;
    const int64_t m = std::min(kRun, n - at);
    bool small = true;
    for (int64_t i = 0; i < m; ++i)
      small &= std::fabs(double{a[i]} / double{b[i]}) <= vm::kLargestQuotient;
    if (!small) {
      for (int64_t i = 0; i < m; ++i) y[at + i] = fmod ? Remainder(a[i], b[i]) : Modulo(a[i], b[i]);
      continue;
    }
    GR_INDEPENDENT
    for (int64_t i = 0; i < m; ++i) {
      const float divisor = b[i], r = vm::RemainderInRange(a[i], divisor);
      const bool other = !fmod && r != 0.0f && (r < 0.0f) != (divisor < 0.0f);
      y[at + i] = other ? r + divisor : r;
    }
  }
}

// What two sizes make: a number, a symbol that stays as it is, or unknown.
Dim CombineSizes(char op, const Dim& a, const Dim& b) {
  if (a.is_number() && b.is_number()) {
    const int64_t x = a.value(), y = b.value();
    if (op == '*') {
      const auto product = CheckedMul(x, y);
      return product ? Dim(*product) : Dim();
    }
    int64_t r = op == '/' ? Divide(x, y) : 0;
    if (op == '+' && __builtin_add_overflow(x, y, &r)) return Dim();
    if (op == '-' && __builtin_sub_overflow(x, y, &r)) return Dim();
    return r < 0 ? Dim() : Dim(r);
  }
  const auto is = [](const Dim& d, int64_t v) { return d.is_number() && d.value() == v; };
  const int64_t neutral = op == '*' || op == '/' ? 1 : 0;
  if (is(b, neutral)) return a;
  if (is(a, neutral) && (op == '+' || op == '*')) return b;
  return Dim();
}

OpDef::InferFn InferArithmetic(char op) {
  return [op](InferContext& c) -> absl::Status {
    GR_RETURN_IF_ERROR(BroadcastAll(c));
    if (!IsInteger(c.input_dtype(0))) return absl::OkStatus();
    const auto a = c.sizes(0), b = c.sizes(1);
    if (!a || !b || a->empty() || b->empty()) return absl::OkStatus();
    if (a->size() != b->size() && a->size() != 1 && b->size() != 1) return absl::OkStatus();
    std::vector<Dim> sizes;
    for (size_t i = 0; i < std::max(a->size(), b->size()); ++i) {
      sizes.push_back(CombineSizes(op, (*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]));
    }
    c.set_sizes(0, std::move(sizes));
    return absl::OkStatus();
  };
}

template <typename F>
OpDef Binary(const char* name, char op, F f) {
  return OpDef(name, 7)
      .Versions({7, 13, 14})
      .Input("A", "T")
      .Input("B", "T")
      .Output("C", "T")
      .Types("T", kNumeric)
      .Infer(InferArithmetic(op))
      .InPlace(0, 0)
      .InPlace(1, 0)
      .Kernel("block", BlockKernel())
      .Kernel("native", NativeBinary<NumericTypes>(f))
      .PointwiseBlock(&BinaryBlock<F>);
}

constexpr DTypeSet kOldNumeric = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kInt32,
                                  DType::kInt64,   DType::kUInt32,  DType::kUInt64};

void RegisterMod(OpRegistry& ops) {
  const auto rule = [](auto modulo, auto remainder) -> KernelFactory {
    const KernelFactory plain = NativeBinary<NumericTypes>(modulo),
                        fmod = NativeBinary<NumericTypes>(remainder);
    return [plain, fmod](PrepareContext& c) { return c.Int("fmod") != 0 ? fmod(c) : plain(c); };
  };
  ops.Add(OpDef("Mod", 10)
              .Versions({10, 13})
              .Input("A", "T")
              .Input("B", "T")
              .Output("C", "T")
              .Attr("fmod", 0)
              .Types("T", kNumeric)
              .Infer(BroadcastAll)
              .InPlace(0, 0)
              .Kernel("block", BlockKernel())
              .Kernel("native", rule([](auto a, auto b) { return Modulo(a, b); },
                                     [](auto a, auto b) { return Remainder(a, b); }))
              .PointwiseBlock(&ModuloBlock,
                              [](const NodeContext& c) {
                                return std::vector<float>{static_cast<float>(c.Int("fmod"))};
                              })
              // c = a - b n with an integer n: da = dc, db = -n dc = (c - a) / b dc
              .Gradient([](GradContext& g) {
                g.dx(0, g.dy());
                if (g.needs(1)) g.dx(1, g.dy() * ((g.y() - g.x(0)) / g.x(1)));
              })
              .Try(Sample().In({2, 3}, 2.1, 2.9).In({3}, 0.8, 0.95).Attr("fmod", 1))
              .Try(Sample()
                       .In(Tensor::Of<float>({4}, {-4.5f, 4.5f, -4.5f, 4.5f}))
                       .In(Tensor::Of<float>({4}, {2, 2, -2, -2}))
                       .Attr("fmod", 1)
                       .Gives(Tensor::Of<float>({4}, {-0.5f, 0.5f, -0.5f, 0.5f})))
              .Try(Sample()
                       .In(Tensor::Of<float>({6}, {-4.5f, 4.5f, -4.5f, 1e30f, -6, 3e-40f}))
                       .In(Tensor::Of<float>({6}, {2, -2, -2, 7, 3, 2e-40f}))
                       .NoGradient("at a step"))
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 4}, {5, -5, 0.f, 7, 1e-30f, 8, 9, 10}))
                       .In(Tensor::Of<float>({4}, {3, 3, 3, -0.5f}))
                       .NoGradient("at a step"))
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({6}, {-4, 7, 5, 4, -7, 8}))
                       .In(Tensor::Of<int32_t>({6}, {2, -3, 8, -2, 3, 0}))
                       .Gives(Tensor::Of<int32_t>({6}, {0, -2, 5, 0, 2, 0})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {-7, 7}))
                       .In(Tensor::Of<int64_t>({2}, {3, -3}))
                       .Attr("fmod", 1)
                       .Gives(Tensor::Of<int64_t>({2}, {-1, 1}))));
}

}  // namespace

void RegisterArithmeticOps(OpRegistry& ops) {
  for (const char* name : {"Add", "Sub", "Mul", "Div"})
    ops.Add(OldBinaryOp(name, {1, 6}, kOldNumeric, false));
  ops.Add(Binary("Add", '+', [](auto a, auto b) { return a + b; })
              // da = dc, db = dc
              .Gradient([](GradContext& g) {
                g.dx(0, g.dy());
                g.dx(1, g.dy());
              })
              .Try(Sample().In({2, 3}).In({2, 3}))
              .Try(Sample().In({4, 1, 3}).In({2, 1}))
              .Try(Sample().In({2, 0}).In({1}))
              .Try(Sample().In({2, 3}).In({2}).Refused("do not broadcast")));
  ops.Add(Binary("Sub", '-', [](auto a, auto b) { return a - b; })
              // da = dc, db = -dc
              .Gradient([](GradContext& g) {
                g.dx(0, g.dy());
                if (g.needs(1)) g.dx(1, -g.dy());
              })
              .Try(Sample().In({2, 3}).In({3}))
              .Try(Sample().In(Dims{}).In({2, 2})));
  ops.Add(Binary("Mul", '*', [](auto a, auto b) { return a * b; })
              // da = dc b, db = dc a
              .Gradient([](GradContext& g) {
                if (g.needs(0)) g.dx(0, g.dy() * g.x(1));
                if (g.needs(1)) g.dx(1, g.dy() * g.x(0));
              })
              .Try(Sample().In({2, 3}).In({2, 1}))
              .Try(Sample().In({3}).In({2, 1, 3})));
  ops.Add(Binary("Div", '/', [](auto a, auto b) { return Divide(a, b); })
              // da = dc / b, db = -dc c / b; reads c, so a may be freed
              .Gradient([](GradContext& g) {
                if (g.needs(0)) g.dx(0, g.dy() / g.x(1));
                if (g.needs(1)) g.dx(1, -(g.dy() * g.y() / g.x(1)));
              })
              .Try(Sample().In({2, 3}).In({2, 3}, 0.5, 2))
              .Try(Sample().In({3}).In({2, 1}, -2, -0.5))
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({4}, {7, -7, 7, -2147483647 - 1}))
                       .In(Tensor::Of<int32_t>({4}, {2, 2, 0, -1}))
                       .Gives(Tensor::Of<int32_t>({4}, {3, -3, 0, -2147483647 - 1}))));
  RegisterMod(ops);
  const std::vector<int> versions = {1, 6, 13};
  ops.Add(UnaryOp<Concat<FloatTypes, SignedTypes>>("Neg", 1, versions, kFloats | kSigned,
                                                   [](auto x) { return -x; })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = -dy
              .Gradient([](GradContext& g) { g.dx(0, -g.dy()); })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In(Dims{}))
              .Try(Sample().In({0, 2})));
  ops.Add(UnaryOp<NumericTypes>("Abs", 1, versions, kNumeric,
                                [](auto x) {
                                  if constexpr (std::is_floating_point_v<decltype(x)>)
                                    return std::fabs(x);
                                  return x < 0 ? static_cast<decltype(x)>(-x) : x;
                                })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = sign(x) dy, 0 at 0
              .Gradient([](GradContext& g) { g.dx(0, g.dy() * Sign(g.x())); })
              .Try(Sample().In({2, 3}, 0.5, 2))
              .Try(Sample().In({2, 3}, -2, -0.5))
              .Try(Sample()
                       .In(Tensor::Of<int8_t>({3}, {-3, 0, 5}))
                       .Gives(Tensor::Of<int8_t>({3}, {3, 0, 5}))));
  ops.Add(UnaryOp<NumericTypes>(
              "Sign", 9, {9, 13}, kNumeric,
              [](auto x) {
                using T = decltype(x);
                return x != x ? x : static_cast<T>(static_cast<T>(x > 0) - static_cast<T>(x < 0));
              })
              // 0 wherever there is a derivative
              .Gradient([](GradContext& g) { g.dx(0, ZerosLike(g.x())); })
              .Try(Sample().In({2, 3}, 0.5, 2))
              .Try(Sample()
                       .In(Tensor::Of<float>({3}, {-2, 0, 3}))
                       .Gives(Tensor::Of<float>({3}, {-1, 0, 1}))
                       .NoGradient("steps at 0")));
  ops.Add(FloatOp("Reciprocal", 1, versions, [](auto x) { return static_cast<decltype(x)>(1) / x; })
              .Attr("consumed_inputs", Attr::Kind::kInts)
              // dx = -y^2 dy
              .Gradient([](GradContext& g) { g.dx(0, -(g.dy() * Square(g.y()))); })
              .Try(Sample().In({2, 3}, 0.5, 2)));
}

}  // namespace graphrun
