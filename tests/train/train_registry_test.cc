#include "runtime/train/train_registry.h"

#include <gtest/gtest.h>

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"
#include "runtime/train/recipe.h"
#include "runtime/train/sgd.h"
#include "tests/train/emitted.h"

namespace graphrun {
namespace {

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// w' = w - lr (1 + boost) g.
class Boosted : public Optimizer {
 public:
  explicit Boosted(double boost) : boost_(boost) {}
  std::string name() const override { return "boosted"; }
  double default_lr() const override { return 0.5; }
  UpdateOutputs Emit(const UpdateInputs& in) const override {
    return {in.parameter - in.lr * (1 + boost_) * in.gradient, {}};
  }

 private:
  double boost_;
};

PartInfo Info(const std::string& name, std::vector<HyperParameter> parameters = {}) {
  return {name, "for a test", "libtest.so", std::move(parameters)};
}

absl::Status AddBoosted(TrainRegistry* parts, const std::string& name = "boosted") {
  return parts->optimizers.Add(
      Info(name, {HyperParameter::NotNegative("boost", 0.5)}),
      [](absl::Span<const double> v) -> absl::StatusOr<std::unique_ptr<Optimizer>> {
        return std::make_unique<Boosted>(v[0]);
      });
}

recipe::Recipe Assigned(const std::vector<std::string>& assignments) {
  recipe::Recipe recipe;
  for (const std::string& a : assignments) EXPECT_TRUE(ApplyAssignment(&recipe, a).ok()) << a;
  return recipe;
}

Numbers StepOf(const Optimizer& optimizer) {
  Emitted emitted;
  UpdateInputs in;
  in.parameter = emitted.Input("w", {2});
  in.gradient = emitted.Input("g", {2});
  in.lr = emitted.Input("lr", {});
  emitted.graph().AddOutput(optimizer.Emit(in).parameter.value());
  emitted.Set("w", {2}, {1, 2});
  emitted.Set("g", {2}, {10, 20});
  emitted.Set("lr", {}, {0.1});
  return emitted.Run()[0];
}

TEST(TrainRegistryTest, AnAddedOptimizerIsFoundByItsNameAndGetsItsNumbers) {
  TrainRegistry parts;
  ASSERT_TRUE(AddBoosted(&parts).ok());
  auto given = MakeOptimizer(
      Assigned({"optimizer=boosted", "optimizer.boosted.boost=1"}).optimizer(), parts);
  ASSERT_TRUE(given.ok()) << given.status();
  ExpectNear(StepOf(**given), {1 - 2, 2 - 4}, "boost 1");
  auto initial = MakeOptimizer(Assigned({"optimizer=boosted"}).optimizer(), parts);
  ASSERT_TRUE(initial.ok());
  ExpectNear(StepOf(**initial), {1 - 1.5, 2 - 3.0}, "boost 0.5");
}

TEST(TrainRegistryTest, BuiltInOptimizersStandInTheSameTable) {
  const TrainRegistry parts;
  auto as_kind = MakeOptimizer(Assigned({"optimizer.momentum.beta=0.5"}).optimizer(), parts);
  auto by_name = MakeOptimizer(
      Assigned({"optimizer.plugin.name=momentum", "optimizer.plugin.beta=0.5"}).optimizer(), parts);
  ASSERT_TRUE(as_kind.ok() && by_name.ok()) << by_name.status();
  EXPECT_EQ((*as_kind)->name(), (*by_name)->name());
}

TEST(TrainRegistryTest, AnUnknownNameIsToldTheNearestAndThatPluginsHaveMore) {
  TrainRegistry parts;
  ASSERT_TRUE(AddBoosted(&parts).ok());
  const auto status = MakeOptimizer(Assigned({"optimizer=bosted"}).optimizer(), parts).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
  EXPECT_NE(Message(status).find("Did you mean \"boosted\"?"), std::string::npos) << status;
  EXPECT_NE(Message(status).find("--plugin"), std::string::npos);
  const auto built_in = MakeOptimizer(Assigned({"optimizer=adm"}).optimizer(), parts).status();
  EXPECT_NE(Message(built_in).find("Did you mean \"adam\"?"), std::string::npos) << built_in;
}

TEST(TrainRegistryTest, AnUnknownNumberIsToldTheNearestAndWhatThereIs) {
  TrainRegistry parts;
  ASSERT_TRUE(AddBoosted(&parts).ok());
  const auto status =
      MakeOptimizer(Assigned({"optimizer.boosted.bost=1"}).optimizer(), parts).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
  EXPECT_NE(Message(status).find("Did you mean \"boost\"?"), std::string::npos) << status;
  EXPECT_NE(Message(status).find("boost (0.5)"), std::string::npos) << status;
}

TEST(TrainRegistryTest, NumbersOutsideTheDeclaredRangeAreRefusedByPath) {
  TrainRegistry parts;
  ASSERT_TRUE(AddBoosted(&parts).ok());
  const auto status =
      MakeOptimizer(Assigned({"optimizer.boosted.boost=-1"}).optimizer(), parts).status();
  EXPECT_NE(Message(status).find("optimizer.boosted.boost is -1 but must be 0 or more"),
            std::string::npos)
      << status;
}

TEST(TrainRegistryTest, ANameThatIsTakenIsRefusedAndItsOwnerNamed) {
  TrainRegistry parts;
  ASSERT_TRUE(AddBoosted(&parts).ok());
  EXPECT_EQ(KindOf(AddBoosted(&parts)), ErrorKind::kPlugin);
  EXPECT_NE(Message(AddBoosted(&parts)).find("libtest.so"), std::string::npos);
  EXPECT_NE(Message(AddBoosted(&parts, "adam")).find("built in"), std::string::npos);
  EXPECT_EQ(parts.optimizers.rows().size(), TrainRegistry().optimizers.rows().size() + 1);
}

TEST(TrainRegistryTest, DeclarationsThatNoRecipeCouldSayAreRefused) {
  TrainRegistry parts;
  for (const char* name : {"", "a.b", "9lives", "two words", "a=b"}) {
    EXPECT_EQ(KindOf(AddBoosted(&parts, name)), ErrorKind::kPlugin) << name;
  }
  const auto make = [](absl::Span<const double>) -> absl::StatusOr<std::unique_ptr<Optimizer>> {
    return std::make_unique<Sgd>();
  };
  const HyperParameter a = HyperParameter::Any("a", 0);
  EXPECT_FALSE(parts.optimizers.Add(Info("twice", {a, a}), make).ok());
  EXPECT_FALSE(parts.optimizers.Add(Info("outside", {HyperParameter::Decay("a", 2)}), make).ok());
}

class Constant : public Metric {
 public:
  std::string name() const override { return "constant"; }
  bool higher_is_better() const override { return true; }
  absl::Status Update(const Tensor&, const Tensor&) override { return absl::OkStatus(); }
  double Value() const override { return 7; }
  void Reset() override {}
};

TEST(TrainRegistryTest, AddedMetricsAreFoundBesideTheBuiltInOnes) {
  TrainRegistry parts;
  const auto make = [](absl::Span<const double>,
                       const MetricOptions&) -> absl::StatusOr<std::unique_ptr<Metric>> {
    return std::make_unique<Constant>();
  };
  ASSERT_TRUE(parts.AddMetric(Info("constant"), make).ok());
  EXPECT_EQ((*parts.NewMetric("constant", {}))->Value(), 7);
  EXPECT_TRUE(parts.NewMetric("accuracy", {}).ok());
  EXPECT_FALSE(parts.AddMetric(Info("accuracy"), make).ok());
  EXPECT_NE(Message(parts.NewMetric("constnt", {}).status()).find("Did you mean \"constant\"?"),
            std::string::npos);
}

TEST(TrainRegistryTest, FormatsAndTransformsMayNotTakeBuiltInNames) {
  TrainRegistry parts;
  DataFormat format;
  format.name = "csv";
  EXPECT_EQ(KindOf(parts.AddFormat(format)), ErrorKind::kPlugin);
  format.name = "sqlite";
  EXPECT_TRUE(parts.AddFormat(format).ok());
  EXPECT_EQ(KindOf(parts.AddFormat(format)), ErrorKind::kPlugin);
  TransformKind kind;
  kind.name = "hflip";
  EXPECT_EQ(KindOf(parts.AddTransform(kind)), ErrorKind::kPlugin);
  kind.name = "mixup";
  EXPECT_TRUE(parts.AddTransform(kind).ok());
}

}  // namespace
}  // namespace graphrun
