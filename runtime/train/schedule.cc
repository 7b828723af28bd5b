#include "runtime/train/schedule.h"

#include <algorithm>

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"

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

absl::Status Check(bool ok, const char* field, double value, const char* range) {
  if (ok) return absl::OkStatus();
  return UsageError("schedule.", field, " is ", value, " but must be ", range);
}

absl::Status LeastRate(const char* field, double value) {
  return Check(value >= 0, field, value, "0 or more");
}

absl::StatusOr<std::unique_ptr<Schedule>> MakeBase(const recipe::Schedule& r) {
  using Result = std::unique_ptr<Schedule>;
  switch (r.kind_case()) {
    case recipe::Schedule::KIND_NOT_SET:
    case recipe::Schedule::kConstant:
      return Result(std::make_unique<ConstantSchedule>());
    case recipe::Schedule::kStep:
      GR_RETURN_IF_ERROR(Check(r.step().epochs() > 0, "step.epochs",
                               static_cast<double>(r.step().epochs()), "above 0"));
      GR_RETURN_IF_ERROR(Check(r.step().gamma() > 0, "step.gamma", r.step().gamma(), "above 0"));
      return Result(
          std::make_unique<StepSchedule>(static_cast<double>(r.step().epochs()), r.step().gamma()));
    case recipe::Schedule::kMultistep:
      GR_RETURN_IF_ERROR(
          Check(r.multistep().gamma() > 0, "multistep.gamma", r.multistep().gamma(), "above 0"));
      return Result(std::make_unique<MultiStepSchedule>(
          std::vector<int64_t>(r.multistep().epochs().begin(), r.multistep().epochs().end()),
          r.multistep().gamma()));
    case recipe::Schedule::kExponential:
      GR_RETURN_IF_ERROR(Check(r.exponential().gamma() > 0, "exponential.gamma",
                               r.exponential().gamma(), "above 0"));
      return Result(std::make_unique<ExponentialSchedule>(r.exponential().gamma()));
    case recipe::Schedule::kCosine:
      GR_RETURN_IF_ERROR(LeastRate("cosine.min_lr", r.cosine().min_lr()));
      return Result(std::make_unique<CosineSchedule>(r.cosine().min_lr()));
    case recipe::Schedule::kPoly:
      GR_RETURN_IF_ERROR(Check(r.poly().power() > 0, "poly.power", r.poly().power(), "above 0"));
      GR_RETURN_IF_ERROR(LeastRate("poly.min_lr", r.poly().min_lr()));
      return Result(std::make_unique<PolySchedule>(r.poly().power(), r.poly().min_lr()));
    case recipe::Schedule::kPlateau:
      GR_RETURN_IF_ERROR(Check(r.plateau().factor() > 0 && r.plateau().factor() < 1,
                               "plateau.factor", r.plateau().factor(), "between 0 and 1"));
      GR_RETURN_IF_ERROR(LeastRate("plateau.min_lr", r.plateau().min_lr()));
      return Result(std::make_unique<PlateauSchedule>(r.plateau().min_lr()));
    case recipe::Schedule::kOnecycle:
      GR_RETURN_IF_ERROR(Check(r.onecycle().rise() > 0 && r.onecycle().rise() < 1, "onecycle.rise",
                               r.onecycle().rise(), "between 0 and 1"));
      GR_RETURN_IF_ERROR(Check(r.onecycle().start_factor() > 0, "onecycle.start_factor",
                               r.onecycle().start_factor(), "above 0"));
      GR_RETURN_IF_ERROR(LeastRate("onecycle.final_factor", r.onecycle().final_factor()));
      return Result(std::make_unique<OneCycleSchedule>(
          r.onecycle().start_factor(), r.onecycle().final_factor(), r.onecycle().rise()));
    case recipe::Schedule::kPlugin:
      return UsageError("schedule.plugin \"", r.plugin().name(),
                        "\" is not loaded. Load it with --plugin PATH");
  }
  return InternalError("a schedule that MakeSchedule does not know");
}

}  // namespace

Expr EpochOf(const ScheduleInputs& in) {
  return Floor(in.step / static_cast<double>(std::max<int64_t>(in.steps_per_epoch, 1)));
}

absl::StatusOr<std::unique_ptr<Schedule>> MakeSchedule(const recipe::Schedule& r) {
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Schedule> base, MakeBase(r));
  if (r.warmup() < 0)
    return UsageError("schedule.warmup is ", r.warmup(), " but must be 0 or more steps");
  if (r.warmup() == 0) return base;
  return std::unique_ptr<Schedule>(std::make_unique<WarmupSchedule>(r.warmup(), std::move(base)));
}

}  // namespace graphrun
