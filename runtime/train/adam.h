// Adam and its relatives AdamW and Nadam.
#pragma once

#include "runtime/train/optimizer.h"

namespace graphrun {

// m' = beta1 m + (1 - beta1) g, v' = beta2 v + (1 - beta2) g^2,
// w' = w - lr m'/(1 - beta1^t) / (sqrt(v'/(1 - beta2^t)) + epsilon). Kingma, Ba (arXiv:1412.6980),
// algorithm 1.
class Adam : public Optimizer {
 public:
  Adam(double beta1, double beta2, double epsilon)
      : beta1_(beta1), beta2_(beta2), epsilon_(epsilon) {}
  std::string name() const override { return "adam"; }
  double default_lr() const override { return 0.001; }
  std::vector<Slot> slots() const override { return {{"mean"}, {"mean_square"}}; }
  UpdateOutputs Emit(const UpdateInputs& in) const override;

 protected:
  double beta1_, beta2_, epsilon_;
};

// Adam, and w' -= lr weight_decay w, apart from the gradient. Loshchilov, Hutter
// (arXiv:1711.05101), algorithm 2.
class AdamW : public Adam {
 public:
  AdamW(double beta1, double beta2, double epsilon, double weight_decay)
      : Adam(beta1, beta2, epsilon), weight_decay_(weight_decay) {}
  std::string name() const override { return "adamw"; }
  UpdateOutputs Emit(const UpdateInputs& in) const override;

 private:
  double weight_decay_;
};

// Adam with Nesterov's look-ahead. mu_t = beta1 (1 - 0.5 * 0.96^(t decay)), M = prod of mu;
// w' = w - lr (mu_{t+1} m' / (1 - M_{t+1}) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v' / (1 - beta2^t))
// + epsilon). Dozat, "Incorporating Nesterov momentum into Adam" (ICLR workshop 2016), with its
// decay as PyTorch names it.
class Nadam : public Adam {
 public:
  Nadam(double beta1, double beta2, double epsilon, double momentum_decay)
      : Adam(beta1, beta2, epsilon), momentum_decay_(momentum_decay) {}
  std::string name() const override { return "nadam"; }
  double default_lr() const override { return 0.002; }
  std::vector<Slot> slots() const override {
    return {{"mean"}, {"mean_square"}, {"mu_product", 1, true}};
  }
  UpdateOutputs Emit(const UpdateInputs& in) const override;

 private:
  double momentum_decay_;
};

}  // namespace graphrun
