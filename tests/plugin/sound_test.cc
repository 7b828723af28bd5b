// Plugins that work, next to the built-in parts that do the same.
#include "proto/recipe.pb.h"
#include "runtime/autodiff/conformance.h"
#include "runtime/op/evaluate.h"
#include "runtime/train/optimizer.h"
#include "tests/plugin/loaded.h"

namespace graphrun {
namespace {

using testing::HasSubstr;

class SoundPluginTest : public testing::Test {
 protected:
  SoundPluginTest() {
    const absl::Status status = loaded_.Load("sound/rich");
    EXPECT_TRUE(status.ok()) << status.message();
  }
  Tensor Run(const std::string& op, std::vector<float> x) {
    const Dims dims = {static_cast<int64_t>(x.size())};
    const auto result =
        loaded_.Run(absl::StrCat("<opset_import: [\"\" : 21, \"test.rich\" : 1]> (float[", x.size(),
                                 "] x) => (y) { y = ", op, "(x) }"),
                    {Tensor::Of<float>(dims, absl::MakeConstSpan(x))});
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? *result : Tensor::Zeros(DType::kFloat32, dims);
  }
  Loaded loaded_;
};

TEST_F(SoundPluginTest, AnOperatorRunsAndPassesTheConformanceChecks) {
  const Tensor y = Run("test.rich.Wave<w = 2.0>", {0, 1, 2});
  EXPECT_NEAR(y.AsDouble(1), std::sin(2.0), 1e-6);
  const OpDef& def = *loaded_.ops.Find("test.rich", "Wave", 1);
  ASSERT_EQ(def.samples().size(), 1u);
  const Sample& sample = def.samples()[0];
  for (const absl::Status& status :
       {CheckSchema(def, loaded_.ops), CheckInference(def, sample, loaded_.ops),
        CheckKernels(def, sample, loaded_.ops), CheckGradient(def, sample, loaded_.ops)}) {
    EXPECT_TRUE(status.ok()) << status.message();
  }
}

TEST_F(SoundPluginTest, BodiesByExpressionsAndByTextAgree) {
  const std::vector<float> x = {-2, -0.5, 0, 1, 3};
  const Tensor a = Run("test.rich.Gate<beta = 1.5>", x);
  const Tensor b = Run("test.rich.TextGate<beta = 1.5>", x);
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    const double v = x[static_cast<size_t>(i)];
    EXPECT_NEAR(a.AsDouble(i), v / (1 + std::exp(-1.5 * v)), 1e-6);
    EXPECT_NEAR(a.AsDouble(i), b.AsDouble(i), 1e-6);
  }
}

TEST_F(SoundPluginTest, AKernelSaysTheSizesOfItsOutputWhenItRuns) {
  const Tensor y = Run("test.rich.Positive", {1, -2, 3, 0, 5});
  ASSERT_EQ(y.dims(), Dims{3});
  EXPECT_EQ(y.AsDouble(2), 5);
}

TEST_F(SoundPluginTest, APassRewrites) {
  const auto result = loaded_.Run("(float[2] x) => (y) { t = Log(x)  y = Exp(t) }",
                                  {Tensor::Of<float>({2}, {-1, 2})});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->AsDouble(0), -1);
}

// What an optimizer makes of a parameter, gradient and slots, bit for bit.
std::vector<Tensor> Update(const OpRegistry& ops, const Optimizer& optimizer) {
  Graph graph;
  Builder builder(&graph, &ops);
  absl::flat_hash_map<std::string, Datum> values;
  uint64_t seed = 1;
  const auto input = [&](const std::string& name, Dims dims) {
    Tensor t(DType::kFloat32, dims);
    Rng rng(++seed);
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      t.mutable_data<float>()[i] = static_cast<float>(rng.Normal());
    }
    values[name] = Datum(t);
    return builder.Use(graph.AddInput(name, Type::Tensor(DType::kFloat32, Shape::Of(dims))));
  };
  UpdateInputs in{input("w", {5, 7}), input("g", {5, 7}), {}, input("lr", {}), Expr()};
  for (const Optimizer::Slot& slot : optimizer.slots()) {
    in.slots.push_back(input(slot.name, {5, 7}));
  }
  in.step = builder.Scalar(DType::kFloat64, 3);
  const UpdateOutputs out = optimizer.Emit(in);
  graph.AddOutput(out.parameter.value());
  for (const Expr& slot : out.slots) graph.AddOutput(slot.value());
  EXPECT_TRUE(builder.status().ok()) << builder.status().message();
  auto results = EvaluateGraph(graph, ops, values);
  EXPECT_TRUE(results.ok());
  std::vector<Tensor> tensors;
  for (const Datum& d : *results) tensors.push_back(d.tensor);
  return tensors;
}

TEST_F(SoundPluginTest, AnOptimizerGivesTheBitsOfItsBuiltInTwin) {
  const auto mine = loaded_.parts.optimizers.Make({"c_momentum", {{"beta", 0.8}}});
  const auto theirs = loaded_.parts.optimizers.Make({"momentum", {{"beta", 0.8}}});
  ASSERT_TRUE(mine.ok() && theirs.ok()) << theirs.status().message();
  EXPECT_EQ((*mine)->default_lr(), 0.01);
  const auto a = Update(loaded_.ops, **mine), b = Update(loaded_.ops, **theirs);
  ASSERT_EQ(a.size(), 2u);
  ASSERT_EQ(b.size(), 2u);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(SameBits(a[i], b[i])) << i;
}

