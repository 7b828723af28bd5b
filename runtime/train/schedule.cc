#include "runtime/train/schedule.h"

#include <algorithm>

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"
#include "runtime/train/train_registry.h"

namespace graphrun {
namespace {

constexpr double kPi = 3.14159265358979323846;

Expr Number(Expr like, double value) { return like.builder()->Scalar(DType::kFloat64, value); }
Expr PowerOf(double base, Expr exponent) { return Pow(Number(exponent, base), exponent); }

// Progress through the run in [0, 1].
Expr Progress(const ScheduleInputs& in) {
  return Min(in.step / static_cast<double>(std::max<int64_t>(in.total_steps, 1)), 1.0);
}

// lr
class ConstantSchedule : public Schedule {
 public:
  std::string name() const override { return "constant"; }
  Expr Emit(const ScheduleInputs& in) const override { return Number(in.step, in.lr); }
};

// lr gamma^floor(epoch / epochs)
class StepSchedule : public Schedule {
 public:
  StepSchedule(double epochs, double gamma) : epochs_(epochs), gamma_(gamma) {}
  std::string name() const override { return "step"; }
  Expr Emit(const ScheduleInputs& in) const override {
    return in.lr * PowerOf(gamma_, Floor(EpochOf(in) / epochs_));
  }

 private:
  double epochs_, gamma_;
};

// lr gamma^(number of milestones reached)
class MultiStepSchedule : public Schedule {
 public:
  MultiStepSchedule(std::vector<int64_t> epochs, double gamma)
      : epochs_(std::move(epochs)), gamma_(gamma) {}
  std::string name() const override { return "multistep"; }
  Expr Emit(const ScheduleInputs& in) const override {
    Expr reached = Number(in.step, 0);
    for (const int64_t epoch : epochs_) {
      reached = reached + Cast(EpochOf(in) >= static_cast<double>(epoch), DType::kFloat64);
    }
    return in.lr * PowerOf(gamma_, reached);
  }

 private:
  std::vector<int64_t> epochs_;
  double gamma_;
};

// lr gamma^epoch
class ExponentialSchedule : public Schedule {
 public:
  explicit ExponentialSchedule(double gamma) : gamma_(gamma) {}
  std::string name() const override { return "exponential"; }
  Expr Emit(const ScheduleInputs& in) const override {
    return in.lr * PowerOf(gamma_, EpochOf(in));
  }

 private:
  double gamma_;
};

// min + (lr - min) (1 + cos(pi t)) / 2, t the progress. Loshchilov, Hutter (arXiv:1608.03983),
// equation 5, one cycle.
class CosineSchedule : public Schedule {
 public:
  explicit CosineSchedule(double min_lr) : min_lr_(min_lr) {}
  std::string name() const override { return "cosine"; }
  bool spans_run() const override { return true; }
  Expr Emit(const ScheduleInputs& in) const override {
    return min_lr_ + (in.lr - min_lr_) * 0.5 * (1.0 + Cos(kPi * Progress(in)));
  }

 private:
  double min_lr_;
};

// min + (lr - min) (1 - t)^power
class PolySchedule : public Schedule {
 public:
  PolySchedule(double power, double min_lr) : power_(power), min_lr_(min_lr) {}
  std::string name() const override { return "poly"; }
  bool spans_run() const override { return true; }
  Expr Emit(const ScheduleInputs& in) const override {
    return min_lr_ + (in.lr - min_lr_) * Pow(1.0 - Progress(in), power_);
  }

 private:
  double power_, min_lr_;
};

// max(lr scale, min): the host lowers the scale when the monitored value stops improving.
class PlateauSchedule : public Schedule {
 public:
  explicit PlateauSchedule(double min_lr) : min_lr_(min_lr) {}
  std::string name() const override { return "plateau"; }
  Expr Emit(const ScheduleInputs& in) const override { return Max(in.lr * in.host_scale, min_lr_); }

 private:
  double min_lr_;
};

// Half a cosine from lr start up to lr over the first `rise` of the run, half a cosine down to lr
// start final over the rest. Smith, Topin (arXiv:1708.07120).
class OneCycleSchedule : public Schedule {
 public:
  OneCycleSchedule(double start, double final, double rise)
      : start_(start), final_(final), rise_(rise) {}
  std::string name() const override { return "onecycle"; }
  bool spans_run() const override { return true; }
  Expr Emit(const ScheduleInputs& in) const override {
    const auto half_cosine = [&](double from, double to, Expr t) {
      return to + (from - to) * 0.5 * (1.0 + Cos(kPi * t));
    };
    Expr t = Progress(in);
    Expr up = half_cosine(in.lr * start_, in.lr, t / rise_);
    Expr down = half_cosine(in.lr, in.lr * start_ * final_, (t - rise_) / (1 - rise_));
    return Where(t < rise_, up, down);
  }

