// Convolutions that are pooled in the same pass.
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

using Ints = std::vector<int64_t>;

struct Sizes {
  int64_t batch, inputs, outputs, h, w, kh, kw;
  Ints pads = {0, 0, 0, 0};
};

class PooledConvTest : public testing::Test {
 protected:
  PooledConvTest() : threads_(NumThreads()) { RegisterOps(registry_); }
  ~PooledConvTest() override { SetNumThreads(threads_); }

  std::shared_ptr<Graph> Net(const Sizes& s, const char* activation, bool bias, bool flat) {
    auto graph = std::make_shared<Graph>();
    Builder b(graph.get(), &registry_);
    const Dims x = {s.batch, s.inputs, s.h, s.w};
    std::vector<Expr> in = {
        b.Use(graph->AddInput("x", Type::Tensor(DType::kFloat32, Shape::Of(x)))),
        b.Constant(RandomTensor({s.outputs, s.inputs, s.kh, s.kw}, 1))};
    if (bias) in.push_back(b.Constant(RandomTensor({s.outputs}, 2)));
    Expr y = b.Op("Conv", in, {{"pads", s.pads}});
    const std::string op = activation;
    if (op == "Clip") {
      y = b.Op(op, {y, b.Scalar(DType::kFloat32, -0.25), b.Scalar(DType::kFloat32, 0.5)});
    } else if (!op.empty()) {
      y = b.Op(op, {y});
    }
    y = b.Op("MaxPool", {y}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
    y = flat ? b.Op("Sigmoid", {b.Op("Flatten", {y})}) : b.Op("Sigmoid", {y});
    graph->AddOutput(y.value());
    EXPECT_TRUE(b.status().ok()) << b.status().message();
    EXPECT_TRUE(InferTypes(*graph, registry_).ok());
    return graph;
  }

  Tensor Run(const std::shared_ptr<Graph>& graph, const Tensor& x, int threads,
             DType precision = DType::kFloat32, std::string* kernel = nullptr) {
    SetNumThreads(threads);
    SessionOptions options;
    options.threads = threads;
    options.precision = precision;
    auto session = Session::Create(graph, &registry_, options);
    EXPECT_TRUE(session.ok()) << session.status().message();
    if (!session.ok()) return Tensor();
    const absl::Status ran = (*session)->Run(std::vector<Tensor>{x});
    EXPECT_TRUE(ran.ok()) << ran.message();
    if (kernel != nullptr) {
      const auto plan = (*session)->Prepare({graph->inputs()[0]->type()});
      EXPECT_TRUE(plan.ok());
      for (const auto& step : (*plan)->steps()) {
        if (step.op == "ai.graphrun.ConvMaxPool") *kernel = step.info;
      }
    }
    return (*session)->output(0).tensor.Clone();
  }

  void Check(const Sizes& s, const char* activation = "Relu", bool bias = true) {
    SCOPED_TRACE(testing::Message() << s.batch << " of " << s.inputs << " to " << s.outputs
                                    << " channels, " << s.h << " x " << s.w);
    const Tensor x = RandomTensor({s.batch, s.inputs, s.h, s.w}, 77);
    const double sums = std::sqrt(static_cast<double>(s.inputs * s.kh * s.kw));
    for (const bool flat : {false, true}) {
      const auto graph = Net(s, activation, bias, flat);
      const auto want = EvaluateGraph(*graph, registry_, {{"x", Datum(x)}});
      ASSERT_TRUE(want.ok()) << want.status().message();
      for (const DType precision : {DType::kFloat32, DType::kBFloat16}) {
        if (!CheckPrecision(precision).ok()) continue;
        std::string kernel;
        const Tensor one = Run(graph, x, 1, precision, &kernel);
#if defined(__AVX512F__)
        EXPECT_EQ(kernel.substr(0, 6), "pooled");
#endif
        ASSERT_EQ(one.dims(), (*want)[0].tensor.dims());
        const double tolerance = precision == DType::kFloat32 ? 2e-6 * sums : 0.004 * sums;
        for (int64_t i = 0; i < one.num_elements(); ++i)
          ASSERT_NEAR(one.AsDouble(i), (*want)[0].tensor.AsDouble(i), tolerance) << "element " << i;
        for (const int threads : {2, 3}) {
          const Tensor more = Run(graph, x, threads, precision);
          ASSERT_EQ(std::memcmp(more.raw(), one.raw(), static_cast<size_t>(one.byte_size())), 0)
              << threads << " threads";
        }
      }
    }
  }

  OpRegistry registry_;
  int threads_;
};

TEST_F(PooledConvTest, ServesEveryNumberOfChannels) {
  for (const int64_t inputs : {1, 2, 3, 8, 10, 15, 16, 18, 32})
    for (const int64_t outputs : {1, 16, 20, 32, 48}) Check({2, inputs, outputs, 6, 7, 2, 3});
}

TEST_F(PooledConvTest, ServesEveryWidthAndHeight) {
  for (const int64_t w : {2, 3, 4, 5, 8, 9, 11, 13, 14, 16, 31}) {
    Check({1, 3, 16, 5, w, 1, 1});
    Check({2, 16, 16, w + 1, 6, 2, 2});
  }
}

TEST_F(PooledConvTest, PadsEverySide) {
  Check({3, 1, 32, 28, 28, 3, 3, {1, 1, 1, 1}});
  Check({1, 16, 32, 7, 5, 5, 5, {2, 2, 2, 2}});
  Check({1, 4, 16, 6, 6, 3, 3, {0, 2, 1, 0}});
  Check({1, 8, 16, 6, 6, 3, 3, {2, 0, 0, 1}});
  Check({1, 1, 16, 1, 1, 2, 2, {2, 2, 2, 2}});
}

TEST_F(PooledConvTest, AppliesActivationsAndBiases) {
  for (const char* op : {"", "Relu", "Clip"}) {
    Check({2, 5, 20, 9, 9, 3, 3}, op, true);
    Check({2, 16, 32, 8, 8, 2, 2}, op, false);
  }
}

}  // namespace
}  // namespace graphrun