TEST_F(SoundPluginTest, NumbersAreHeldToTheirRange) {
  const auto optimizer = loaded_.parts.optimizers.Make({"c_momentum", {{"beta", 2}}});
  EXPECT_EQ(KindOf(optimizer.status()), ErrorKind::kUsage);
  EXPECT_THAT(std::string(optimizer.status().message()), HasSubstr("beta"));
  const auto unknown = loaded_.parts.optimizers.Make({"c_momentum", {{"betta", 0.5}}});
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("Did you mean \"beta\"?"));
}

TEST_F(SoundPluginTest, ARegularizerGivesTheGradientOfItsBuiltInTwin) {
  const auto mine = loaded_.parts.regularizers.Make({"c_l2", {{"strength", 0.25}}});
  ASSERT_TRUE(mine.ok());
  Graph graph;
  Builder builder(&graph, &loaded_.ops);
  const Expr w = builder.Use(graph.AddInitializer("w", Tensor::Of<float>({2}, {4, -8})));
  graph.AddOutput((*mine)->Gradient(w, {}).value());
  EXPECT_FALSE((*mine)->Penalty(w, {}).is_defined());
  EXPECT_EQ((*mine)->AfterUpdate(w, w, w, {}).value(), w.value());
  const auto result = EvaluateGraph(graph, loaded_.ops, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ((*result)[0].tensor.AsDouble(1), -2);
}

TEST_F(SoundPluginTest, AScheduleEmitsALearningRate) {
  const auto schedule = loaded_.parts.schedules.Make({"hyperbola", {{"rate", 2}}});
  ASSERT_TRUE(schedule.ok());
  Graph graph;
  Builder builder(&graph, &loaded_.ops);
  ScheduleInputs in;
  in.step = builder.Scalar(DType::kFloat64, 30);
  in.lr = 0.5;
  in.steps_per_epoch = 10;
  in.host_scale = builder.Scalar(DType::kFloat64, 1);
  graph.AddOutput((*schedule)->Emit(in).value());
  const auto result = EvaluateGraph(graph, loaded_.ops, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_DOUBLE_EQ((*result)[0].tensor.AsDouble(0), 0.5 / 7);
}

TEST_F(SoundPluginTest, ADatasetGivesRowsAndPassesOptionsOn) {
  const DataFormat& format = loaded_.parts.formats()[0];
  EXPECT_TRUE(format.recognises("a.counted", ""));
  EXPECT_FALSE(format.recognises("a.csv", ""));
  DataOptions options;
  options.extra.emplace("rows", "9");
  const auto dataset = format.open("a.counted", options);
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ((*dataset)->size(), 9);
  ASSERT_EQ((*dataset)->fields().size(), 2u);
  EXPECT_EQ((*dataset)->fields()[0].range, 10);
  EXPECT_EQ((*dataset)->fields()[1].classes[2], "two");
  std::vector<Tensor> row = {Tensor(DType::kFloat32, {2}), Tensor(DType::kInt64, {})};
  ASSERT_TRUE((*dataset)->Get(5, absl::MakeSpan(row)).ok());
  EXPECT_EQ(row[0].AsDouble(1), 10);
  EXPECT_EQ(row[1].AsDouble(0), 2);
  const absl::Status unlucky = (*dataset)->Get(7, absl::MakeSpan(row));
  EXPECT_EQ(KindOf(unlucky), ErrorKind::kData);
  EXPECT_THAT(std::string(unlucky.message()), HasSubstr("row 7 is unlucky"));
}

TEST_F(SoundPluginTest, ATransformChangesBatches) {
  const auto augmentation = ParseAugmentation("blend:0.25", 1, loaded_.parts.transforms());
  ASSERT_TRUE(augmentation.ok()) << augmentation.status().message();
  ASSERT_EQ(augmentation->batch_transforms.size(), 1u);
  std::vector<Tensor> fields = {Tensor::Of<float>({2, 2}, {0, 4, 8, 0}), Tensor()};
  const std::vector<Role> roles = {Role::kFeature, Role::kTarget};
  Rng rng(1);
  ASSERT_TRUE(augmentation->batch_transforms[0]->Apply(absl::MakeSpan(fields), roles, &rng).ok());
  EXPECT_EQ(fields[0].AsDouble(0), 2);
  EXPECT_EQ(fields[0].AsDouble(3), 1);
}

TEST(SoundPartsTest, LossMetricTransformAndDatasetInMemoryWork) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("sound/sound").ok());
  const auto metric = loaded.parts.NewMetric("test_rows", {});
  ASSERT_TRUE(metric.ok()) << metric.status().message();
  (*metric)->Reset();
  ASSERT_TRUE(
      (*metric)
          ->Update(Tensor::Zeros(DType::kFloat32, {4, 2}), Tensor::Zeros(DType::kInt64, {4}))
          .ok());
  EXPECT_EQ((*metric)->Value(), 4);
  const auto augmentation = ParseAugmentation("test_times:0.25", 1, loaded.parts.transforms());
  ASSERT_TRUE(augmentation.ok());
  const float in[] = {4, 8};
  float out[2];
  Rng rng(1);
  ASSERT_TRUE(augmentation->transforms[0]->Apply(in, {2}, &rng, out).ok());
  EXPECT_EQ(out[1], 2);
  EXPECT_EQ(augmentation->transforms[0]->ToString(), "test_times:0.25");
  const auto dataset = loaded.parts.formats()[0].open("any.rows", {});
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  ASSERT_NE((*dataset)->Column(0), nullptr);
  EXPECT_EQ((*dataset)->Column(0)->AsDouble(3), 4);
}

TEST(SoundPartsTest, AKernelForABuiltInOperatorIsAskedFirst) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("sound/sound").ok());
  const auto result =
      loaded.Run("(float[2] x) => (y) { y = Relu(x) }", {Tensor::Of<float>({2}, {-5, 1})});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->AsDouble(0), -4);  // the plugin's Relu adds 1
}

}  // namespace
}  // namespace graphrun
