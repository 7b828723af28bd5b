#include "runtime/autodiff/gradient_nodes.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/ir/text.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "tests/ops/standard_registry.h"

namespace graphrun {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The graph's outputs at inputs a = 2, b = 3, joined.
std::vector<float> Outputs(const std::string& body, absl::Status* error = nullptr) {
  const std::string text =
      "<ir_version: 8, opset_import: [\"\" : 17, \"ai.onnx.preview.training\" : 1]>\n" + body;
  auto graph = ParseGraph(text);
  EXPECT_TRUE(graph.ok()) << graph.status();
  EXPECT_TRUE(InferTypes(**graph, StandardRegistry()).ok());
  const auto changed = ExpandGradientNodes(**graph, StandardRegistry());
  if (error != nullptr) *error = changed.status();
  if (!changed.ok()) return {};
  EXPECT_TRUE(*changed);
  auto outputs =
      EvaluateGraph(**graph, StandardRegistry(),
                    {{"a", Datum(Tensor::Scalar(2.f))}, {"b", Datum(Tensor::Scalar(3.f))}});
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  std::vector<float> all;
  if (outputs.ok()) {
    for (const Datum& d : *outputs) all.push_back(d.tensor.data<float>()[0]);
  }
  return all;
}

TEST(GradientNodesTest, DifferentiatesByEveryNamedValue) {
  EXPECT_THAT(Outputs(R"(g (float a, float b) => (float c, float da, float db) {
    c = Mul(a, b)
    da, db = ai.onnx.preview.training.Gradient <xs = ["a", "b"], y = "c"> (a, b)
  })"),
              ElementsAre(6, 3, 2));
}

TEST(GradientNodesTest, InputsTakeThePlacesOfTheNames) {
  EXPECT_THAT(Outputs(R"(g (float a, float b) => (float da) {
    c = Mul(a, a)
    da = ai.onnx.preview.training.Gradient <xs = ["a"], y = "c"> (b)
  })"),
              ElementsAre(6));
}

TEST(GradientNodesTest, AnIntermediateValueIsIndependentOfWhatMadeIt) {
  // y = (a * b) * a with c = a * b held fixed: dy/da = c, dy/dc = a.
  EXPECT_THAT(Outputs(R"(g (float a, float b) => (float da, float dc) {
    c = Mul(a, b)
    y = Mul(c, a)
    da, dc = ai.onnx.preview.training.Gradient <xs = ["a", "c"], y = "y"> (a, c)
  })"),
              ElementsAre(6, 2));
}

TEST(GradientNodesTest, ZsAreHeldFixedAtTheirInputs) {
  EXPECT_THAT(Outputs(R"(g (float a, float b) => (float da) {
    y = Mul(a, b)
    da = ai.onnx.preview.training.Gradient <xs = ["a"], zs = ["b"], y = "y"> (a, a)
  })"),
              ElementsAre(2));
}

TEST(GradientNodesTest, WhatIsReadForItsShapeAloneStopsNothing) {
  // As a variational autoencoder draws: y = a^2 + noise of a's shape + a matrix of a's shape.
  EXPECT_THAT(Outputs(R"(g (float a, float b) => (float da) {
    aa = Mul(a, a)
    noise = RandomNormalLike(aa)
    noisy = Add(aa, noise)
    axes = Constant <value_ints = [0, 1]> ()
    square = Unsqueeze(noisy, axes)
    ones = EyeLike(square)
    y = Add(square, ones)
    da = ai.onnx.preview.training.Gradient <xs = ["a"], y = "y"> (a)
  })"),
              ElementsAre(4));
}

TEST(GradientNodesTest, DerivativesNestInWhateverOrderTheyStand) {
  EXPECT_THAT(Outputs(R"(g (float a, float b) => (float d, float dd) {
    dd = ai.onnx.preview.training.Gradient <xs = ["a"], y = "d"> (a)
    s = Mul(a, a)
    y = Mul(s, a)
    d = ai.onnx.preview.training.Gradient <xs = ["a"], y = "y"> (a)
  })"),
              ElementsAre(12, 12));
}

TEST(GradientNodesTest, WhatDoesNotDependGivesZero) {
  EXPECT_THAT(Outputs(R"(g (float a, float b) => (float da, float db) {
    y = Mul(a, a)
    da, db = ai.onnx.preview.training.Gradient <xs = ["a", "b"], y = "y"> (a, b)
  })"),
              ElementsAre(4, 0));
}

TEST(GradientNodesTest, ANameThatNoValueHasIsAnError) {
  absl::Status error;
  Outputs(R"(g (float a, float b) => (float da) {
    y = Mul(a, b)
    da = ai.onnx.preview.training.Gradient <xs = ["a"], y = "loss"> (a)
  })",
          &error);
  EXPECT_THAT(std::string(error.message()), HasSubstr("\"loss\", which no value has"));
}

}  // namespace
}  // namespace graphrun
