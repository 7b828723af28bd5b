// Sizes as symbols through the operators that compute shapes.
#include <gtest/gtest.h>

#include "runtime/op/infer.h"
#include "tests/ops/standard_registry.h"

namespace graphrun {
namespace {

class ShapeArithmeticTest : public testing::Test {
 protected:
  Value* Input(const char* name, Shape shape) {
    return graph_.AddInput(name, Type::Tensor(DType::kFloat32, std::move(shape)));
  }
  Value* Ints(std::vector<int64_t> v) { return graph_.AddInitializer("ints", Tensor::Int64s(v)); }
  Value* Op(const char* op, std::vector<Value*> inputs, AttrMap attrs = {}) {
    return graph_.AddNode({op, "", std::move(inputs), {op}, std::move(attrs), "", 0, {}, {}})
        ->output(0);
  }
  std::string Infer(Value* v) {
    const absl::Status status = InferTypes(graph_, StandardRegistry());
    return status.ok() ? v->type().ToString() : std::string(status.message());
  }
  Dim n_ = Dim::Symbol("N"), t_ = Dim::Symbol("T");
  Graph graph_;
};

TEST_F(ShapeArithmeticTest, ASymbolTravelsThroughShapeGatherUnsqueezeConcatAndReshape) {
  Value* x = Input("x", Shape({n_, t_, Dim(8)}));
  Value* size =
      Op("Gather", {Op("Shape", {x}), graph_.AddInitializer("at", Tensor::Scalar<int64_t>(0))});
  Value* shape =
      Op("Concat", {Op("Unsqueeze", {size, Ints({0})}), Ints({-1, 4, 2})}, {{"axis", 0}});
  EXPECT_EQ(Infer(Op("Reshape", {x, shape})), "float32[N, T, 4, 2]");
}

TEST_F(ShapeArithmeticTest, ReshapeMergesASymbolWithNothingElse) {
  Value* x = Input("x", Shape({n_, Dim(3), Dim(4)}));
  EXPECT_EQ(Infer(Op("Reshape", {x, Ints({0, -1})})), "float32[N, 12]");
}

TEST_F(ShapeArithmeticTest, ReshapeLeavesAProductOfSymbolsUnknown) {
  Value* x = Input("x", Shape({n_, t_, Dim(8)}));
  EXPECT_EQ(Infer(Op("Reshape", {x, Ints({-1, 8})})), "float32[?, 8]");
}

TEST_F(ShapeArithmeticTest, AConstantWrittenAsANodeIsKnown) {
  Value* x = Input("x", Shape({n_, Dim(6)}));
  Value* shape = Op("Constant", {}, {{"value_ints", std::vector<int64_t>{-1, 2, 3}}});
  EXPECT_EQ(Infer(Op("Reshape", {x, shape})), "float32[N, 2, 3]");
}

TEST_F(ShapeArithmeticTest, SliceOfAShapeKeepsItsSymbols) {
  Value* x = Input("x", Shape({n_, t_, Dim(8)}));
  Value* tail = Op("Slice", {Op("Shape", {x}), Ints({-2}), Ints({INT64_MAX})});
  EXPECT_EQ(Infer(Op("Expand", {Input("y", Shape::Of({1, 8})), tail})), "float32[T, 8]");
}

TEST_F(ShapeArithmeticTest, SplitAndSqueezeOfAShapeKeepItsSymbols) {
  Value* x = Input("x", Shape({n_, t_}));
  Node* split = graph_.AddNode(
      {"Split", "", {Op("Shape", {x})}, {"a", "b"}, {{"num_outputs", 2}}, "", 0, {}, {}});
  Value* zero = graph_.AddInitializer("zero", Tensor::Scalar<int64_t>(0));
  Value* one = graph_.AddInitializer("one", Tensor::Scalar<int64_t>(1));
  Value* limit = Op("Squeeze", {split->output(1), Ints({0})});
  EXPECT_EQ(Infer(Op("Range", {zero, limit, one})), "int64[T]");
}

TEST_F(ShapeArithmeticTest, ASliceToTheEndOfAnUnknownAxisKeepsIt) {
  Value* x = Input("x", Shape({n_, Dim(8)}));
  EXPECT_EQ(Infer(Op("Slice", {x, Ints({0, 2}), Ints({INT32_MAX, INT32_MAX})})), "float32[N, 6]");
}

TEST_F(ShapeArithmeticTest, ShapeOfAKnownValueIsTheSizesOfConstantOfShape) {
  Value* x = Input("x", Shape({n_, Dim(3)}));
  EXPECT_EQ(Infer(Op("ConstantOfShape", {Op("Shape", {x})})), "float32[N, 3]");
}

}  // namespace
}  // namespace graphrun
