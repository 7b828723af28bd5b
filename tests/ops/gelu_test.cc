// Gelu's own kernel and its slope against the definition, over all that the fit covers, at its ends
// and beyond.
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "tests/ops/standard_registry.h"

namespace graphrun {
namespace {

std::vector<float> Points() {
  std::vector<float> x;
  for (int i = -9000; i <= 9000; ++i) x.push_back(static_cast<float>(i) * 0.001f);
  for (const float end : {5.3f, 5.8f, 100.f, 3e38f}) {
    x.push_back(end);
    x.push_back(-end);
  }
  return x;
}

// op(inputs) by its first kernel.
Tensor Fast(const char* op, const char* domain, const std::vector<std::vector<float>>& inputs) {
  Graph graph;
  Builder b(&graph, &StandardRegistry());
  std::vector<Expr> xs;
  absl::flat_hash_map<std::string, Datum> values;
  for (const std::vector<float>& data : inputs) {
    const Dims dims = {static_cast<int64_t>(data.size())};
    Value* v = graph.AddInput("x", Type::Tensor(DType::kFloat32, Shape::Of(dims)));
    values[v->name()] = Datum(Tensor::Of<float>(dims, absl::MakeConstSpan(data)));
    xs.push_back(b.Use(v));
  }
  graph.AddOutput(b.Op(op, xs, {}, domain).value());
  EXPECT_TRUE(b.status().ok()) << b.status();
  EXPECT_TRUE(InferTypes(graph, StandardRegistry()).ok());
  EvaluateOptions options;
  options.prefer_first = true;
  const auto results = EvaluateGraph(graph, StandardRegistry(), values, options);
  EXPECT_TRUE(results.ok()) << results.status();
  return (*results)[0].tensor;
}

double Area(double x) { return 0.5 * std::erfc(-x * std::sqrt(0.5)); }

TEST(GeluTest, IsXTimesTheAreaBelowX) {
  const std::vector<float> x = Points();
  const Tensor y = Fast("Gelu", "", {x});
  for (size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    EXPECT_NEAR(y.AsDouble(static_cast<int64_t>(i)), v * Area(v), 4e-7 * std::fabs(v) + 1e-30) << v;
  }
}

TEST(GeluTest, ItsSlopeIsTheAreaAndXTimesTheDensity) {
  const std::vector<float> x = Points();
  const Tensor y = Fast("GeluGrad", "ai.graphrun", {std::vector<float>(x.size(), 1.f), x});
  for (size_t i = 0; i < x.size(); ++i) {
    const double v = x[i], density = std::exp(-0.5 * v * v) / std::sqrt(2 * std::acos(-1.0));
    EXPECT_NEAR(y.AsDouble(static_cast<int64_t>(i)), Area(v) + (density > 0 ? v * density : 0),
                6e-7)
        << v;
  }
}

TEST(GeluTest, NaNStaysOne) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(Fast("Gelu", "", {{nan}}).AsDouble(0)));
  EXPECT_TRUE(std::isnan(Fast("GeluGrad", "ai.graphrun", {{1}, {nan}}).AsDouble(0)));
}

}  // namespace
}  // namespace graphrun
