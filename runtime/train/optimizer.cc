#include "runtime/train/optimizer.h"

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"
#include "runtime/train/adam.h"
#include "runtime/train/adaptive.h"
#include "runtime/train/sgd.h"

namespace graphrun {
namespace {

absl::Status InRange(const char* field, double value, double low, double high) {
  if (value >= low && value < high) return absl::OkStatus();
  return UsageError("optimizer.", field, " is ", value, " but must be in [", low, ", ", high, ")");
}

absl::Status Positive(const char* field, double value) {
  if (value > 0) return absl::OkStatus();
  return UsageError("optimizer.", field, " is ", value, " but must be above 0");
}

}  // namespace

Expr PowerOfStep(double beta, Expr step) {
  return Pow(step.builder()->Scalar(DType::kFloat64, beta), step);
}

absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const recipe::Optimizer& r) {
  using Result = std::unique_ptr<Optimizer>;
  switch (r.kind_case()) {
    case recipe::Optimizer::KIND_NOT_SET:
    case recipe::Optimizer::kAdam:
      GR_RETURN_IF_ERROR(InRange("adam.beta1", r.adam().beta1(), 0, 1));
      GR_RETURN_IF_ERROR(InRange("adam.beta2", r.adam().beta2(), 0, 1));
      GR_RETURN_IF_ERROR(Positive("adam.epsilon", r.adam().epsilon()));
      return Result(std::make_unique<Adam>(r.adam().beta1(), r.adam().beta2(), r.adam().epsilon()));
    case recipe::Optimizer::kAdamw:
      GR_RETURN_IF_ERROR(InRange("adamw.beta1", r.adamw().beta1(), 0, 1));
      GR_RETURN_IF_ERROR(InRange("adamw.beta2", r.adamw().beta2(), 0, 1));
      GR_RETURN_IF_ERROR(Positive("adamw.epsilon", r.adamw().epsilon()));
      return Result(std::make_unique<AdamW>(r.adamw().beta1(), r.adamw().beta2(),
                                            r.adamw().epsilon(), r.adamw().weight_decay()));
    case recipe::Optimizer::kNadam:
      GR_RETURN_IF_ERROR(InRange("nadam.beta1", r.nadam().beta1(), 0, 1));
      GR_RETURN_IF_ERROR(InRange("nadam.beta2", r.nadam().beta2(), 0, 1));
      GR_RETURN_IF_ERROR(Positive("nadam.epsilon", r.nadam().epsilon()));
      return Result(std::make_unique<Nadam>(r.nadam().beta1(), r.nadam().beta2(),
                                            r.nadam().epsilon(), r.nadam().momentum_decay()));
    case recipe::Optimizer::kSgd:
      return Result(std::make_unique<Sgd>());
    case recipe::Optimizer::kMomentum:
      GR_RETURN_IF_ERROR(InRange("momentum.beta", r.momentum().beta(), 0, 1));
      return Result(std::make_unique<Momentum>(r.momentum().beta(),
                                               r.momentum().form() == recipe::Momentum::TEXTBOOK
                                                   ? Momentum::Form::kTextbook
                                                   : Momentum::Form::kTorch));
    case recipe::Optimizer::kNesterov:
      GR_RETURN_IF_ERROR(InRange("nesterov.beta", r.nesterov().beta(), 0, 1));
      return Result(std::make_unique<Nesterov>(r.nesterov().beta()));
    case recipe::Optimizer::kAdagrad:
      GR_RETURN_IF_ERROR(Positive("adagrad.epsilon", r.adagrad().epsilon()));
      return Result(std::make_unique<Adagrad>(r.adagrad().epsilon()));
    case recipe::Optimizer::kAdadelta:
      GR_RETURN_IF_ERROR(InRange("adadelta.rho", r.adadelta().rho(), 0, 1));
      GR_RETURN_IF_ERROR(Positive("adadelta.epsilon", r.adadelta().epsilon()));
      return Result(std::make_unique<Adadelta>(r.adadelta().rho(), r.adadelta().epsilon()));
    case recipe::Optimizer::kRmsprop:
      GR_RETURN_IF_ERROR(InRange("rmsprop.rho", r.rmsprop().rho(), 0, 1));
      GR_RETURN_IF_ERROR(Positive("rmsprop.epsilon", r.rmsprop().epsilon()));
      return Result(std::make_unique<Rmsprop>(r.rmsprop().rho(), r.rmsprop().epsilon()));
    case recipe::Optimizer::kPlugin:
      return UsageError("optimizer.plugin \"", r.plugin().name(),
                        "\" is not loaded. Load it with --plugin PATH");
  }
  return InternalError("an optimizer that MakeOptimizer does not know");
}

}  // namespace graphrun
