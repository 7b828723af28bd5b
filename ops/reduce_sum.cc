// ReduceSum, ReduceMean, ReduceSumSquare, ReduceL1, ReduceL2, ReduceLogSum, ReduceLogSumExp.
//
// Source: https://onnx.ai/onnx/operators (ReduceSum 13, the others 18). ReduceSum takes its axes as
// an input from version 13 on, the others from 18 on; before that they are an attribute. Integer
// results that the mathematics makes fractions are truncated towards zero; the mean of no integers
// is 0.
#include <cmath>

#include "ops/reduce_ops.h"

namespace graphrun {
namespace {

template <typename T>
struct MeanFold : SumFold<T> {
  using W = Wide<T>;
  static W Finish(W total, int64_t count) {
    if (std::is_integral_v<T> && count == 0) return 0;
    return static_cast<W>(total / static_cast<W>(count));
  }
};

template <typename T>
struct SumSquareFold : SumFold<T> {
  static Narrow<T> Map(Compute<T> v, Compute<T>) { return WrapMul(v, v); }
};

template <typename T>
struct L1Fold : SumFold<T> {
  static Narrow<T> Map(Compute<T> v, Compute<T>) {
    if constexpr (std::is_floating_point_v<Compute<T>>) {
      return std::fabs(v);
    } else {
      return v < 0 ? WrapMul(v, static_cast<Compute<T>>(-1)) : v;
    }
  }
};

template <typename T>
struct L2Fold : SumSquareFold<T> {
  using W = Wide<T>;
  static W Finish(W total, int64_t) { return FromDouble<W>(std::sqrt(static_cast<double>(total))); }
};

template <typename T>
struct LogSumFold : SumFold<T> {
  using W = Wide<T>;
  static W Finish(W total, int64_t) { return FromDouble<W>(std::log(static_cast<double>(total))); }
};

template <typename T>
struct LargestFold : SumFold<T> {
  using A = Narrow<T>;
  using W = Narrow<T>;
  static W Zero() {
    return std::is_floating_point_v<W> ? -std::numeric_limits<W>::infinity()
                                       : std::numeric_limits<W>::lowest();
  }
  static W Add(W a, W b) { return ((b > a) | (b != b)) ? b : a; }
  // What the exponents are taken relative to: a finite number.
  static W Finish(W total, int64_t) {
    return std::is_floating_point_v<W> &&
                   !(std::fabs(static_cast<double>(total)) <= std::numeric_limits<double>::max())
               ? 0
               : total;
  }
};

// exp(v - shift) summed.
template <typename T>
struct SumExpFold : SumFold<T> {
  using W = std::conditional_t<std::is_integral_v<T>, double, Wide<T>>;
  using A = std::conditional_t<std::is_integral_v<T>, double, Narrow<T>>;
  static constexpr bool kShifted = true;
  static W Zero() { return 0; }
  static A Map(Compute<T> v, Compute<T> shift) {
    return std::exp(static_cast<A>(v) - static_cast<A>(shift));
  }
  static W Finish(W total, int64_t) { return std::log(total); }
};

// log(sum(exp(x))) = m + log(sum(exp(x - m))) with the largest element m.
absl::StatusOr<std::unique_ptr<Kernel>> PrepareLogSumExp(PrepareContext& c) {
  std::unique_ptr<Kernel> kernel;
  DispatchDType(ReduceTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = ReduceKernel(
        c, 8, [](const ReductionAxes& axes, RunContext& r, void* partials, void* extra) {
          using C = Compute<T>;
          using W = typename SumExpFold<T>::W;
          const T* x = r.input(0).data<T>();
          T* y = r.output(0).mutable_data<T>();
          C* shift = static_cast<C*>(extra);
          W* log = reinterpret_cast<W*>(static_cast<char*>(extra) + axes.num_outputs() * 8);
          Reducer<LargestFold<T>, T>(axes, x, nullptr).Run(shift, static_cast<C*>(partials));
          Reducer<SumExpFold<T>, T>(axes, x, shift).Run(log, static_cast<W*>(partials));
          for (int64_t i = 0; i < axes.num_outputs(); ++i) {
            y[i] = T(FromDouble<C>(static_cast<double>(shift[i]) + static_cast<double>(log[i])));
          }
        });
  });
  return kernel;
}

}  // namespace

