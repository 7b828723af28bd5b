// Adagrad, Adadelta and RMSprop: a learning rate for every weight from the history of its gradient.
#pragma once

#include "runtime/train/optimizer.h"

namespace graphrun {

// h' = h + g^2, w' = w - lr g / (sqrt(h') + epsilon). Duchi, Hazan, Singer (JMLR 2011).
class Adagrad : public Optimizer {
 public:
  explicit Adagrad(double epsilon) : epsilon_(epsilon) {}
  std::string name() const override { return "adagrad"; }
  double default_lr() const override { return 0.01; }
  std::vector<Slot> slots() const override { return {{"sum_of_squares"}}; }
  UpdateOutputs Emit(const UpdateInputs& in) const override {
    Expr h = in.slots[0] + Square(in.gradient);
    return {in.parameter - in.lr * in.gradient / (Sqrt(h) + epsilon_), {h}};
  }

 private:
  double epsilon_;
};

// h' = rho h + (1 - rho) g^2, d = sqrt(u + epsilon) / sqrt(h' + epsilon) g, u' = rho u + (1 - rho)
// d^2, w' = w - lr d. Zeiler (arXiv:1212.5701), algorithm 1; lr is 1 there.
class Adadelta : public Optimizer {
 public:
  Adadelta(double rho, double epsilon) : rho_(rho), epsilon_(epsilon) {}
  std::string name() const override { return "adadelta"; }
  double default_lr() const override { return 1.0; }
  std::vector<Slot> slots() const override { return {{"mean_square"}, {"mean_square_update"}}; }
  UpdateOutputs Emit(const UpdateInputs& in) const override {
    Expr h = rho_ * in.slots[0] + (1 - rho_) * Square(in.gradient);
    Expr d = Sqrt(in.slots[1] + epsilon_) / Sqrt(h + epsilon_) * in.gradient;
    Expr u = rho_ * in.slots[1] + (1 - rho_) * Square(d);
    return {in.parameter - in.lr * d, {h, u}};
  }

 private:
  double rho_, epsilon_;
};

// h' = rho h + (1 - rho) g^2, w' = w - lr g / (sqrt(h') + epsilon). Hinton, Neural Networks for
// Machine Learning, lecture 6e.
class Rmsprop : public Optimizer {
 public:
  Rmsprop(double rho, double epsilon) : rho_(rho), epsilon_(epsilon) {}
  std::string name() const override { return "rmsprop"; }
  double default_lr() const override { return 0.001; }
  std::vector<Slot> slots() const override { return {{"mean_square"}}; }
  UpdateOutputs Emit(const UpdateInputs& in) const override {
    Expr h = rho_ * in.slots[0] + (1 - rho_) * Square(in.gradient);
    return {in.parameter - in.lr * in.gradient / (Sqrt(h) + epsilon_), {h}};
  }

 private:
  double rho_, epsilon_;
};

}  // namespace graphrun
