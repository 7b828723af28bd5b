// Max, Min, Sum, Mean of any number of inputs, and Clip.
//
// Source: https://onnx.ai/onnx/operators (Max 13, Min 13, Sum 13, Mean 13, Clip 13). Before version
// 8 inputs had to have one shape, which is a case of broadcasting. Clip's bounds were attributes
// before version 11. NaN wins over every number in Max and Min, as in NumPy; Clip leaves it, and
// gives the upper bound where the lower one is larger.
#include <limits>

#include "ops/elementwise.h"

namespace graphrun {
namespace {

// Output 0 may take input 0's memory, unless another input is the same value: it is read after the
// first is written.
std::vector<std::pair<int, int>> FirstOfDistinct(const Node& node) {
  for (int i = 1; i < node.num_inputs(); ++i) {
    if (node.input(i) == node.input(0)) return {};
  }
  return {{0, 0}};
}

// y = f(...f(f(x0, x1), x2)...), then y = last(y, number of inputs).
template <typename Types, typename F, typename L>
KernelFactory NativeFold(F f, L last) {
  return [f, last](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    DispatchDType(Types(), c.output_dtype(0), [&]<typename T>() {
      std::vector<Broadcast<1>> operands;
      for (int i = 0; i < c.num_inputs(); ++i) {
        operands.emplace_back(c.output_dims(0), std::array<Dims, 1>{c.input_dims(i)});
      }
      kernel = MakeKernel([f, last, operands](RunContext& r) {
        T* y = r.output(0).mutable_data<T>();
        const int count = static_cast<int>(operands.size());
        for (int k = 0; k < count; ++k) {
          const T* x = r.input(k).data<T>();
          operands[static_cast<size_t>(k)].ForEachRow(
              [&](int64_t out, const std::array<int64_t, 1>& at, const std::array<int64_t, 1>& step,
                  int64_t n) {
                for (int64_t i = 0; i < n; ++i) {
                  const auto v = static_cast<Compute<T>>(x[at[0] + i * step[0]]);
                  auto total = k == 0 ? v : f(static_cast<Compute<T>>(y[out + i]), v);
                  if (k == count - 1) total = last(total, count);
                  y[out + i] = T(total);
                }
              });
        }
        return absl::OkStatus();
      });
    });
    return kernel;
  };
}

template <typename Types, typename F, typename L>
OpDef Fold(const char* name, std::vector<int> versions, DTypeSet dtypes, F f, L last,
           Pointwise::Block block) {
  return OpDef(name, 1)
      .Versions(std::move(versions))
      .Input("data", "T", Arity::kVariadic)
      .Output("result", "T")
      .Attr("consumed_inputs", Attr::Kind::kInts)
      .Types("T", dtypes)
      .Infer([](InferContext& c) -> absl::Status {
        if (c.num_inputs() == 0) return c.Error("has no inputs and needs at least one");
        return BroadcastAll(c);
      })
      .InPlace(FirstOfDistinct)
      .Kernel("block", BlockKernel())
      .Kernel("native", NativeFold<Types>(f, last))
      .PointwiseBlock(block)
      .Try(Sample().In({2, 3}))
      .Try(Sample().In({2, 3}).In({2, 3}))
      .Try(Sample().In({3}).In({2, 1}).In(Dims{}))
      .Try(Sample().In({2, 3}).In({2}).Refused("do not broadcast"));
}

// dx_i = dy where x_i is the result, shared evenly by the inputs that tie.
void ExtremumGradient(GradContext& g) {
  if (g.num_inputs() == 1) return g.dx(0, g.dy());
  std::vector<Expr> hits;
  Expr count;
  for (int i = 0; i < g.num_inputs(); ++i) {
    hits.push_back(Cast(Equal(g.x(i), g.y()), g.dy().dtype()));
    count = i == 0 ? hits.back() : count + hits.back();
  }
  Expr share = g.dy() / count;
  for (int i = 0; i < g.num_inputs(); ++i) {
    if (g.needs(i)) g.dx(i, share * hits[static_cast<size_t>(i)]);
  }
}

void MeanBlock(const float* const* x, int num_inputs, float* y, int64_t n, const float* params) {
  const auto add = [](float a, float b) { return a + b; };
  FoldBlock<decltype(add)>(x, num_inputs, y, n, params);
  const float count = static_cast<float>(num_inputs);
  GR_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = y[i] / count;
}

template <typename T>
T ClipTo(T x, T low, T high) {
  const T raised = x < low ? low : x;
  return raised > high ? high : raised;
}

template <typename T>
constexpr T kLow = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                        : std::numeric_limits<T>::lowest();
template <typename T>
constexpr T kHigh = std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity()
                                                         : std::numeric_limits<T>::max();

absl::StatusOr<std::unique_ptr<Kernel>> PrepareClip(PrepareContext& c) {
  std::unique_ptr<Kernel> kernel;
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    using C = Compute<T>;
    kernel = MakeKernel([](RunContext& r) {
      const T* x = r.input(0).data<T>();
      T* y = r.output(0).mutable_data<T>();
      const C low = r.has_input(1) ? static_cast<C>(r.input(1).data<T>()[0]) : kLow<C>;
      const C high = r.has_input(2) ? static_cast<C>(r.input(2).data<T>()[0]) : kHigh<C>;
      ParallelFor(r.input(0).num_elements(), 16384, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = T(ClipTo(static_cast<C>(x[i]), low, high));
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

void ClipBlock(const float* const* x, int num_inputs, float* y, int64_t n, const float*) {
  const float *a = x[0], *low = num_inputs > 1 ? x[1] : nullptr,
              *high = num_inputs > 2 ? x[2] : nullptr;
  if (low == nullptr && high == nullptr) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = a[i];
  } else if (high == nullptr) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = a[i] < low[i] ? low[i] : a[i];
  } else if (low == nullptr) {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = a[i] > high[i] ? high[i] : a[i];
  } else {
    GR_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const float raised = a[i] < low[i] ? low[i] : a[i];
      y[i] = raised > high[i] ? high[i] : raised;
    }
  }
}

absl::Status InferClip(InferContext& c) {
  for (int i = 1; i <= 2; ++i) {
    if (c.has_input(i) && c.input_shape(i).is_concrete() &&
        Product(c.input_shape(i).ToDims()) != 1) {
      return c.Error("input ", i, " (", i == 1 ? "min" : "max", ") has shape ",
                     c.input_shape(i).ToString(), " but must hold one number");
    }
  }
  return SameAsInput(c);
}

}  // namespace

void RegisterMinmaxOps(OpRegistry& ops) {
  const auto larger = [](auto a, auto b) { return ((b > a) | (b != b)) ? b : a; };
  const auto smaller = [](auto a, auto b) { return ((b < a) | (b != b)) ? b : a; };
  const auto add = [](auto a, auto b) { return a + b; };
  const auto keep = [](auto v, int) { return v; };
  const auto divide = [](auto v, int n) { return v / static_cast<decltype(v)>(n); };
  const Tensor a = Tensor::Of<float>({3}, {1, 2, 3}), b = Tensor::Of<float>({3}, {2, 2, 2});
  ops.Add(
      Fold<NumericTypes>("Max", {1, 6, 8, 12, 13}, kNumeric, larger, keep,
                         &FoldBlock<decltype(larger)>)
          .Gradient(ExtremumGradient)
          .Try(Sample().In(a).In(b).Gives(Tensor::Of<float>({3}, {2, 2, 3})).NoGradient("a tie")));
  ops.Add(
      Fold<NumericTypes>("Min", {1, 6, 8, 12, 13}, kNumeric, smaller, keep,
                         &FoldBlock<decltype(smaller)>)
          .Gradient(ExtremumGradient)
          .Try(Sample().In(a).In(b).Gives(Tensor::Of<float>({3}, {1, 2, 2})).NoGradient("a tie")));
  ops.Add(Fold<NumericTypes>("Sum", {1, 6, 8, 13}, kNumeric, add, keep, &FoldBlock<decltype(add)>)
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {1, int64_t{1} << 40}))
                       .In(Tensor::Of<int64_t>({2}, {2, 3}))
                       .Gives(Tensor::Of<int64_t>({2}, {3, (int64_t{1} << 40) + 3})))
              // dx_i = dy
              .Gradient([](GradContext& g) {
                for (int i = 0; i < g.num_inputs(); ++i) g.dx(i, g.dy());
              }));
  ops.Add(Fold<FloatTypes>("Mean", {1, 6, 8, 13}, kFloats, add, divide, &MeanBlock)
              // dx_i = dy / n
              .Gradient([](GradContext& g) {
                Expr share = g.dy() / static_cast<double>(g.num_inputs());
                for (int i = 0; i < g.num_inputs(); ++i) g.dx(i, share);
              }));
  ops.Add(OpDef("Clip", 1)
              .Versions({1, 6})
              .Input("input", "T")
              .Output("output", "T")
              .Attr("min", Attr::Kind::kFloat)
              .Attr("max", Attr::Kind::kFloat)
              .Attr("consumed_inputs", Attr::Kind::kInts)
              .Types("T", kFloats)
              .Infer(SameAsInput)
              .Body([](BodyContext& c) {
                const auto bound = [&](const char* name) {
                  return c.has_attr(name) ? c.builder().Scalar(c.x(0).dtype(), c.Float(name))
                                          : Expr();
                };
                c.Return(c.Op("Clip", {c.x(0), bound("min"), bound("max")}));
              })
              .Try(Sample().In({2, 3}, -1, 1).Attr("min", -2.0).Attr("max", 2.0))
              .Try(Sample().In({2, 3}, 1, 2).Attr("max", 0.5)));
  ops.Add(OpDef("Clip", 11)
              .Versions({11, 12, 13})
              .Input("input", "T")
              .Input("min", "T", Arity::kOptional)
              .Input("max", "T", Arity::kOptional)
              .Output("output", "T")
              .Types("T", kNumeric)
              .Infer(InferClip)
              .InPlace(0, 0)
              .NoGradientFor({1, 2})
              .Kernel("block", BlockKernel())
              .Kernel("native", PrepareClip)
              .PointwiseBlock(ClipBlock)
              // dx = dy within the bounds, which belong to it, else 0
              .Gradient([](GradContext& g) {
                Expr x = g.x(0), within;
                if (g.has_input(1)) within = x >= g.x(1);
                if (g.has_input(2))
                  within = within.is_defined() ? And(within, x <= g.x(2)) : x <= g.x(2);
                g.dx(0, within.is_defined()
                            ? Where(within, g.dy(), g.builder().Scalar(x.dtype(), 0))
                            : g.dy());
              })
              .Try(Sample()
                       .In({2, 3}, -0.9, 0.9)
                       .In(Tensor::Of<float>({}, {-1}))
                       .In(Tensor::Of<float>({}, {1})))
              .Try(Sample()
                       .In({2, 3}, 1.1, 2)
                       .In(Tensor::Of<float>({}, {-1}))
                       .In(Tensor::Of<float>({}, {1})))
              .Try(Sample().In({2, 3}, -2, -1.1).In(Tensor::Of<float>({}, {-1})))
              .Try(Sample().In({2, 3}, 0.5, 1).None().In(Tensor::Of<float>({}, {0.25f})))
              .Try(Sample().In({2, 3}))
              .Try(Sample()
                       .In(Tensor::Of<float>({3}, {-2, 0, 2}))
                       .In(Tensor::Of<float>({}, {2}))
                       .In(Tensor::Of<float>({}, {1}))
                       .Gives(Tensor::Of<float>({3}, {1, 1, 1}))
                       .NoGradient("bounds that cross"))
              .Try(Sample()
                       .In(Tensor::Of<int8_t>({3}, {-100, 0, 100}))
                       .In(Tensor::Of<int8_t>({}, {-5}))
                       .In(Tensor::Of<int8_t>({}, {5}))
                       .Gives(Tensor::Of<int8_t>({3}, {-5, 0, 5})))
              .Try(Sample().In({2}).In({2}).Refused("one number")));
}

}  // namespace graphrun
