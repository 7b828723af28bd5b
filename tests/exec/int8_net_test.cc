// A quantised network: what runs on bytes gives the numbers of the plain loops.
#include <gtest/gtest.h>

#include <algorithm>

#include "ops/ops.h"
#include "runtime/exec/session.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

using Ints = std::vector<int64_t>;

class Int8NetTest : public testing::TestWithParam<DType> {
 protected:
  Int8NetTest() : builder_(&graph(), &registry_) { RegisterOps(registry_); }

  Graph& graph() { return *graph_; }
  Tensor Bytes(DType dtype, const Dims& dims, uint32_t seed) const {
    Tensor t(dtype, dims);
    uint32_t state = seed;
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      state = state * 1664525u + 1013904223u;
      static_cast<uint8_t*>(t.mutable_raw())[i] = static_cast<uint8_t>(state >> 24);
    }
    return t;
  }
  Tensor Filled(DType dtype, const Dims& dims, uint8_t v) const {
    Tensor t(dtype, dims);
    for (int64_t i = 0; i < t.num_elements(); ++i) static_cast<uint8_t*>(t.mutable_raw())[i] = v;
    return t;
  }
  Tensor Scales(int64_t n, float first) const {
    Tensor t(DType::kFloat32, {n});
    for (int64_t i = 0; i < n; ++i)
      t.mutable_data<float>()[i] = first * static_cast<float>(1 + i % 3);
    return t;
  }
  Expr Constant(Tensor t) { return builder_.Constant(std::move(t)); }
  Expr Scalar(double v) { return builder_.Scalar(DType::kFloat32, v); }

  // The session's bytes against the plain loops': a tie may fall to the other side.
  void Check(Expr y, const Tensor& x) {
    graph().AddOutput(y.value());
    ASSERT_TRUE(builder_.status().ok()) << builder_.status().message();
    ASSERT_TRUE(InferTypes(graph(), registry_).ok());
    const auto want = EvaluateGraph(graph(), registry_, {{"x", Datum(x)}});
    ASSERT_TRUE(want.ok()) << want.status().message();
    auto session = Session::Create(graph_, &registry_);
    ASSERT_TRUE(session.ok());
    const absl::Status ran = (*session)->Run(std::vector<Tensor>{x});
    ASSERT_TRUE(ran.ok()) << ran.message();
    const Tensor& got = (*session)->output(0).tensor;
    ASSERT_EQ(got.dims(), (*want)[0].tensor.dims());
    double least = 255, most = -255;
    for (int64_t i = 0; i < got.num_elements(); ++i) {
      ASSERT_NEAR(got.AsDouble(i), (*want)[0].tensor.AsDouble(i), 1) << "element " << i;
      least = std::min(least, got.AsDouble(i));
      most = std::max(most, got.AsDouble(i));
    }
    EXPECT_GT(most - least, 50) << "bytes that say something";
  }

  OpRegistry registry_;
  std::shared_ptr<Graph> graph_ = std::make_shared<Graph>();
  Builder builder_;
};

TEST_P(Int8NetTest, ConvolutionPoolingsAndProduct) {
  const DType type = GetParam();
  const Dims sizes = {3, 2, 14, 12};
  Expr x = builder_.Use(graph().AddInput("x", Type::Tensor(type, Shape::Of(sizes))));
  const Expr zero = Constant(Filled(type, {}, 3));
  Expr y = builder_.Op(
      "QLinearConv",
      {x, Scalar(0.02), zero, Constant(Bytes(DType::kInt8, {32, 2, 3, 3}, 5)),
       Constant(Scales(32, 0.01f)), Constant(Filled(DType::kInt8, {32}, 0)), Scalar(0.3), zero},
      {{"pads", Ints{1, 1, 1, 1}}});
  y = builder_.Op("MaxPool", {y}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  y = builder_.Op(
      "MaxPool", {y},
      {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}});
  y = builder_.Op("Flatten", {y});
  const int64_t k = 32 * 4 * 3;
  y = builder_.Op("QGemm",
                  {y, Scalar(0.3), zero, Constant(Bytes(DType::kInt8, {20, k}, 9)),
                   Constant(Scales(20, 0.001f)), Constant(Filled(DType::kInt8, {20}, 0)),
                   Constant(Tensor::Zeros(DType::kInt32, {20})), Scalar(1), zero},
                  {{"transB", 1}}, "com.microsoft");
  Check(y, Bytes(type, sizes, 1));
}

TEST_P(Int8NetTest, AProductWithoutBiasOfAPlainMatrix) {
  const DType type = GetParam();
  Expr x = builder_.Use(graph().AddInput("x", Type::Tensor(type, Shape({5, 33}))));
  const Expr zero = Constant(Filled(type, {}, 7));
  const Expr y =
      builder_.Op("QGemm",
                  {x, Scalar(0.05), zero, Constant(Bytes(DType::kInt8, {33, 17}, 9)), Scalar(0.01),
                   builder_.Scalar(DType::kInt8, 0), Expr(), Scalar(0.5), zero},
                  {}, "com.microsoft");
  Check(y, Bytes(type, {5, 33}, 2));
}

INSTANTIATE_TEST_SUITE_P(Bytes, Int8NetTest, testing::Values(DType::kUInt8, DType::kInt8));

}  // namespace
}  // namespace graphrun
