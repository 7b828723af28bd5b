// What Winograd's transforms cost in accuracy: 3 x 3 convolutions of f32 over many channels, which
// take them where oneDNN has them, against f64.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "ops/ops.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

struct Shape3x3 {
  int64_t batch, inputs, outputs, size;
};

class WinogradTest : public testing::TestWithParam<Shape3x3> {
 protected:
  WinogradTest() { RegisterOps(registry_); }

  // Numbers spread like weights and activations: sums of four uniform ones, the same in both types.
  Tensor Random(DType dtype, const Dims& dims, uint32_t seed) const {
    Tensor t(dtype, dims);
    uint32_t state = seed;
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      float v = 0;
      for (int k = 0; k < 4; ++k) {
        state = state * 1664525u + 1013904223u;
        v += static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
      }
      if (dtype == DType::kFloat32) {
        t.mutable_data<float>()[i] = v;
      } else {
        t.mutable_data<double>()[i] = static_cast<double>(v);
      }
    }
    return t;
  }

  // The operator's first result, of inputs with these sizes.
  Tensor Result(DType dtype, const char* op, const char* domain, const std::vector<Dims>& inputs) {
    Graph graph;
    Graph::NodeSpec spec;
    spec.op_type = op;
    spec.domain = domain;
    spec.attrs = {{"pads", std::vector<int64_t>{1, 1, 1, 1}}};
    spec.outputs = {""};
    std::vector<Datum> tensors;
    for (size_t i = 0; i < inputs.size(); ++i) {
      tensors.push_back(Datum(Random(dtype, inputs[i], static_cast<uint32_t>(i) + 1)));
      spec.inputs.push_back(graph.AddInput("", Type::Tensor(dtype, Shape::Of(inputs[i]))));
    }
    spec.opset = registry_.Find(domain, op, 0)->since();
    Node* node = graph.AddNode(spec);
    EXPECT_TRUE(InferTypes(graph, registry_).ok());
    auto y = EvaluateNode(*node, registry_, tensors);
    EXPECT_TRUE(y.ok()) << y.status().message();
    return y.ok() ? (*y)[0].tensor : Tensor();
  }

  // The root of the mean squared error over the root of the mean square.
  double Error(const char* op, const char* domain, const std::vector<Dims>& inputs) {
    const Tensor got = Result(DType::kFloat32, op, domain, inputs);
    const Tensor want = Result(DType::kFloat64, op, domain, inputs);
    double error = 0, size = 0;
    for (int64_t i = 0; i < want.num_elements(); ++i) {
      const double w = want.AsDouble(i), e = got.AsDouble(i) - w;
      error += e * e;
      size += w * w;
    }
    return std::sqrt(error / size);
  }

  OpRegistry registry_;
};

// A direct f32 sum of this many terms is off by 1e-7 to 3e-7, Winograd by 1e-7 to 9e-7.
constexpr double kMost = 2e-6;

TEST_P(WinogradTest, ForwardStaysWithinAFewRoundings) {
  const Shape3x3 s = GetParam();
  EXPECT_LT(Error("Conv", "", {{s.batch, s.inputs, s.size, s.size}, {s.outputs, s.inputs, 3, 3}}),
            kMost);
}

TEST_P(WinogradTest, BothGradientsStayWithinAFewRoundings) {
  const Shape3x3 s = GetParam();
  const Dims x = {s.batch, s.inputs, s.size, s.size}, y = {s.batch, s.outputs, s.size, s.size},
             w = {s.outputs, s.inputs, 3, 3};
  EXPECT_LT(Error("ConvGradInput", "ai.graphrun", {y, w, x}), kMost);
  EXPECT_LT(Error("ConvGradWeight", "ai.graphrun", {y, x, w}), kMost);
}

INSTANTIATE_TEST_SUITE_P(Shapes, WinogradTest,
                         testing::Values(Shape3x3{1, 64, 64, 16}, Shape3x3{4, 32, 64, 14},
                                         Shape3x3{1, 128, 32, 28}, Shape3x3{2, 256, 32, 8}));

}  // namespace
}  // namespace graphrun
