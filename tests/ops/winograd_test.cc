// What Winograd's transforms cost in accuracy: 3 x 3 convolutions of f32 and bf16 over many
// channels, against f64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "ops/ops.h"
#include "ops/winograd.h"
#include "ops/winograd_bf16.h"
#include "ops/winograd_gradient.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

struct Shape3x3 {
  int64_t batch, inputs, outputs, h, w;
  std::vector<int64_t> pads = {1, 1, 1, 1};

  int64_t out_h() const { return h + pads[0] + pads[2] - 2; }
  int64_t out_w() const { return w + pads[1] + pads[3] - 2; }
};

class WinogradTest : public testing::TestWithParam<Shape3x3> {
 protected:
  WinogradTest() { RegisterOps(registry_); }
  void SetUp() override {
    if (!winograd::IsBuilt()) GTEST_SKIP() << "built without AVX-512";
  }

  // Numbers spread like weights and activations: sums of four uniform ones that are numbers of
  // type_, the same in all types.
  Tensor Random(DType dtype, const Dims& dims, uint32_t seed) const {
    Tensor t(dtype, dims);
    uint32_t state = seed;
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      float v = 0;
      for (int k = 0; k < 4; ++k) {
        state = state * 1664525u + 1013904223u;
        v += static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
      }
      if (type_ == DType::kBFloat16) v = static_cast<float>(BFloat16(v));
      if (dtype == DType::kFloat32) {
        t.mutable_data<float>()[i] = v;
      } else if (dtype == DType::kBFloat16) {
        t.mutable_data<BFloat16>()[i] = BFloat16(v);
      } else {
        t.mutable_data<double>()[i] = static_cast<double>(v);
      }
    }
    return t;
  }

  // The operator's results, of inputs with these sizes; input `constant` is one.
  std::vector<Datum> Results(DType dtype, const char* op, const char* domain,
                             const std::vector<Dims>& inputs, int constant, int outputs) {
    Graph graph;
    Graph::NodeSpec spec;
    spec.op_type = op;
    spec.domain = domain;
    spec.attrs = {{"pads", GetParam().pads}};
    if (spec.op_type == "FusedConv") spec.attrs.insert({"activation", "Relu"});
    spec.outputs.resize(static_cast<size_t>(outputs));
    std::vector<Datum> tensors;
    for (size_t i = 0; i < inputs.size(); ++i) {
      tensors.push_back(Datum(Random(dtype, inputs[i], static_cast<uint32_t>(i) + 1)));
      spec.inputs.push_back(static_cast<int>(i) == constant
                                ? graph.AddInitializer("w", tensors.back().tensor)
                                : graph.AddInput("", Type::Tensor(dtype, Shape::Of(inputs[i]))));
    }
    spec.opset = registry_.Find(domain, op, 0)->since();
    Node* node = graph.AddNode(spec);
    EXPECT_TRUE(InferTypes(graph, registry_).ok());
    EvaluateOptions options;
    options.kernel = dtype == type_ ? "winograd" : "native";
    auto y = EvaluateNode(*node, registry_, tensors, options);
    EXPECT_TRUE(y.ok()) << y.status().message();
    return y.ok() ? std::move(*y) : std::vector<Datum>();
  }

  // The largest of the results' errors: the root of the mean squared error over the root of the
  // mean square.
  double Error(const char* op, const char* domain, const std::vector<Dims>& inputs,
               int constant = -1, int outputs = 1) {
    const auto got = Results(type_, op, domain, inputs, constant, outputs);
    const auto want = Results(DType::kFloat64, op, domain, inputs, constant, outputs);
    EXPECT_EQ(got.size(), want.size());
    double worst = 0;
    for (size_t o = 0; o < std::min(got.size(), want.size()); ++o) {
      double error = 0, size = 0;
      for (int64_t i = 0; i < want[o].tensor.num_elements(); ++i) {
        const double w = want[o].tensor.AsDouble(i), e = got[o].tensor.AsDouble(i) - w;
        error += e * e;
        size += w * w;
      }
      worst = std::max(worst, std::sqrt(error / size));
    }
    return worst;
  }

  OpRegistry registry_;
  DType type_ = DType::kFloat32;  // that the algorithm computes in
};

class WinogradBf16Test : public WinogradTest {
 protected:
  WinogradBf16Test() { type_ = DType::kBFloat16; }
  void SetUp() override {
    if (!winograd_bf16::IsBuilt()) GTEST_SKIP() << "built without products of bf16 pairs";
  }
};

// A direct f32 sum of this many terms is off by 1e-7 to 3e-7, Winograd by 1e-7 to 9e-7.
constexpr double kMost = 2e-6;

TEST_P(WinogradTest, ForwardStaysWithinAFewRoundings) {
  const Shape3x3 s = GetParam();
  EXPECT_LT(Error("Conv", "", {{s.batch, s.inputs, s.h, s.w}, {s.outputs, s.inputs, 3, 3}}), kMost);
}

