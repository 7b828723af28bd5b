// The gradient of a convolution's weights by Winograd's algorithm in bf16: against sums in f64 of
// the same numbers.
#include "ops/winograd_pairs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "ops/ops.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

using winograd::PairSums;

struct Case {
  int64_t batch, inputs, outputs, h, w;
  std::vector<int64_t> pads = {1, 1, 1, 1};

  int64_t out_h() const { return h + pads[0] + pads[2] - 2; }
  int64_t out_w() const { return w + pads[1] + pads[3] - 2; }
  Dims x() const { return {batch, inputs, h, w}; }
  Dims y() const { return {batch, outputs, out_h(), out_w()}; }
  winograd::Sizes Sizes() const {
    winograd::Sizes s;
    s.batch = batch;
    s.inputs = inputs;
    s.outputs = outputs;
    s.in_h = h;
    s.in_w = w;
    s.out_h = out_h();
    s.out_w = out_w();
    s.pad_h = pads[0];
    s.pad_w = pads[1];
    return s;
  }
};

// Spread like activations: sums of four uniform numbers.
std::vector<BFloat16> Numbers(const Dims& dims, uint32_t seed) {
  int64_t n = 1;
  for (const int64_t d : dims) n *= d;
  std::vector<BFloat16> v(static_cast<size_t>(n));
  for (BFloat16& e : v) {
    float sum = 0;
    for (int k = 0; k < 4; ++k) {
      seed = seed * 1664525u + 1013904223u;
      sum += static_cast<float>(seed >> 8) / 16777216.0f - 0.5f;
    }
    e = BFloat16(sum);
  }
  return v;
}

// Row-major numbers of a tensor with `runs` of channels.
std::vector<BFloat16> Arranged(const Dims& dims, const std::vector<BFloat16>& plain, int64_t run,
                               ChannelRuns* runs) {
  *runs = {dims[0], dims[1] / run, run, dims[2] * dims[3]};
  std::vector<BFloat16> to(plain.size());
  for (int64_t n = 0; n < dims[0]; ++n) {
    for (int64_t c = 0; c < dims[1]; ++c) {
      for (int64_t p = 0; p < runs->positions; ++p) {
        const int64_t block = n * runs->blocks + c / run;
        to[static_cast<size_t>((block * runs->positions + p) * run + c % run)] =
            plain[static_cast<size_t>((n * dims[1] + c) * runs->positions + p)];
      }
    }
  }
  return to;
}

// The gradient of the same numbers, with channels in blocks of 16 or last.
std::vector<float> Gradient(const Case& s, bool blocks, int threads) {
  ChannelRuns x_runs, dy_runs;
  const auto x = Arranged(s.x(), Numbers(s.x(), 1), blocks ? 16 : s.inputs, &x_runs);
  const auto dy = Arranged(s.y(), Numbers(s.y(), 2), blocks ? 16 : s.outputs, &dy_runs);
  const PairSums z = PairSums::Of(s.Sizes(), pairs::Places::Of(x_runs), pairs::Places::Of(dy_runs));
  std::vector<float> dw(static_cast<size_t>(s.inputs * s.outputs * 9));
  std::vector<float> scratch(static_cast<size_t>(z.scratch_bytes(threads) / 4));
  winograd::WeightGradient(z, threads, x.data(), dy.data(), dw.data(), nullptr, scratch.data());
  return dw;
}

class WinogradPairsTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!pairs::IsBuilt()) GTEST_SKIP() << "built without AVX-512 BF16";
  }
};

// Rounding one operand to bf16 is off by 0.0016 of the numbers' size, rounding both in the
// transformed domain by 0.010 to 0.013 of the result's, however many terms are summed.
TEST_P(WinogradPairsTest, ErrorsAreThoseOfRoundedTransforms) {
  const Case& s = GetParam();
  const auto got = Gradient(s, true, 1);
  const auto x = Numbers(s.x(), 1), dy = Numbers(s.y(), 2);
  const auto at = [](const std::vector<BFloat16>& v, const Dims& d, int64_t n, int64_t c, int64_t h,
                     int64_t w) {
    return static_cast<double>(
        static_cast<float>(v[static_cast<size_t>(((n * d[1] + c) * d[2] + h) * d[3] + w)]));
  };
  double error = 0, size = 0;
  for (int64_t o = 0; o < s.outputs; o += 5) {
    for (int64_t i = 0; i < s.inputs; i += 3) {
      for (int64_t tap = 0; tap < 9; ++tap) {
        double want = 0;
        for (int64_t n = 0; n < s.batch; ++n) {
          for (int64_t h = 0; h < s.out_h(); ++h) {
            for (int64_t w = 0; w < s.out_w(); ++w) {
              const int64_t row = h + tap / 3 - s.pads[0], column = w + tap % 3 - s.pads[1];
              if (row < 0 || row >= s.h || column < 0 || column >= s.w) continue;
              want += at(x, s.x(), n, i, row, column) * at(dy, s.y(), n, o, h, w);
            }
          }
        }
        const int64_t tile = (o / 16 * (s.inputs / 16) + i / 16) * 9 + tap;
        const double e =
            static_cast<double>(
                got[static_cast<size_t>(tile * 256 + i % 16 / 2 * 32 + o % 16 * 2 + i % 2)]) -
            want;
        error += e * e;
        size += want * want;
      }
    }
  }
  ASSERT_GT(size, 0);
  EXPECT_LT(std::sqrt(error / size), 0.016);
}