void RegisterReduceSumOps(OpRegistry& ops) {
  ops.Add(OldReduceOp("ReduceSum", {1, 11}, kReduceTypes));
  ops.Add(ReduceOp("ReduceSum", 13, {13}, kReduceTypes)
              .Kernel("native", NativeReduce<ReduceTypes, SumFold>())
              // dx = dy
              .Gradient([](GradContext& g) {
                g.dx(0, Expand(WithFoldedAxes(g, g.dy()), ShapeOf(g.x(0))));
              })
              .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({1})))
              .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({-1, 0})).Attr("keepdims", 0))
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({2, 3}).Attr("keepdims", 0))
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({})).Attr("noop_with_empty_axes", 1))
              .Try(Sample().In(Dims{}))
              .Try(Sample().In(Dims{}).In(Tensor::Int64s({0})))
              .Try(Sample().In(Dims{}).In(Tensor::Int64s({-1})).Attr("keepdims", 0))
              .Try(Sample()
                       .In({2, 0, 4})
                       .In(Tensor::Int64s({1}))
                       .Gives(Tensor::Zeros(DType::kFloat32, {2, 1, 4})))
              .Try(Sample().In({3, 70, 50}).In(Tensor::Int64s({0, 2})))
              .Try(Sample().In({2000, 20}).In(Tensor::Int64s({0})))
              .Try(Sample().In({20000}).In(Tensor::Int64s({0}).Clone()).Attr("keepdims", 0))
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({1})).Variable())
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({2, 2}, {1, 2, 3, 2147483647}))
                       .In(Tensor::Int64s({0}))
                       .Gives(Tensor::Of<int32_t>({1, 2}, {4, -2147483647})))
              .Try(Sample().In({2, 3}).In(Tensor::Int64s({2})).Refused("axis")));
  ops.Add(OldReduceOp("ReduceMean", {1, 11, 13}, kReduceTypes));
  ops.Add(
      ReduceOp("ReduceMean", 18, {18}, kReduceTypes)
          .Kernel("native", NativeReduce<ReduceTypes, MeanFold>())
          // dx = dy / n
          .Gradient([](GradContext& g) {
            g.dx(0, Expand(WithFoldedAxes(g, g.dy()) / FoldedCount(g), ShapeOf(g.x(0))));
          })
          .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({1})))
          .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({0, 2})).Attr("keepdims", 0))
          .Try(Sample().In({2, 3}).Attr("keepdims", 0))
          .Try(
              Sample().In(Tensor::Of<int64_t>({3}, {1, 2, 2})).Gives(Tensor::Of<int64_t>({1}, {1})))
          .Try(Sample().In({0, 2}).In(Tensor::Int64s({0})).NoGradient("the mean of nothing")));
  ops.Add(OldReduceOp("ReduceSumSquare", {1, 11, 13}, kReduceTypes));
  ops.Add(ReduceOp("ReduceSumSquare", 18, {18}, kReduceTypes)
              .Kernel("native", NativeReduce<ReduceTypes, SumSquareFold>())
              // dx = 2 x dy
              .Gradient([](GradContext& g) { g.dx(0, g.x(0) * 2.0 * WithFoldedAxes(g, g.dy())); })
              .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({1})))
              .Try(Sample().In({2, 3}).Attr("keepdims", 0))
              .Try(Sample().In({2, 3}).Attr("noop_with_empty_axes", 1)));
  ops.Add(OldReduceOp("ReduceL1", {1, 11, 13}, kReduceTypes));
  ops.Add(ReduceOp("ReduceL1", 18, {18}, kReduceTypes)
              .Kernel("native", NativeReduce<ReduceTypes, L1Fold>())
              // dx = sign(x) dy, 0 at 0
              .Gradient([](GradContext& g) { g.dx(0, Sign(g.x(0)) * WithFoldedAxes(g, g.dy())); })
              .Try(Sample().In({2, 3, 4}, 0.5, 2).In(Tensor::Int64s({1})))
              .Try(Sample().In({2, 3}, -2, -0.5).Attr("keepdims", 0)));
  ops.Add(OldReduceOp("ReduceL2", {1, 11, 13}, kReduceTypes));
  ops.Add(ReduceOp("ReduceL2", 18, {18}, kReduceTypes)
              .Kernel("native", NativeReduce<ReduceTypes, L2Fold>())
              // dx = x dy / y, 0 where y is 0
              .Gradient([](GradContext& g) {
                Expr y = WithFoldedAxes(g, g.y()), dy = WithFoldedAxes(g, g.dy());
                g.dx(0, g.x(0) * (dy / Where(Equal(y, 0.0), FullLike(y, 1), y)));
              })
              .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({1})))
              .Try(Sample().In({2, 3}).Attr("keepdims", 0)));
  ops.Add(OldReduceOp("ReduceLogSum", {1, 11, 13}, kReduceTypes));
  ops.Add(ReduceOp("ReduceLogSum", 18, {18}, kReduceTypes)
              .Kernel("native", NativeReduce<ReduceTypes, LogSumFold>())
              // dx = dy / sum(x) = dy exp(-y)
              .Gradient([](GradContext& g) {
                g.dx(0, Expand(WithFoldedAxes(g, g.dy() * Exp(-g.y())), ShapeOf(g.x(0))));
              })
              .Try(Sample().In({2, 3, 4}, 0.5, 2).In(Tensor::Int64s({1})))
              .Try(Sample().In({2, 3}, 0.5, 2).Attr("keepdims", 0)));
  ops.Add(OldReduceOp("ReduceLogSumExp", {1, 11, 13}, kReduceTypes));
  ops.Add(ReduceOp("ReduceLogSumExp", 18, {18}, kReduceTypes)
              .Kernel("native", PrepareLogSumExp)
              // dx = dy exp(x - y)
              .Gradient([](GradContext& g) {
                g.dx(0, WithFoldedAxes(g, g.dy()) * Exp(g.x(0) - WithFoldedAxes(g, g.y())));
              })
              .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({1})))
              .Try(Sample().In({3, 4}).In(Tensor::Int64s({0})).Attr("keepdims", 0))
              .Try(Sample()
                       .In(Tensor::Of<float>({2}, {1000, 1000}))
                       .Gives(Tensor::Of<float>({1}, {1000.6931472f}))
                       .NoGradient("the values alone matter here"))
              .Try(Sample().In({2, 3}).Attr("keepdims", 0)));
}

}  // namespace graphrun
