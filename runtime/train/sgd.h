// Stochastic gradient descent, with momentum in both forms and Nesterov's.
#pragma once

#include "runtime/train/optimizer.h"

namespace graphrun {

// w' = w - lr g
class Sgd : public Optimizer {
 public:
  std::string name() const override { return "sgd"; }
  double default_lr() const override { return 0.01; }
  UpdateOutputs Emit(const UpdateInputs& in) const override {
    return {in.parameter - in.lr * in.gradient, {}};
  }
};

// textbook (Polyak 1964; Caffe): v' = beta v + lr g, w' = w - v'.
// torch (PyTorch, ONNX):         v' = beta v + g,    w' = w - lr v'.
class Momentum : public Optimizer {
 public:
  enum class Form { kTextbook, kTorch };
  Momentum(double beta, Form form) : beta_(beta), form_(form) {}
  std::string name() const override { return "momentum"; }
  double default_lr() const override { return 0.01; }
  std::vector<Slot> slots() const override { return {{"velocity"}}; }
  UpdateOutputs Emit(const UpdateInputs& in) const override {
    if (form_ == Form::kTextbook) {
      Expr v = beta_ * in.slots[0] + in.lr * in.gradient;
      return {in.parameter - v, {v}};
    }
    Expr v = beta_ * in.slots[0] + in.gradient;
    return {in.parameter - in.lr * v, {v}};
  }

 private:
  double beta_;
  Form form_;
};

// v' = beta v + g, w' = w - lr (g + beta v'): Nesterov's accelerated gradient in the form of
// Sutskever et al. (2013), as PyTorch and ONNX write it.
class Nesterov : public Optimizer {
 public:
  explicit Nesterov(double beta) : beta_(beta) {}
  std::string name() const override { return "nesterov"; }
  double default_lr() const override { return 0.01; }
  std::vector<Slot> slots() const override { return {{"velocity"}}; }
  UpdateOutputs Emit(const UpdateInputs& in) const override {
    Expr v = beta_ * in.slots[0] + in.gradient;
    return {in.parameter - in.lr * (in.gradient + beta_ * v), {v}};
  }

 private:
  double beta_;
};

}  // namespace graphrun
