// Layer normalisation whose scale and bias have another element type than its input.
#include <gtest/gtest.h>

#include "ops/ops.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

TEST(LayerNormTypesTest, AScaleInFloat32NormalisesFloat16) {
  for (const char* domain : {"", "com.microsoft"}) {
    OpRegistry registry;
    RegisterOps(registry);
    Graph graph;
    Builder builder(&graph, &registry);
    const Expr x =
        builder.Use(graph.AddInput("x", Type::Tensor(DType::kFloat16, Shape::Of({1, 2}))));
    const Expr y = builder.Op("LayerNormalization",
                              {x, builder.Constant(Tensor::Of<float>({2}, {1, 2})),
                               builder.Constant(Tensor::Of<float>({2}, {0, 0.5f}))},
                              {{"epsilon", 0.f}}, domain);
    graph.AddOutput(y.value());
    ASSERT_TRUE(builder.status().ok()) << builder.status();
    ASSERT_TRUE(InferTypes(graph, registry).ok());
    const auto got = EvaluateGraph(
        graph, registry, {{"x", Datum(Tensor::Of<Float16>({1, 2}, {Float16(1.f), Float16(3.f)}))}});
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ((*got)[0].tensor.dtype(), DType::kFloat16);
    EXPECT_EQ((*got)[0].tensor.AsDouble(0), -1);
    EXPECT_EQ((*got)[0].tensor.AsDouble(1), 2.5);
  }
}

}  // namespace
}  // namespace graphrun
