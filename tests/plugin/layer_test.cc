// What the C++ layer (plugins/sdk) declares, one of each kind, and what its functions throw.
#include <cmath>

#include "plugins/graphrun_plugin.h"
#include "runtime/autodiff/conformance.h"
#include "runtime/autodiff/gradients.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "tests/plugin/loaded.h"

namespace graphrun {
namespace {

using testing::HasSubstr;

class LayerTest : public testing::Test {
 protected:
  LayerTest() {
    const absl::Status status = loaded_.Load("sound/layer");
    EXPECT_TRUE(status.ok()) << status.message();
  }
  // The first output of `text` on a vector.
  absl::StatusOr<Tensor> Run(const std::string& text, std::vector<float> x) {
    return loaded_.Run(absl::StrCat("<opset_import: [\"\" : 21, \"test.layer\" : 1]> (float[",
                                    x.size(), "] x) => (y) { ", text, " }"),
                       {Tensor::Of<float>({static_cast<int64_t>(x.size())}, x)});
  }
  static std::string Message(const absl::Status& status) { return std::string(status.message()); }
  Loaded loaded_;
};

TEST_F(LayerTest, DeclaresOneOfEachKind) {
  for (const auto& [what, names] : loaded_.plugins.loaded()[0].Offers())
    EXPECT_FALSE(names->empty()) << what;
}

TEST_F(LayerTest, ItsOperatorsPassTheConformanceChecks) {
  for (const char* name : {"Times", "Count"}) {
    const OpDef& def = *loaded_.ops.Find("test.layer", name, 1);
    ASSERT_FALSE(def.samples().empty());
    for (const Sample& sample : def.samples()) {
      for (const absl::Status& status :
           {CheckSchema(def, loaded_.ops), CheckInference(def, sample, loaded_.ops),
            CheckKernels(def, sample, loaded_.ops), CheckGradient(def, sample, loaded_.ops)})
        EXPECT_TRUE(status.ok()) << name << ": " << status.message();
    }
  }
}

TEST_F(LayerTest, AnOperatorReadsListsOfItsAttributesAndOptionalInputs) {
  const auto y = Run("y = test.layer.Times<offsets = [1.0, 0.5]>(x)", {2, 4});
  ASSERT_TRUE(y.ok()) << y.status().message();
  EXPECT_EQ(y->AsDouble(1), 4.5);
}

TEST_F(LayerTest, AKernelSaysTheSizesOfItsOutput) {
  const auto y = Run("y = test.layer.Above<bound = 1.5>(x)", {2, 1, 4});
  ASSERT_TRUE(y.ok()) << y.status().message();
  ASSERT_EQ(y->dims(), Dims{2});
  EXPECT_EQ(y->AsDouble(1), 4);
}

TEST_F(LayerTest, AnOperatorWithoutInputsRuns) {
  const auto y = Run("y = test.layer.Count<n = 3>()", {0});
  ASSERT_TRUE(y.ok()) << y.status().message();
  EXPECT_EQ(y->AsDouble(2), 2);
}

TEST_F(LayerTest, InferenceSaysSizesAsElements) {
  auto graph = ParseGraph(
      "<opset_import: [\"\" : 21, \"test.layer\" : 1]> (float[N, 1] a, float[3] b) => (y) { s = "
      "test.layer.SizesOf(a, b)  y = Expand(b, s) }");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  ASSERT_TRUE(InferTypes(**graph, loaded_.ops, nullptr).ok());
  EXPECT_EQ((*graph)->outputs()[0]->shape().ToString(), "[N, 3]");
}

TEST_F(LayerTest, AKernelForABuiltInOperatorIsAskedFirst) {
  const auto y = Run("y = Sign(x)", {2, -4});
  ASSERT_TRUE(y.ok()) << y.status().message();
  EXPECT_EQ(y->AsDouble(1), 7);
}

TEST_F(LayerTest, APassRewrites) {
  const auto y = Run("t = Log(x)  y = Exp(t)", {-1, 2});
  ASSERT_TRUE(y.ok()) << y.status().message();
  EXPECT_EQ(y->AsDouble(0), -1);
}

TEST_F(LayerTest, APassThatAsksANodeThatIsNotThereFails) {
  const auto y = Run("y = Tan(x)", {1});
  EXPECT_EQ(KindOf(y.status()), ErrorKind::kPlugin);
  EXPECT_THAT(Message(y.status()), HasSubstr("plugin layer: pass layer-exp-of-log"));
  EXPECT_THAT(Message(y.status()), HasSubstr("a node that is not there was asked something"));
}

TEST_F(LayerTest, AKernelThatDeclinesOrForgetsItsFunctionIsNotRun) {
  EXPECT_FALSE(Run("y = test.layer.Times<fault = \"declines\">(x)", {1}).ok());
  const auto y = Run("y = test.layer.Times<fault = \"gives no function\">(x)", {1});
  EXPECT_EQ(KindOf(y.status()), ErrorKind::kPlugin);
  EXPECT_THAT(Message(y.status()), HasSubstr("gave no function"));
}

TEST_F(LayerTest, AKernelThatReadsWhatIsLeftOutFails) {
  const auto y = Run("y = test.layer.Times<fault = \"reads what is left out\">(x)", {1});
  EXPECT_EQ(KindOf(y.status()), ErrorKind::kPlugin);
  EXPECT_THAT(Message(y.status()), HasSubstr("plugin layer: operator test.layer.Times"));
  EXPECT_THAT(Message(y.status()), HasSubstr("the kernel needs input 1"));
}

TEST_F(LayerTest, AGradientOfNothingFails) {
  auto graph = ParseGraph(
      "<opset_import: [\"\" : 17, \"test.layer\" : 1]> (float[2] x) => (z) { y = "
      "test.layer.Times<fault = \"uses nothing\">(x)  z = ReduceMean<keepdims = 0>(y) }");
  ASSERT_TRUE(graph.ok());
  ASSERT_TRUE(InferTypes(**graph, loaded_.ops, nullptr).ok());
  const auto gradients =
      AppendGradients(**graph, loaded_.ops, (*graph)->outputs()[0], {(*graph)->inputs()[0]});
  ASSERT_FALSE(gradients.ok());
  EXPECT_THAT(Message(gradients.status()), HasSubstr("an operand of an expression is left out"));
}

// Parts that write expressions.
class LayerPartTest : public LayerTest {
 protected:
  LayerPartTest() : builder_(&graph_, &loaded_.ops) {}
  Expr Input(const std::string& name, std::vector<float> values) {
    const Dims dims = {static_cast<int64_t>(values.size())};
    return builder_.Use(graph_.AddInitializer(name, Tensor::Of<float>(dims, values)));
  }
  Tensor ValueOf(Expr e) {
    EXPECT_TRUE(builder_.status().ok()) << builder_.status().message();
    if (!builder_.status().ok()) return Tensor::Zeros(DType::kFloat32, {});
    graph_.AddOutput(e.value());
    const auto result = EvaluateGraph(graph_, loaded_.ops, {});
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result->back().tensor;
  }
  Graph graph_;
  Builder builder_;
};

TEST_F(LayerPartTest, ALossIsAScalar) {
  const auto loss = loaded_.parts.losses.Make({"layer_mse", {{"scale", 2}}});
  ASSERT_TRUE(loss.ok());
  EXPECT_EQ(
      ValueOf((*loss)->Emit({Input("y", {1, 3}), Input("t", {1, 1}), Expr()}, false)).AsDouble(0),
      4);
}

TEST_F(LayerPartTest, AnOptimizerUpdates) {
  const auto optimizer = loaded_.parts.optimizers.Make({"layer_momentum", {{"beta", 0.5}}});
  ASSERT_TRUE(optimizer.ok());
  EXPECT_EQ((*optimizer)->default_lr(), 0.01);
  const Expr lr = builder_.Scalar(DType::kFloat32, 0.5), step = builder_.Scalar(DType::kFloat64, 1);
  const UpdateOutputs out =
      (*optimizer)->Emit({Input("w", {8}), Input("g", {2}), {Input("v", {4})}, lr, step});
  EXPECT_EQ(ValueOf(out.parameter).AsDouble(0), 6);
  EXPECT_EQ(ValueOf(out.slots[0]).AsDouble(0), 4);
}

TEST_F(LayerPartTest, AnOptimizerThatNamesNoSlotOfItsOwnFails) {
  const auto optimizer = loaded_.parts.optimizers.Make({"layer_momentum", {{"slot", 3}}});
  const Expr lr = builder_.Scalar(DType::kFloat32, 0.5), step = builder_.Scalar(DType::kFloat64, 1);
  (*optimizer)->Emit({Input("w", {8}), Input("g", {2}), {Input("v", {4})}, lr, step});
  EXPECT_THAT(
      Message(builder_.status()),
      HasSubstr("plugin layer: optimizer layer_momentum: the optimizer declares no slot 3"));
}

TEST_F(LayerPartTest, ARegularizerHasGradientAndLastWord) {
  const auto l2 = loaded_.parts.regularizers.Make({"layer_l2", {{"strength", 0.25}}});
  ASSERT_TRUE(l2.ok());
  const Expr w = Input("w", {4, -8});
  EXPECT_EQ(ValueOf((*l2)->Gradient(w, {})).AsDouble(1), -2);
  EXPECT_EQ(ValueOf((*l2)->AfterUpdate(w, w, w, {})).AsDouble(1), -1);
}

TEST_F(LayerPartTest, ANumberThatIsNotDeclaredFails) {
  const auto l2 = loaded_.parts.regularizers.Make({"layer_l2", {}});
  (*l2)->Penalty(Input("w", {4, -8}), {});
  EXPECT_THAT(Message(builder_.status()),
              HasSubstr("plugin layer: regularizer layer_l2: penalty: the plugin declares no "
                        "number \"strangth\""));
}

TEST_F(LayerPartTest, AScheduleGivesALearningRate) {
  const auto schedule = loaded_.parts.schedules.Make({"layer_hyperbola", {{"rate", 2}}});
  ASSERT_TRUE(schedule.ok());
  ScheduleInputs in;
  in.step = builder_.Scalar(DType::kFloat64, 30);
  in.lr = 0.5;
  in.steps_per_epoch = 10;
  in.host_scale = builder_.Scalar(DType::kFloat64, 2);
  EXPECT_DOUBLE_EQ(ValueOf((*schedule)->Emit(in)).AsDouble(0), 1.0 / 7);
}

TEST_F(LayerTest, ADatasetGivesRows) {
  const DataFormat& format = loaded_.parts.formats()[0];
  EXPECT_TRUE(format.recognises("a.layer", ""));
  DataOptions options;
  options.extra.emplace("rows", "9");
  const auto dataset = format.open("a.layer", options);
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ((*dataset)->size(), 9);
  EXPECT_EQ((*dataset)->fields()[1].classes[1], "one");
  std::vector<Tensor> row = {Tensor(DType::kFloat32, {2}), Tensor(DType::kInt64, {})};
  ASSERT_TRUE((*dataset)->Get(5, absl::MakeSpan(row)).ok());
  EXPECT_EQ(row[0].AsDouble(1), 5);
  EXPECT_EQ(row[1].AsDouble(0), 1);
  EXPECT_THAT(Message((*dataset)->Get(7, absl::MakeSpan(row))), HasSubstr("row 7 is unlucky"));
  const auto missing = format.open("missing", options);
  EXPECT_EQ(KindOf(missing.status()), ErrorKind::kData);
  EXPECT_THAT(Message(missing.status()), HasSubstr("dataset layer_rows: there is no missing"));
  EXPECT_EQ(KindOf(format.open("a.layer", {}).status()), ErrorKind::kPlugin);
}

TEST_F(LayerTest, ATransformChangesSizes) {
  const auto made = ParseAugmentation("layer_first:2", 10, loaded_.parts.transforms());
  ASSERT_TRUE(made.ok()) << made.status().message();
  const auto dims = made->transforms[0]->OutputDims({3});
  ASSERT_TRUE(dims.ok()) << dims.status().message();
  EXPECT_EQ(*dims, Dims{2});
  const float x[] = {10, 20, 30};
  float y[2];
  Rng rng(1);
  ASSERT_TRUE(made->transforms[0]->Apply(x, {3}, &rng, y).ok());
  EXPECT_EQ(y[1], 2);
  EXPECT_EQ(KindOf(made->transforms[0]->OutputDims({}).status()), ErrorKind::kData);
}

TEST_F(LayerTest, ATransformOfMoreAxesThanTheInterfaceHasIsRefused) {
  const auto made = ParseAugmentation("layer_first:2", 10, loaded_.parts.transforms());
  const auto dims = made->transforms[0]->OutputDims(Dims(GR_MAX_RANK + 1, 1));
  EXPECT_EQ(KindOf(dims.status()), ErrorKind::kData);
  EXPECT_THAT(Message(dims.status()), HasSubstr("9 axes"));
}

TEST_F(LayerTest, ATransformChangesBatches) {
  const auto made = ParseAugmentation("layer_swap", 1, loaded_.parts.transforms());
  ASSERT_TRUE(made.ok()) << made.status().message();
  std::vector<Tensor> fields = {Tensor::Of<float>({2, 1}, {3, 4})};
  const std::vector<Role> roles = {Role::kFeature};
  Rng rng(1);
  ASSERT_TRUE(made->batch_transforms[0]->Apply(absl::MakeSpan(fields), roles, &rng).ok());
  EXPECT_EQ(fields[0].AsDouble(0), 4);
}

TEST_F(LayerTest, AMetricCountsAndWhatItThrowsEndsThere) {
  const auto metric = loaded_.parts.NewMetric("layer_rows_seen", {});
  ASSERT_TRUE(metric.ok()) << metric.status().message();
  EXPECT_TRUE(std::isnan((*metric)->Value()));
  const Tensor rows = Tensor::Zeros(DType::kFloat32, {4, 2});
  ASSERT_TRUE((*metric)->Update(rows, rows).ok());
  EXPECT_EQ((*metric)->Value(), 4);
  (*metric)->Reset();
  EXPECT_TRUE(std::isnan((*metric)->Value()));
  const absl::Status refused = (*metric)->Update(Tensor::Zeros(DType::kFloat32, {}), rows);
  EXPECT_EQ(KindOf(refused), ErrorKind::kData);
}

}  // namespace
}  // namespace graphrun