TEST_P(WinogradTest, ConstantWeightsBiasSumAndReluStayWithinAFewRoundings) {
  const Shape3x3 s = GetParam();
  EXPECT_LT(Error("FusedConv", "ai.graphrun",
                  {{s.batch, s.inputs, s.h, s.w},
                   {s.outputs, s.inputs, 3, 3},
                   {s.outputs},
                   {s.batch, s.outputs, s.out_h(), s.out_w()}},
                  1),
            kMost);
}

TEST_P(WinogradTest, AllGradientsStayWithinAFewRoundings) {
  const Shape3x3 s = GetParam();
  const Dims x = {s.batch, s.inputs, s.h, s.w}, y = {s.batch, s.outputs, s.out_h(), s.out_w()},
             w = {s.outputs, s.inputs, 3, 3};
  EXPECT_LT(Error("ConvGradInput", "ai.graphrun", {y, w, x}), kMost);
  EXPECT_LT(Error("ConvGradWeight", "ai.graphrun", {y, x, w}, -1, 2), kMost);
}

// Rounding a number to bf16 puts it off by 0.0017 of its size (2^-8 over the root of 12, on average
// over the sizes between powers of two). Transformed inputs and weights are rounded once each, four
// in a result's sum where a direct sum has one: twice as much each. With the result's rounding
// 0.0017 times the root of 2^2 + 2^2 + 1.
constexpr double kMostBf16 = 0.0052;

TEST_P(WinogradBf16Test, ForwardRoundsTransformedInputsAndWeightsOnce) {
  const Shape3x3 s = GetParam();
  EXPECT_LT(Error("Conv", "", {{s.batch, s.inputs, s.h, s.w}, {s.outputs, s.inputs, 3, 3}}),
            kMostBf16);
}

TEST_P(WinogradBf16Test, ConstantWeightsBiasSumAndReluRoundTheResultOnce) {
  const Shape3x3 s = GetParam();
  EXPECT_LT(Error("FusedConv", "ai.graphrun",
                  {{s.batch, s.inputs, s.h, s.w},
                   {s.outputs, s.inputs, 3, 3},
                   {s.outputs},
                   {s.batch, s.outputs, s.out_h(), s.out_w()}},
                  1),
            kMostBf16);
}

TEST_P(WinogradBf16Test, GradientByTheInputRoundsTransformedInputsAndWeightsOnce) {
  const Shape3x3 s = GetParam();
  EXPECT_LT(Error("ConvGradInput", "ai.graphrun",
                  {{s.batch, s.outputs, s.out_h(), s.out_w()},
                   {s.outputs, s.inputs, 3, 3},
                   {s.batch, s.inputs, s.h, s.w}}),
            kMostBf16);
}

// As above; odd sizes leave half tiles at both edges.
INSTANTIATE_TEST_SUITE_P(Shapes, WinogradBf16Test,
                         testing::Values(Shape3x3{1, 64, 64, 16, 16}, Shape3x3{8, 32, 64, 14, 14},
                                         Shape3x3{1, 128, 32, 28, 28}, Shape3x3{8, 256, 64, 8, 8},
                                         Shape3x3{1, 48, 80, 29, 27, {0, 1, 2, 3}},
                                         Shape3x3{3, 144, 128, 11, 13, {2, 0, 0, 1}},
                                         Shape3x3{1, 64, 64, 33, 40, {0, 0, 0, 0}},
                                         Shape3x3{1, 64, 48, 34, 33, {4, 3, 0, 5}},
                                         Shape3x3{8, 320, 288, 4, 4}));

// Odd numbers of blocks and tiles, pads wider than the window's and none, few tiles of many
// channels, more tiles than the weights' gradient takes at once.
INSTANTIATE_TEST_SUITE_P(Shapes, WinogradTest,
                         testing::Values(Shape3x3{1, 64, 64, 16, 16}, Shape3x3{8, 32, 64, 14, 14},
                                         Shape3x3{1, 128, 32, 28, 28}, Shape3x3{8, 256, 64, 8, 8},
                                         Shape3x3{1, 48, 80, 29, 27, {0, 1, 2, 3}},
                                         Shape3x3{3, 144, 128, 11, 13, {2, 0, 0, 1}},
                                         Shape3x3{1, 64, 64, 33, 40, {0, 0, 0, 0}},
                                         Shape3x3{1, 32, 32, 34, 33, {4, 3, 0, 5}},
                                         Shape3x3{3, 64, 48, 29, 30}));

TEST(WinogradKernelTest, OneSmallImagePaysWhereTheWeightsAreTransformedBefore) {
  if (!winograd::IsBuilt()) GTEST_SKIP() << "built without AVX-512";
  winograd::Sizes s;
  s.batch = 1;
  s.inputs = 32;
  s.outputs = 64;
  s.in_h = s.in_w = s.out_h = s.out_w = 14;
  s.pad_h = s.pad_w = 1;
  EXPECT_TRUE(winograd::ConvolvePays(s, winograd::Weights::kTransformed));
  EXPECT_FALSE(winograd::ConvolvePays(s, winograd::Weights::kPlain));
  s.in_h = s.in_w = s.out_h = s.out_w = 5;  // four tiles for little more than one
  EXPECT_FALSE(winograd::ConvolvePays(s, winograd::Weights::kTransformed));
}