TEST_P(WinogradPairsTest, LayoutsAndThreadsChangeNoBit) {
  const auto one = Gradient(GetParam(), true, 1);
  EXPECT_EQ(one, Gradient(GetParam(), true, 3));
  EXPECT_EQ(one, Gradient(GetParam(), false, 2)) << "channels last";
}

// One tile, odd numbers of tiles and of blocks, pads wider than the window's and none, tiles in one
// chunk and in several, several blocks of inputs whose sums are kept apart.
INSTANTIATE_TEST_SUITE_P(Shapes, WinogradPairsTest,
                         testing::Values(Case{1, 16, 16, 4, 4}, Case{3, 32, 16, 4, 4},
                                         Case{1, 48, 80, 13, 11}, Case{2, 64, 64, 8, 8},
                                         Case{1, 16, 48, 9, 10, {4, 0, 3, 5}},
                                         Case{1, 32, 32, 9, 14, {0, 0, 0, 0}},
                                         Case{3, 48, 64, 29, 30}, Case{3, 64, 32, 66, 58},
                                         Case{5, 272, 48, 6, 5}));

TEST(WinogradPairsKernelTest, ChunksAndWholesAreBothAmongTheShapes) {
  if (!pairs::IsBuilt()) GTEST_SKIP() << "built without AVX-512 BF16";
  const auto sums = [](const Case& s) {
    const ChannelRuns x = {s.batch, s.inputs / 16, 16, s.h * s.w};
    const ChannelRuns y = {s.batch, s.outputs / 16, 16, s.out_h() * s.out_w()};
    return PairSums::Of(s.Sizes(), pairs::Places::Of(x), pairs::Places::Of(y));
  };
  EXPECT_FALSE(sums({3, 64, 32, 66, 58}).whole());
  const PairSums whole = sums({5, 272, 48, 6, 5});
  EXPECT_TRUE(whole.whole());
  EXPECT_LT(whole.in_blocks, 272 / 16);
}

// The operator takes it for bf16, and direct sums where there are few tiles.
TEST(WinogradPairsKernelTest, ServesConvGradWeightWhereItPays) {
  if (!pairs::IsBuilt()) GTEST_SKIP() << "built without AVX-512 BF16";
  OpRegistry registry;
  RegisterOps(registry);
  const auto gradients = [&](DType dtype, const Case& s, const std::string& kernel) {
    Graph graph;
    Graph::NodeSpec spec;
    spec.op_type = "ConvGradWeight";
    spec.domain = "ai.graphrun";
    spec.attrs = {{"pads", s.pads}};
    if (dtype == DType::kBFloat16) {
      spec.attrs.insert({"output_type", static_cast<int64_t>(DType::kFloat32)});
    }
    spec.outputs.resize(2);
    std::vector<Datum> tensors;
    for (const Dims& dims : {s.y(), s.x(), Dims{s.outputs, s.inputs, 3, 3}}) {
      Tensor t(dtype, dims);
      const auto numbers = Numbers(dims, static_cast<uint32_t>(tensors.size()));
      for (size_t i = 0; i < numbers.size(); ++i) {
        if (dtype == DType::kBFloat16) {
          t.mutable_data<BFloat16>()[i] = numbers[i];
        } else {
          t.mutable_data<double>()[i] = static_cast<float>(numbers[i]);
        }
      }
      tensors.push_back(Datum(t));
      spec.inputs.push_back(graph.AddInput("", Type::Tensor(dtype, Shape::Of(dims))));
    }
    spec.opset = registry.Find(spec.domain, spec.op_type, 0)->since();
    Node* node = graph.AddNode(spec);
    EXPECT_TRUE(InferTypes(graph, registry).ok());
    EvaluateOptions options;
    options.kernel = kernel;
    return EvaluateNode(*node, registry, tensors, options);
  };
  const Case s = {8, 64, 80, 14, 13};
  const auto got = gradients(DType::kBFloat16, s, "winograd");
  const auto want = gradients(DType::kFloat64, s, "native");
  ASSERT_TRUE(got.ok()) << got.status().message();
  ASSERT_TRUE(want.ok()) << want.status().message();
  // The bias's are sums of bf16 in f32, the weights' of rounded transforms.
  for (const size_t o : {0, 1}) {
    double error = 0, size = 0;
    for (int64_t i = 0; i < (*want)[o].tensor.num_elements(); ++i) {
      const double w = (*want)[o].tensor.AsDouble(i), e = (*got)[o].tensor.AsDouble(i) - w;
      error += e * e;
      size += w * w;
    }
    EXPECT_LT(std::sqrt(error / size), o == 0 ? 0.016 : 2e-6) << "output " << o;
  }
  setenv("GRAPHRUN_WINOGRAD", "off", 1);
  EXPECT_FALSE(gradients(DType::kBFloat16, s, "winograd").ok());
  unsetenv("GRAPHRUN_WINOGRAD");
  EXPECT_FALSE(gradients(DType::kBFloat16, {1, 64, 80, 5, 5}, "winograd").ok());
}

}  // namespace
}  // namespace graphrun
