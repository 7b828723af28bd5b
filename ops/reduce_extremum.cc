// ReduceMax, ReduceMin, ReduceProd.
//
// Source: https://onnx.ai/onnx/operators (ReduceMax 20, ReduceMin 20, ReduceProd 18). Axes are an
// input from version 18 on; version 20 adds bool. NaN wins over every number. Over no elements: the
// lowest, the highest number (infinities for floats), 1.
#include <cmath>

#include "ops/reduce_ops.h"

namespace graphrun {
namespace {

template <typename T>
struct MaxFold : SumFold<T> {
  using A = Narrow<T>;
  using W = Narrow<T>;
  static W Zero() {
    return std::is_floating_point_v<W> ? -std::numeric_limits<W>::infinity()
                                       : std::numeric_limits<W>::lowest();
  }
  static W Add(W a, W b) { return ((b > a) | (b != b)) ? b : a; }
};

template <typename T>
struct MinFold : SumFold<T> {
  using A = Narrow<T>;
  using W = Narrow<T>;
  static W Zero() {
    return std::is_floating_point_v<W> ? std::numeric_limits<W>::infinity()
                                       : std::numeric_limits<W>::max();
  }
  static W Add(W a, W b) { return ((b < a) | (b != b)) ? b : a; }
};

template <typename T>
struct ProdFold : SumFold<T> {
  static Wide<T> Zero() { return 1; }
  template <typename N>
  static N Add(N a, N b) {
    return WrapMul(a, b);
  }
};

using ExtremumTypes = Concat<ReduceTypes, TypeList<int8_t, uint8_t, bool>>;
constexpr DTypeSet kExtremumTypes =
    kReduceTypes | DTypeSet{DType::kInt8, DType::kUInt8, DType::kBool};

// dx = dy where x is the extremum, shared evenly by those that tie.
void ExtremumGradient(GradContext& g) {
  Expr hit = Cast(Equal(g.x(0), WithFoldedAxes(g, g.y())), g.x(0).dtype());
  Expr count =
      g.builder().Op("ReduceSum", {hit, g.x(1)},
                     {{"keepdims", 1}, {"noop_with_empty_axes", g.Int("noop_with_empty_axes")}});
  g.dx(0, hit * (WithFoldedAxes(g, g.dy()) / count));
}

// dx_i = dy * product of the other elements: y / x_i where no element is 0, the product of the rest
// at a single 0.
void ProductGradient(GradContext& g) {
  Expr x = g.x(0);
  const AttrMap attrs = {{"keepdims", 1}, {"noop_with_empty_axes", g.Int("noop_with_empty_axes")}};
  Expr zero = Equal(x, 0.0);
  Expr factors = Where(zero, FullLike(x, 1), x);
  Expr product = g.builder().Op("ReduceProd", {factors, g.x(1)}, attrs);
  Expr zeros = g.builder().Op("ReduceSum", {Cast(zero, x.dtype()), g.x(1)}, attrs);
  Expr others = Where(zero, Equal(zeros, 1.0), Equal(zeros, 0.0));
  g.dx(0, WithFoldedAxes(g, g.dy()) * Cast(others, x.dtype()) * product / factors);
}

OpDef Extremum(const char* name) {
  return ReduceOp(name, 18, {18, 20}, kExtremumTypes)
      .Gradient(ExtremumGradient)
      .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({1})))
      .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({0, -1})).Attr("keepdims", 0))
      .Try(Sample().In({2, 3}).Attr("keepdims", 0))
      .Try(Sample().In({3, 40}).In(Tensor::Int64s({0})))
      .Try(Sample().In({20000}))
      .Try(Sample().In({2, 3}).In(Tensor::Int64s({})).Attr("noop_with_empty_axes", 1));
}

}  // namespace

void RegisterReduceExtremumOps(OpRegistry& ops) {
  const float inf = std::numeric_limits<float>::infinity();
  ops.Add(OldReduceOp("ReduceMax", {1, 11, 12, 13}, kExtremumTypes));
  ops.Add(Extremum("ReduceMax")
              .Kernel("native", NativeReduce<ExtremumTypes, MaxFold>())
              .Try(Sample()
                       .In({0, 1})
                       .In(Tensor::Int64s({0}))
                       .Gives(Tensor::Of<float>({1, 1}, {-inf}))
                       .NoGradient("nothing to give it to"))
              .Try(Sample()
                       .In(Tensor::Of<uint8_t>({2, 2}, {1, 2, 200, 3}))
                       .In(Tensor::Int64s({0}))
                       .Gives(Tensor::Of<uint8_t>({1, 2}, {200, 3})))
              .Try(Sample()
                       .In(Tensor::Of<bool>({2}, {false, true}))
                       .Gives(Tensor::Of<bool>({1}, {true}))));
  ops.Add(OldReduceOp("ReduceMin", {1, 11, 12, 13}, kExtremumTypes));
  ops.Add(Extremum("ReduceMin")
              .Kernel("native", NativeReduce<ExtremumTypes, MinFold>())
              .Try(Sample()
                       .In({0, 1})
                       .In(Tensor::Int64s({0}))
                       .Gives(Tensor::Of<float>({1, 1}, {inf}))
                       .NoGradient("nothing to give it to"))
              .Try(Sample()
                       .In(Tensor::Of<bool>({2}, {false, true}))
                       .Gives(Tensor::Of<bool>({1}, {false}))));
  ops.Add(OldReduceOp("ReduceProd", {1, 11, 13}, kReduceTypes));
  ops.Add(
      ReduceOp("ReduceProd", 18, {18}, kReduceTypes)
          .Kernel("native", NativeReduce<ReduceTypes, ProdFold>())
          .Gradient(ProductGradient)
          .Try(Sample().In({2, 3, 4}).In(Tensor::Int64s({1})))
          .Try(Sample().In({2, 3}).Attr("keepdims", 0))
          .Try(Sample().In(Tensor::Of<float>({2, 3}, {2, 0, 3, 0, 0, 5})).In(Tensor::Int64s({1})))
          .Try(Sample()
                   .In({2, 0})
                   .In(Tensor::Int64s({1}))
                   .Gives(Tensor::Of<float>({2, 1}, {1, 1}))));
}

}  // namespace graphrun