 private:
  double start_, final_, rise_;
};

class WarmupSchedule : public Schedule {
 public:
  WarmupSchedule(int64_t steps, std::unique_ptr<Schedule> then)
      : steps_(static_cast<double>(steps)), then_(std::move(then)) {}
  std::string name() const override { return absl::StrCat("warmup+", then_->name()); }
  bool spans_run() const override { return then_->spans_run(); }
  Expr Emit(const ScheduleInputs& in) const override {
    ScheduleInputs after = in;
    after.step = Max(in.step - steps_, 0.0);
    after.total_steps = in.total_steps - static_cast<int64_t>(steps_);
    return Where(in.step < steps_, in.lr * ((in.step + 1.0) / steps_), then_->Emit(after));
  }

 private:
  double steps_;
  std::unique_ptr<Schedule> then_;
};

}  // namespace

Expr EpochOf(const ScheduleInputs& in) {
  return Floor(in.step / static_cast<double>(std::max<int64_t>(in.steps_per_epoch, 1)));
}

void AddSchedules(PartTable<Schedule>* table) {
  using P = HyperParameter;
  using Values = absl::Span<const double>;
  using Result = absl::StatusOr<std::unique_ptr<Schedule>>;
  const auto add = [&](const char* name, const char* summary, std::vector<P> parameters,
                       Result (*make)(Values)) {
    GR_CHECK(table->Add({name, summary, "", std::move(parameters)}, make).ok());
  };
  const P gamma = P::Positive("gamma", 0.1), min_lr = P::NotNegative("min_lr", 0);
  const P share = {"", 0, 0, 1, true, true};
  P factor = share, rise = share;
  factor.name = "factor";
  factor.initial = 0.1;
  rise.name = "rise";
  rise.initial = 0.3;
  add("constant", "lr", {},
      [](Values v) -> Result { return std::make_unique<ConstantSchedule>(); });
  add("step", "lr gamma^(epoch / epochs)", {P::Positive("epochs", 10), gamma},
      [](Values v) -> Result { return std::make_unique<StepSchedule>(v[0], v[1]); });
  add("multistep", "lr gamma^(milestones reached)", {gamma}, [](Values v) -> Result {
    return std::make_unique<MultiStepSchedule>(std::vector<int64_t>(), v[0]);
  });
  add("exponential", "lr gamma^epoch", {P::Positive("gamma", 0.95)},
      [](Values v) -> Result { return std::make_unique<ExponentialSchedule>(v[0]); });
  add("cosine", "half a cosine down to min_lr", {min_lr},
      [](Values v) -> Result { return std::make_unique<CosineSchedule>(v[0]); });
  add("poly", "a power of what is left of the run", {P::Positive("power", 1), min_lr},
      [](Values v) -> Result { return std::make_unique<PolySchedule>(v[0], v[1]); });
  // What the host decides by is no part of what is emitted.
  add("plateau", "lowered where validation does not improve",
      {factor, P::NotNegative("patience", 5), min_lr, P::Any("min_delta", 0)},
      [](Values v) -> Result { return std::make_unique<PlateauSchedule>(v[2]); });
  add("onecycle", "up, then down to almost nothing",
      {P::Positive("start_factor", 0.04), P::NotNegative("final_factor", 0.0001), rise},
      [](Values v) -> Result { return std::make_unique<OneCycleSchedule>(v[0], v[1], v[2]); });
}

absl::StatusOr<std::unique_ptr<Schedule>> MakeSchedule(const recipe::Schedule& r,
                                                       const TrainRegistry& parts) {
  PartChoice choice = ChoiceOf(r);
  if (choice.name.empty()) choice.name = "constant";
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Schedule> base, parts.schedules.Make(choice));
  if (r.has_multistep()) {
    base = std::make_unique<MultiStepSchedule>(
        std::vector<int64_t>(r.multistep().epochs().begin(), r.multistep().epochs().end()),
        r.multistep().gamma());
  }
  if (r.warmup() < 0)
    return UsageError("schedule.warmup is ", r.warmup(), " but must be 0 or more steps");
  if (r.steps() < 0)
    return UsageError("schedule.steps is ", r.steps(),
                      " but must be 1 or more, or 0 for all epochs");
  if (r.warmup() == 0) return base;
  return std::unique_ptr<Schedule>(std::make_unique<WarmupSchedule>(r.warmup(), std::move(base)));
}

absl::StatusOr<std::unique_ptr<Schedule>> MakeSchedule(const recipe::Schedule& recipe) {
  return MakeSchedule(recipe, TrainRegistry());
}

}  // namespace graphrun
