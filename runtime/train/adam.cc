#include "runtime/train/adam.h"

namespace graphrun {
namespace {

// A float64 scalar in the element type of `like`.
Expr As(Expr scalar, Expr like) { return CastLike(scalar, like); }

}  // namespace

UpdateOutputs Adam::Emit(const UpdateInputs& in) const {
  Expr m = beta1_ * in.slots[0] + (1 - beta1_) * in.gradient;
  Expr v = beta2_ * in.slots[1] + (1 - beta2_) * Square(in.gradient);
  // The corrections are scalars: rate = lr / (1 - beta1^t), and v is scaled by 1 / (1 - beta2^t).
  Expr rate = in.lr * As(1.0 / (1.0 - PowerOfStep(beta1_, in.step)), m);
  Expr scale = As(1.0 / Sqrt(1.0 - PowerOfStep(beta2_, in.step)), m);
  return {in.parameter - rate * m / (Sqrt(v) * scale + epsilon_), {m, v}};
}

UpdateOutputs AdamW::Emit(const UpdateInputs& in) const {
  UpdateInputs decayed = in;
  decayed.parameter = in.parameter - in.lr * weight_decay_ * in.parameter;
  return Adam::Emit(decayed);
}

UpdateOutputs Nadam::Emit(const UpdateInputs& in) const {
  Expr m = beta1_ * in.slots[0] + (1 - beta1_) * in.gradient;
  Expr v = beta2_ * in.slots[1] + (1 - beta2_) * Square(in.gradient);
  const auto mu_at = [&](Expr step) {
    return beta1_ * (1.0 - 0.5 * PowerOfStep(0.96, step * momentum_decay_));
  };
  Expr mu = mu_at(in.step), mu_next = mu_at(in.step + 1.0);
  Expr product = Cast(in.slots[2], DType::kFloat64) * mu;
  Expr ahead = As(mu_next / (1.0 - product * mu_next), m);
  Expr now = As((1.0 - mu) / (1.0 - product), m);
  Expr scale = As(1.0 / Sqrt(1.0 - PowerOfStep(beta2_, in.step)), m);
  Expr w = in.parameter - in.lr * (ahead * m + now * in.gradient) / (Sqrt(v) * scale + epsilon_);
  return {w, {m, v, CastLike(product, in.slots[2])}};
}

}  // namespace graphrun
