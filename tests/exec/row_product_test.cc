// Linear layers of one row: their own kernel, and steps that keep their threads together.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ops/ops.h"
#include "runtime/base/parallel.h"
#include "runtime/exec/session.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "runtime/passes/mixed_precision.h"
#include "tests/exec/random_tensor.h"

namespace graphrun {
namespace {

struct Layer {
  int64_t n;
  bool transposed;
  const char* activation;  // "" for none
  bool bias = true;
};

class RowProductTest : public testing::Test {
 protected:
  RowProductTest() : threads_(NumThreads()) { RegisterOps(registry_); }
  ~RowProductTest() override { SetNumThreads(threads_); }

  std::shared_ptr<Graph> Net(int64_t k, const std::vector<Layer>& layers) {
    auto graph = std::make_shared<Graph>();
    Builder b(graph.get(), &registry_);
    Expr x = b.Use(graph->AddInput("x", Type::Tensor(DType::kFloat32, Shape({1, k}))));
    uint32_t seed = 0;
    for (const Layer& layer : layers) {
      const Dims w = layer.transposed ? Dims{layer.n, k} : Dims{k, layer.n};
      std::vector<Expr> in = {x, b.Constant(RandomTensor(w, ++seed))};
      if (layer.bias) in.push_back(b.Constant(RandomTensor({layer.n}, ++seed)));
      x = b.Op("Gemm", in, {{"transB", layer.transposed}});
      const std::string op = layer.activation;
      if (op == "Clip") {
        x = b.Op(op, {x, b.Scalar(DType::kFloat32, -0.25), b.Scalar(DType::kFloat32, 0.5)});
      } else if (!op.empty()) {
        x = b.Op(op, {x});
      }
      k = layer.n;
    }
    graph->AddOutput(x.value());
    EXPECT_TRUE(b.status().ok()) << b.status().message();
    EXPECT_TRUE(InferTypes(*graph, registry_).ok());
    return graph;
  }

  // The results of two runs, which must be the same bits.
  Tensor Run(const std::shared_ptr<Graph>& graph, const Tensor& x, int threads,
             DType precision = DType::kFloat32) {
    SetNumThreads(threads);
    SessionOptions options;
    options.threads = threads;
    options.precision = precision;
    auto session = Session::Create(graph, &registry_, options);
    EXPECT_TRUE(session.ok()) << session.status().message();
    if (!session.ok()) return Tensor();
    Tensor first;
    for (int run = 0; run < 3; ++run) {
      const absl::Status ran = (*session)->Run(std::vector<Tensor>{x});
      EXPECT_TRUE(ran.ok()) << ran.message();
      const Tensor& y = (*session)->output(0).tensor;
      if (run == 0) {
        first = y.Clone();
      } else {
        EXPECT_EQ(std::memcmp(y.raw(), first.raw(), static_cast<size_t>(first.byte_size())), 0)
            << "run " << run;
      }
    }
    return first;
  }

  void Check(int64_t k, const std::vector<Layer>& layers) {
    SCOPED_TRACE(testing::Message() << "k " << k << ", n " << layers.back().n);
    const auto graph = Net(k, layers);
    const Tensor x = RandomTensor({1, k}, 77);
    const auto want = EvaluateGraph(*graph, registry_, {{"x", Datum(x)}});
    ASSERT_TRUE(want.ok()) << want.status().message();
    const Tensor one = Run(graph, x, 1);
    for (int64_t i = 0; i < one.num_elements(); ++i) {
      const double exact = (*want)[0].tensor.AsDouble(i);
      ASSERT_NEAR(one.AsDouble(i), exact, 1e-5 * (2 + std::abs(exact))) << "element " << i;
    }
    for (const int threads : {2, 3}) {
      const Tensor more = Run(graph, x, threads);
      ASSERT_EQ(std::memcmp(more.raw(), one.raw(), static_cast<size_t>(one.byte_size())), 0)
          << threads << " threads";
    }
    if (!CheckPrecision(DType::kBFloat16).ok()) return;
    const Tensor rounded = Run(graph, x, 1, DType::kBFloat16);
    for (int64_t i = 0; i < one.num_elements(); ++i)
      ASSERT_NEAR(rounded.AsDouble(i), one.AsDouble(i), 0.02 * std::sqrt(static_cast<double>(k)))
          << "bf16, element " << i;
    const Tensor more = Run(graph, x, 2, DType::kBFloat16);
    ASSERT_EQ(std::memcmp(more.raw(), rounded.raw(), static_cast<size_t>(one.byte_size())), 0);
  }

  OpRegistry registry_;
  int threads_;
};

TEST_F(RowProductTest, ServesEverySizeAndStorage) {
  for (const int64_t k : {1, 2, 3, 4, 7, 9, 33}) {
    for (const int64_t n : {1, 15, 16, 17, 48, 63, 64, 65, 130}) {
      Check(k, {{n, true, ""}});
      Check(k, {{n, false, "", false}});
    }
  }
}

TEST_F(RowProductTest, AppliesEveryActivation) {
  for (const char* op :
       {"Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Clip", "HardSwish", "Softplus"})
    Check(20, {{70, true, op}});
}

TEST_F(RowProductTest, LayersOfLargeMatricesShareTheirThreads) {
  Check(300, {{260, true, "Relu"}, {200, false, "Tanh"}, {10, true, ""}});
}

TEST_F(RowProductTest, ALayerThatIsNoRowProductStandsBetweenOthers) {
  Check(300, {{260, true, "Relu"}, {200, false, "Softplus"}, {128, true, "Relu"}, {10, true, ""}});
}

TEST_F(RowProductTest, PlansTakeItForOneRowAlone) {
  const auto graph = Net(300, {{260, true, "Relu"}});
  auto session = Session::Create(graph, &registry_);
  ASSERT_TRUE(session.ok());
  const auto plan = (*session)->Prepare({graph->inputs()[0]->type()});
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ((*plan)->steps().size(), 1u);
#if defined(__AVX512F__)
  EXPECT_EQ((*plan)->steps()[0].kernel, "row");
#else
  EXPECT_NE((*plan)->steps()[0].kernel, "row");
#endif
}

}  // namespace
}  // namespace graphrun
