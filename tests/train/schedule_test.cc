#include "runtime/train/schedule.h"

#include <cmath>
#include <functional>

#include "proto/recipe.pb.h"
#include "tests/train/emitted.h"

namespace graphrun {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kLr = 0.3;
constexpr int64_t kPerEpoch = 4, kTotal = 40;

// Compares the emitted rate of every update (and some behind the end) with a formula of its own.
void ExpectRates(const std::string& recipe, const std::function<double(int step)>& expected,
                 double host_scale = 1) {
  auto schedule = MakeSchedule(Parse<recipe::Schedule>(recipe));
  ASSERT_TRUE(schedule.ok()) << schedule.status().message();
  Emitted emitted;
  ScheduleInputs in;
  in.step = emitted.Input("step", {});
  in.host_scale = emitted.Input("scale", {});
  in.lr = kLr;
  in.steps_per_epoch = kPerEpoch;
  in.total_steps = kTotal;
  emitted.graph().AddOutput((*schedule)->Emit(in).value());
  emitted.Set("scale", {}, {host_scale});
  for (int step = 0; step < kTotal + 3; ++step) {
    emitted.Set("step", {}, {static_cast<double>(step)});
    ExpectNear(emitted.Run()[0], {expected(step)}, absl::StrCat(recipe, " at step ", step));
  }
}

TEST(ScheduleTest, ConstantStays) {
  ExpectRates("constant {}", [](int) { return kLr; });
}

TEST(ScheduleTest, StepDropsEverySoManyEpochs) {
  ExpectRates("step { epochs: 3 gamma: 0.5 }", [](int step) {
    double lr = kLr;
    for (int epoch = 1; epoch <= step / 4; ++epoch) lr *= epoch % 3 == 0 ? 0.5 : 1;
    return lr;
  });
}

TEST(ScheduleTest, MultistepDropsAtItsMilestones) {
  ExpectRates("multistep { epochs: 2 epochs: 7 gamma: 0.1 }", [](int step) {
    return step < 8 ? kLr : step < 28 ? kLr * 0.1 : kLr * 0.01;
  });
}

TEST(ScheduleTest, ExponentialShrinksEveryEpoch) {
  ExpectRates("exponential { gamma: 0.9 }", [](int step) {
    double lr = kLr;
    for (int epoch = 0; epoch < step / 4; ++epoch) lr *= 0.9;
    return lr;
  });
}

TEST(ScheduleTest, CosineEndsAtItsLeast) {
  ExpectRates("cosine { min_lr: 0.01 }", [](int step) {
    const double t = std::min(step, 40) / 40.0;
    return 0.01 + 0.5 * (kLr - 0.01) * (1 + std::cos(kPi * t));
  });
}

TEST(ScheduleTest, PolyFallsByAPower) {
  ExpectRates("poly { power: 2 min_lr: 0.02 }", [](int step) {
    const double left = (40 - std::min(step, 40)) / 40.0;
    return 0.02 + (kLr - 0.02) * left * left;
  });
}

TEST(ScheduleTest, PlateauFollowsTheHostsScaleDownToItsLeast) {
  ExpectRates("plateau { factor: 0.1 min_lr: 0.01 }", [](int) { return kLr; });
  ExpectRates(
      "plateau { factor: 0.1 min_lr: 0.01 }", [](int) { return 0.03; }, 0.1);
  ExpectRates(
      "plateau { factor: 0.1 min_lr: 0.01 }", [](int) { return 0.01; }, 0.001);
}

TEST(ScheduleTest, OneCycleRisesThenFallsBelowItsStart) {
  ExpectRates("onecycle { start_factor: 0.1 final_factor: 0.01 rise: 0.25 }", [](int step) {
    const double low = kLr * 0.1, end = low * 0.01;
    step = std::min(step, 40);
    if (step < 10) return low + (kLr - low) * (1 - std::cos(kPi * step / 10.0)) / 2;
    return end + (kLr - end) * (1 + std::cos(kPi * (step - 10) / 30.0)) / 2;
  });
}

TEST(ScheduleTest, WarmupRisesLinearlyThenTheScheduleStartsAtItsOwnZero) {
  ExpectRates("warmup: 8 constant {}",
              [](int step) { return step < 8 ? kLr * (step + 1) / 8 : kLr; });
  ExpectRates("warmup: 8 cosine {}", [](int step) {
    if (step < 8) return kLr * (step + 1) / 8;
    return kLr / 2 * (1 + std::cos(kPi * std::min(step - 8, 32) / 32.0));
  });
  ExpectRates("warmup: 8 exponential { gamma: 0.5 }", [](int step) {
    return step < 8 ? kLr * (step + 1) / 8 : kLr * std::pow(0.5, (step - 8) / 4);
  });
}

TEST(ScheduleTest, AWarmupAsLongAsTheRunStaysFinite) {
  ExpectRates("warmup: 50 cosine {}", [](int step) { return kLr * (step + 1) / 50; });
}

TEST(ScheduleTest, NumbersOutOfRangeAreRefusedByName) {
  for (const char* recipe :
       {"step { epochs: 0 }", "step { gamma: 0 }", "multistep { gamma: -1 }",
        "exponential { gamma: 0 }", "plateau { factor: 1 }", "onecycle { rise: 1 }", "warmup: -1",
        "cosine { min_lr: -1 }", "poly { power: -1 }", "poly { min_lr: nan }"}) {
    const auto made = MakeSchedule(Parse<recipe::Schedule>(recipe));
    EXPECT_EQ(KindOf(made.status()), ErrorKind::kUsage) << recipe;
  }
}

}  // namespace
}  // namespace graphrun
