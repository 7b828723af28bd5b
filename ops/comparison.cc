// Equal, Less, LessOrEqual, Greater, GreaterOrEqual, IsNaN, IsInf.
//
// Source: https://onnx.ai/onnx/operators (Equal 19, Less 13, LessOrEqual 16, Greater 13,
// GreaterOrEqual 16, IsNaN 20, IsInf 20). Before version 7 broadcasting was an attribute.
#include <cmath>
#include <string>

#include "ops/elementwise.h"

namespace graphrun {
namespace {

OpDef Comparison(const char* name, int since, std::vector<int> versions, DTypeSet dtypes) {
  return OpDef(name, since)
      .Versions(std::move(versions))
      .Input("A", "T")
      .Input("B", "T")
      .Output("C", "bool")
      .Types("T", dtypes)
      .Infer(BroadcastToBool)
      .NotDifferentiable("a truth value");
}

template <typename F>
OpDef Order(const char* name, int since, std::vector<int> versions, F f) {
  return Comparison(name, since, std::move(versions), kNumeric)
      .Kernel("block", BlockKernel())
      .Kernel("native", NativeBinary<NumericTypes, bool>(f))
      .PointwiseBlock(&BinaryBlock<F>)
      .Try(Sample().In({2, 3}).In({3}))
      .Try(Sample().In(Tensor::Of<float>({3}, {1, 2, 3})).In(Tensor::Of<float>({3}, {2, 2, 2})))
      .Try(Sample().In(Tensor::Of<uint8_t>({2}, {200, 3})).In(Tensor::Of<uint8_t>({1}, {100})));
}

// Results are bools, which the native kernels make from every number type.
template <typename F>
OpDef FloatTest(const char* name, int since, std::vector<int> versions, F f,
                ParamsFn params = nullptr) {
  return OpDef(name, since)
      .Versions(std::move(versions))
      .Input("X", "T1")
      .Output("Y", "bool")
      .Types("T1", kFloats | kSmallFloats)
      .Infer(BroadcastToBool)
      .NotDifferentiable("a truth value")
      .Kernel("block", BlockKernel())
      .Kernel("native", NativeUnaryWith<Concat<FloatTypes, SmallFloatTypes>, bool>(f, params))
      .PointwiseBlock(&UnaryBlock<F>, params);
}

}  // namespace

void RegisterComparisonOps(OpRegistry& ops) {
  const auto equal = [](const auto& a, const auto& b) { return a == b; };
  ops.Add(OldBinaryOp("Equal", {1}, {DType::kBool, DType::kInt32, DType::kInt64}, true));
  ops.Add(
      Comparison("Equal", 7, {7, 11, 13, 19}, kNumeric | kBools | kStringsOnly)
          .Kernel("block", BlockKernel())
          .Kernel("native",
                  NativeBinary<Concat<NumericTypes, TypeList<bool, std::string>>, bool>(equal))
          .PointwiseBlock(&BinaryBlock<decltype(equal)>)
          .Try(Sample().In(Tensor::Of<float>({3}, {1, 2, 3})).In(Tensor::Of<float>({3}, {2, 2, 2})))
          .Try(Sample().In({2, 3}).In({3}))
          .Try(Sample()
                   .In(Tensor::Of<std::string>({2}, {"a", "b"}))
                   .In(Tensor::Of<std::string>({1}, {"b"}))
                   .Gives(Tensor::Of<bool>({2}, {false, true})))
          .Try(Sample()
                   .In(Tensor::Of<bool>({2}, {false, true}))
                   .In(Tensor::Of<bool>({}, {true}))
                   .Gives(Tensor::Of<bool>({2}, {false, true}))));
  ops.Add(OldBinaryOp("Less", {1}, kFloats, true));
  ops.Add(Order("Less", 7, {7, 9, 13}, [](auto a, auto b) { return a < b; }));
  ops.Add(OldBinaryOp("Greater", {1}, kFloats, true));
  ops.Add(Order("Greater", 7, {7, 9, 13}, [](auto a, auto b) { return a > b; }));
  ops.Add(Order("LessOrEqual", 12, {12, 16}, [](auto a, auto b) { return a <= b; }));
  ops.Add(Order("GreaterOrEqual", 12, {12, 16}, [](auto a, auto b) { return a >= b; }));
  const float inf = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor odd = Tensor::Of<float>({5}, {1, -inf, inf, nan, 0});
  ops.Add(
      FloatTest("IsNaN", 9, {9, 13, 20}, [](auto x) {
        return x != x;
      }).Try(Sample().In(odd).Gives(Tensor::Of<bool>({5}, {false, false, false, true, false}))));
  const auto is_inf = [](auto x, const float* p) {
    constexpr auto kInf = std::numeric_limits<decltype(x)>::infinity();
    return (p[0] != 0 && x == kInf) || (p[1] != 0 && x == -kInf);
  };
  ops.Add(FloatTest("IsInf", 10, {10, 20}, is_inf,
                    [](const NodeContext& c) {
                      return std::vector<float>{static_cast<float>(c.Int("detect_positive")),
                                                static_cast<float>(c.Int("detect_negative"))};
                    })
              .Attr("detect_positive", 1)
              .Attr("detect_negative", 1)
              .Try(Sample().In(odd).Gives(Tensor::Of<bool>({5}, {false, true, true, false, false})))
              .Try(Sample()
                       .In(odd)
                       .Attr("detect_negative", 0)
                       .Gives(Tensor::Of<bool>({5}, {false, false, true, false, false})))
              .Try(Sample()
                       .In(odd)
                       .Attr("detect_positive", 0)
                       .Gives(Tensor::Of<bool>({5}, {false, true, false, false, false}))));
}

}  // namespace graphrun
