// And, Or, Xor, Not, BitShift, BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot.
//
// Source: https://onnx.ai/onnx/operators (And 7, Or 7, Xor 7, Not 1, BitShift 11, the bitwise ones
// 18). Before version 7 broadcasting was an attribute. Shifting by as many bits as there are, or
// more, gives 0.
#include "ops/elementwise.h"

namespace graphrun {
namespace {

template <typename F>
void Logical(OpRegistry& ops, const char* name, F f) {
  ops.Add(OldBinaryOp(name, {1}, kBools, true));
  const Tensor a = Tensor::Of<bool>({2, 2}, {false, false, true, true});
  ops.Add(OpDef(name, 7)
              .Input("A", "T")
              .Input("B", "T")
              .Output("C", "bool")
              .Types("T", kBools)
              .Infer(BroadcastToBool)
              .InPlace(0, 0)
              .InPlace(1, 0)
              .NotDifferentiable("a truth value")
              .Kernel("native", NativeBinary<TypeList<bool>>(f))
              .PointwiseBlock(&BinaryBlock<F>)
              .Try(Sample().In(a).In(Tensor::Of<bool>({2}, {false, true})))
              .Try(Sample().In(a).In(Tensor::Of<bool>({}, {true})).Variable()));
}

OpDef Bitwise(const char* name) {
  return OpDef(name, 18)
      .Input("A", "T")
      .Input("B", "T")
      .Output("C", "T")
      .Types("T", kIntegers)
      .Infer(BroadcastAll)
      .InPlace(0, 0)
      .InPlace(1, 0)
      .NotDifferentiable("bits of integers")
      .Try(Sample()
               .In(Tensor::Of<int32_t>({2, 2}, {5, -3, 12, 7}))
               .In(Tensor::Of<int32_t>({2}, {6, 10})))
      .Try(Sample().In(Tensor::Of<uint8_t>({2}, {5, 200})).In(Tensor::Of<uint8_t>({}, {6})));
}

// Signed numbers, which exporters write although the standard names unsigned ones only, keep their
// sign to the right. Shifts by nothing sensible (negative, or as wide as the type) leave no bit.
template <typename T>
bool Shifts(T b) {
  return static_cast<uint64_t>(b) < 8 * sizeof(T);
}
template <typename T>
T ShiftLeft(T a, T b) {
  return !Shifts(b) ? T(0) : static_cast<T>(static_cast<uint64_t>(a) << b);
}
template <typename T>
T ShiftRight(T a, T b) {
  return !Shifts(b) ? T(a < 0 ? -1 : 0) : static_cast<T>(a >> b);
}

}  // namespace

void RegisterLogicOps(OpRegistry& ops) {
  Logical(ops, "And", [](auto a, auto b) { return (a != 0) & (b != 0); });
  Logical(ops, "Or", [](auto a, auto b) { return (a != 0) | (b != 0); });
  Logical(ops, "Xor", [](auto a, auto b) { return (a != 0) != (b != 0); });
  const auto negate = [](auto x) { return x == 0; };
  ops.Add(OpDef("Not", 1)
              .Input("X", "T")
              .Output("Y", "T")
              .Types("T", kBools)
              .Infer(SameAsInput)
              .InPlace(0, 0)
              .NotDifferentiable("a truth value")
              .Kernel("native", NativeUnary<TypeList<bool>>(negate))
              .PointwiseBlock(&UnaryBlock<decltype(negate)>)
              .Try(Sample()
                       .In(Tensor::Of<bool>({2}, {false, true}))
                       .Gives(Tensor::Of<bool>({2}, {true, false}))));
  ops.Add(Bitwise("BitwiseAnd").Kernel("native", NativeBinary<IntegerTypes>([](auto a, auto b) {
                                         return a & b;
                                       })));
  ops.Add(Bitwise("BitwiseOr").Kernel("native", NativeBinary<IntegerTypes>([](auto a, auto b) {
                                        return a | b;
                                      })));
  ops.Add(Bitwise("BitwiseXor").Kernel("native", NativeBinary<IntegerTypes>([](auto a, auto b) {
                                         return a ^ b;
                                       })));
  ops.Add(OpDef("BitwiseNot", 18)
              .Input("X", "T")
              .Output("Y", "T")
              .Types("T", kIntegers)
              .Infer(SameAsInput)
              .InPlace(0, 0)
              .NotDifferentiable("bits of integers")
              .Kernel("native", NativeUnary<IntegerTypes>(
                                    [](auto x) { return static_cast<decltype(x)>(~x); }))
              .Try(Sample()
                       .In(Tensor::Of<uint8_t>({2}, {0, 200}))
                       .Gives(Tensor::Of<uint8_t>({2}, {255, 55}))));
  const KernelFactory left =
      NativeBinary<IntegerTypes>([](auto a, auto b) { return ShiftLeft(a, b); });
  const KernelFactory right =
      NativeBinary<IntegerTypes>([](auto a, auto b) { return ShiftRight(a, b); });
  ops.Add(OpDef("BitShift", 11)
              .Input("X", "T")
              .Input("Y", "T")
              .Output("Z", "T")
              .Types("T", kIntegers)
              .RequiredAttr("direction", Attr::Kind::kString)
              .Infer([](InferContext& c) -> absl::Status {
                const std::string direction = c.String("direction");
                if (direction != "LEFT" && direction != "RIGHT") {
                  return c.Error("attribute direction is \"", direction,
                                 "\" but must be LEFT or RIGHT");
                }
                return BroadcastAll(c);
              })
              .InPlace(0, 0)
              .NotDifferentiable("bits of integers")
              .Kernel("native",
                      [left, right](PrepareContext& c) {
                        return c.String("direction") == "LEFT" ? left(c) : right(c);
                      })
              .Try(Sample()
                       .In(Tensor::Of<uint8_t>({3}, {16, 4, 1}))
                       .In(Tensor::Of<uint8_t>({3}, {1, 2, 9}))
                       .Attr("direction", "LEFT")
                       .Gives(Tensor::Of<uint8_t>({3}, {32, 16, 0})))
              .Try(Sample()
                       .In(Tensor::Of<uint64_t>({2}, {16, 4}))
                       .In(Tensor::Of<uint64_t>({2}, {1, 64}))
                       .Attr("direction", "RIGHT")
                       .Gives(Tensor::Of<uint64_t>({2}, {8, 0})))
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({4}, {-16, 16, -1, -7}))
                       .In(Tensor::Of<int32_t>({4}, {2, 3, 40, -1}))
                       .Attr("direction", "RIGHT")
                       .Gives(Tensor::Of<int32_t>({4}, {-4, 2, -1, -1})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({3}, {-3, 1, 5}))
                       .In(Tensor::Of<int64_t>({3}, {1, 62, 64}))
                       .Attr("direction", "LEFT")
                       .Gives(Tensor::Of<int64_t>({3}, {-6, int64_t{1} << 62, 0})))
              .Try(Sample()
                       .In(Tensor::Of<uint8_t>({1}, {1}))
                       .In(Tensor::Of<uint8_t>({1}, {1}))
                       .Attr("direction", "UP")
                       .Refused("LEFT or RIGHT")));
}

}  // namespace graphrun