TEST(WinogradKernelTest, ThreadsChangeNoBit) {
  if (!winograd::IsBuilt()) GTEST_SKIP() << "built without AVX-512";
  for (const int64_t channels : {48, 144}) {
    winograd::Sizes s;
    s.batch = 2;
    s.inputs = s.outputs = channels;
    s.in_h = s.out_h = 17;
    s.in_w = s.out_w = 14;
    s.pad_h = s.pad_w = 1;
    const auto result = [&](int threads) {
      const auto numbers = [](int64_t n) {
        std::vector<float> v(static_cast<size_t>(n));
        for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i * 37 % 101) / 101 - 0.5f;
        return v;
      };
      const auto form = winograd::Weights::kPlain;
      const auto x = numbers(s.batch * channels * 17 * 14), w = numbers(channels * channels * 9);
      std::vector<float> y(x.size());
      std::vector<float> scratch(static_cast<size_t>(winograd::ConvolveFloats(s, threads, form)));
      winograd::Convolve(s, threads, x.data(), form, w.data(), {}, y.data(), scratch.data());
      return y;
    };
    EXPECT_EQ(result(1), result(3)) << channels << " channels";
  }
}

// Threads share tiles, or (where there are few) output channels.
TEST(WinogradBf16KernelTest, ThreadsChangeNoBit) {
  if (!winograd_bf16::IsBuilt()) GTEST_SKIP() << "built without products of bf16 pairs";
  using winograd::Weights;
  for (const int64_t channels : {48, 144, 192}) {
    winograd::Sizes s;
    s.batch = 2;
    s.inputs = s.outputs = channels;
    s.in_h = s.out_h = 17;
    s.in_w = s.out_w = 14;
    s.pad_h = s.pad_w = 1;
    const auto numbers = [](int64_t n) {
      std::vector<BFloat16> v(static_cast<size_t>(n));
      for (size_t i = 0; i < v.size(); ++i) {
        v[i] = BFloat16(static_cast<float>(i * 37 % 101) / 101 - 0.5f);
      }
      return v;
    };
    const auto x = numbers(2 * channels * 17 * 14), w = numbers(channels * channels * 9);
    std::vector<BFloat16> packed(
        static_cast<size_t>(winograd_bf16::WeightCount(channels, channels)));
    winograd_bf16::TransformWeights(channels, channels, Weights::kPlain, w.data(), packed.data());
    const auto result = [&](int threads, Weights form) {
      std::vector<BFloat16> y(x.size());
      std::vector<char> scratch(
          static_cast<size_t>(winograd_bf16::ConvolveBytes(s, threads, form)));
      winograd_bf16::Convolve(s, threads, x.data(), form,
                              form == Weights::kPlain ? w.data() : packed.data(), {}, y.data(),
                              scratch.data());
      return std::vector<float>(y.begin(), y.end());
    };
    const auto one = result(1, Weights::kPlain);
    EXPECT_EQ(one, result(3, Weights::kPlain)) << channels << " channels";
    EXPECT_EQ(one, result(3, Weights::kTransformed)) << channels << " channels, packed";
    EXPECT_EQ(one, result(2, Weights::kTransformed)) << channels << " channels, packed";
  }
}

// Many weights are summed in groups of output channels, which are what they are alone.
TEST(WinogradKernelTest, GroupsOfOutputsChangeNoBit) {
  if (!winograd::IsBuilt()) GTEST_SKIP() << "built without AVX-512";
  winograd::Sizes s;
  s.batch = 1;
  s.inputs = 528;
  s.outputs = 400;
  s.in_h = s.out_h = s.in_w = s.out_w = 7;
  s.pad_h = s.pad_w = 1;
  const auto gradient = [](const winograd::Sizes& z, const float* x, const float* dy) {
    std::vector<float> dw(static_cast<size_t>(z.inputs * z.outputs * 9)),
        scratch(static_cast<size_t>(winograd::GradientFloats(z)));
    winograd::WeightGradient(z, x, dy, dw.data(), nullptr, scratch.data());
    return dw;
  };
  std::vector<float> x(528 * 49), dy(400 * 49);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101) / 101 - 0.5f;
  for (size_t i = 0; i < dy.size(); ++i) dy[i] = static_cast<float>(i * 41 % 103) / 103 - 0.5f;
  const auto all = gradient(s, x.data(), dy.data());
  s.outputs = 80;
  std::vector<float> parts;
  for (int64_t o = 0; o < 400; o += 80) {
    const auto part = gradient(s, x.data(), dy.data() + o * 49);
    parts.insert(parts.end(), part.begin(), part.end());
  }
  EXPECT_EQ(all, parts);
}

}  // namespace
}  // namespace graphrun
