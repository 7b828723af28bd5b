// The weights' gradient from pairs of bf16 positions: against sums in f64 of the same numbers.
#include "ops/conv_pairs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ops/ops.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

struct Case {
  int64_t batch, inputs, outputs, h, w, kernel_h, kernel_w;
  std::vector<int64_t> pads = {0, 0, 0, 0}, strides = {1, 1}, dilations = {1, 1};

  int64_t Out(int axis) const {
    const auto a = static_cast<size_t>(axis);
    const int64_t in = axis == 0 ? h : w, kernel = axis == 0 ? kernel_h : kernel_w;
    return (in + pads[a] + pads[a + 2] - (kernel - 1) * dilations[a] - 1) / strides[a] + 1;
  }
  Dims x() const { return {batch, inputs, h, w}; }
  Dims y() const { return {batch, outputs, Out(0), Out(1)}; }
  Dims weights() const { return {outputs, inputs, kernel_h, kernel_w}; }
  ConvShape Shape() const {
    Window window;
    window.kernel = {kernel_h, kernel_w};
    window.strides = strides;
    window.dilations = dilations;
    window.pads_begin = {pads[0], pads[1]};
    window.pads_end = {pads[2], pads[3]};
    return ConvShape::Of(x(), weights(), y(), window);
  }
};

std::vector<BFloat16> Numbers(int64_t n, uint32_t seed) {
  std::vector<BFloat16> v(static_cast<size_t>(n));
  for (BFloat16& e : v) {
    seed = seed * 1664525u + 1013904223u;
    e = BFloat16(static_cast<float>(seed >> 8) / 16777216.0f - 0.5f);
  }
  return v;
}

Tensor TensorOf(DType dtype, const Dims& dims, uint32_t seed) {
  Tensor t(dtype, dims);
  const auto numbers = Numbers(t.num_elements(), seed);
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (dtype == DType::kBFloat16) {
      t.mutable_data<BFloat16>()[i] = numbers[i];
    } else {
      t.mutable_data<double>()[i] = static_cast<float>(numbers[i]);
    }
  }
  return t;
}

class ConvPairsTest : public testing::TestWithParam<Case> {
 protected:
  ConvPairsTest() { RegisterOps(registry_); }

  absl::StatusOr<Tensor> Gradient(DType dtype, const std::string& kernel) {
    const Case& s = GetParam();
    Graph graph;
    Graph::NodeSpec spec;
    spec.op_type = "ConvGradWeight";
    spec.domain = "ai.graphrun";
    spec.attrs = {{"pads", s.pads}, {"strides", s.strides}, {"dilations", s.dilations}};
    if (dtype == DType::kBFloat16)
      spec.attrs.insert({"output_type", static_cast<int64_t>(DType::kFloat32)});
    spec.outputs.resize(1);
    std::vector<Datum> tensors;
    for (const Dims& dims : {s.y(), s.x(), s.weights()}) {
      tensors.push_back(Datum(TensorOf(dtype, dims, static_cast<uint32_t>(tensors.size()))));
      spec.inputs.push_back(graph.AddInput("", Type::Tensor(dtype, Shape::Of(dims))));
    }
    spec.opset = registry_.Find(spec.domain, spec.op_type, 0)->since();
    Node* node = graph.AddNode(spec);
    GR_RETURN_IF_ERROR(InferTypes(graph, registry_));
    EvaluateOptions options;
    options.kernel = kernel;
    GR_ASSIGN_OR_RETURN(auto made, EvaluateNode(*node, registry_, tensors, options));
    return made[0].tensor;
  }

  OpRegistry registry_;
};

TEST_P(ConvPairsTest, SumsAreTheExactOnesToTheRoundingsOfF32) {
  if (!pairs::IsBuilt()) GTEST_SKIP() << "built without AVX-512 BF16";
  const auto got = Gradient(DType::kBFloat16, "pairs"), want = Gradient(DType::kFloat64, "native");
  ASSERT_TRUE(got.ok()) << got.status().message();
  ASSERT_TRUE(want.ok()) << want.status().message();
  const double terms =
      static_cast<double>(GetParam().batch * GetParam().Out(0) * GetParam().Out(1));
  for (int64_t i = 0; i < want->num_elements(); ++i) {
    ASSERT_NEAR(got->AsDouble(i), want->AsDouble(i), 1e-7 * terms + 1e-6) << i;
  }
}

// Blocks of channels and channels last, one thread and three: the same sums in the same order.
TEST_P(ConvPairsTest, LayoutsAndThreadsChangeNoBit) {
  if (!pairs::IsBuilt()) GTEST_SKIP() << "built without AVX-512 BF16";
  const Case& s = GetParam();
  const auto gradient = [&](int64_t run, int threads) {
    const auto arranged = [&](const Dims& dims, uint32_t seed, ChannelRuns* r) {
      const int64_t size = run == 0 ? dims[1] : run;
      *r = {dims[0], dims[1] / size, size, dims[2] * dims[3]};
      const auto plain = Numbers(dims[0] * dims[1] * r->positions, seed);
      std::vector<BFloat16> to(plain.size());
      for (size_t i = 0; i < plain.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        const int64_t p = at % r->positions, c = at / r->positions % dims[1],
                      n = at / r->positions / dims[1];
        to[static_cast<size_t>(((n * r->blocks + c / size) * r->positions + p) * size + c % size)] =
            plain[i];
      }
      return to;
    };
    ChannelRuns x_runs, dy_runs;
    const auto x = arranged(s.x(), 1, &x_runs), dy = arranged(s.y(), 2, &dy_runs);
    const pairs::Sums z = pairs::Sums::Of(s.Shape(), x_runs, dy_runs);
    std::vector<float> dw(static_cast<size_t>(z.floats())),
        scratch(static_cast<size_t>(z.scratch_floats(threads)));
    pairs::WeightGradient(z, threads, x.data(), dy.data(), dw.data(), scratch.data());
    return dw;
  };
  const auto one = gradient(0, 1);
  EXPECT_GT(*std::max_element(one.begin(), one.end()), 0);
  EXPECT_EQ(one, gradient(0, 3));
  if (s.inputs % 16 == 0 && s.outputs % 16 == 0) {
    EXPECT_EQ(one, gradient(16, 2)) << "in blocks";
  }
}

// An odd number of positions, rests of channels on both sides, pads wider than the window, steps,
// dilations, several chunks of positions, parts of them, several groups of outputs.
INSTANTIATE_TEST_SUITE_P(Shapes, ConvPairsTest,
                         testing::Values(Case{1, 64, 64, 3, 3, 1, 1}, Case{2, 72, 88, 5, 7, 1, 1},
                                         Case{3, 16, 64, 7, 5, 3, 3, {1, 1, 1, 1}},
                                         Case{1, 32, 80, 9, 6, 3, 2, {4, 0, 1, 3}},
                                         Case{2, 64, 64, 9, 10, 1, 1, {0, 0, 0, 0}, {2, 3}},
                                         Case{2, 21, 65, 11, 8, 3, 3, {2, 1, 0, 2}, {2, 1}, {1, 2}},
                                         Case{1, 64, 304, 23, 24, 1, 1},
                                         Case{2, 48, 64, 33, 32, 3, 3, {1, 1, 1, 1}},
                                         Case{1, 64, 64, 47, 48, 1, 1}));

}  // namespace
}  // namespace graphrun
