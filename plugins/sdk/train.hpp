// Optimizers, regularizers, losses, schedules and metrics.
//
//   plugin.Add(gr::Optimizer("lion", 1e-4).Number({"beta1", 0.9, 0, 1}).Number({"beta2", 0.99, 0,
//   1})
//       .Slot("momentum")
//       .Update([](gr::Update& u) {
//         const double b1 = u["beta1"], b2 = u["beta2"];
//         u.parameter(u.w() - u.lr() * Sign(b1 * u.slot(0) + (1 - b1) * u.g()));
//         u.slot(0, b2 * u.slot(0) + (1 - b2) * u.g());
//       }));
#pragma once

#include <functional>

#include "expr.hpp"

namespace gr {

// An update being written: the next parameter and the next slots in terms of what there is.
class Update : public Numbers {
 public:
  Update(const std::vector<Number>* declared, const double* values, gr_builder* builder,
         const gr_update* in, gr_expr* parameter, gr_expr* slots)
      : Numbers(declared, values),
        builder_(builder),
        in_(in),
        parameter_(parameter),
        slots_(slots) {}
  Expr w() const { return {builder_, in_->parameter}; }
  Expr g() const { return {builder_, in_->gradient}; }  // clipped, with the regularizers' terms
  Expr slot(int i) const { return {builder_, in_->slots[i]}; }
  Expr lr() const { return {builder_, in_->lr}; }
  Expr step() const { return {builder_, in_->step}; }  // float64: 1 in the first update
  // decay^step, in double precision, as a scalar of w's element type.
  Expr PowerOfStep(double decay) const {
    Expr base(builder_, host().expr->scalar(builder_, GR_FLOAT64, decay));
    return CastLike(Pow(base, step()), w());
  }
  void parameter(Expr next) { *parameter_ = next.id(); }
  void slot(int i, Expr next) { slots_[i] = next.id(); }

 private:
  gr_builder* builder_;
  const gr_update* in_;
  gr_expr* parameter_;
  gr_expr* slots_;
};

class Optimizer {
 public:
  Optimizer(const char* name, double default_lr) {
    value_.struct_size = sizeof(value_);
    value_.name = name;
    value_.default_lr = default_lr;
  }
  Optimizer& Doc(const char* text) {
    value_.doc = text;
    return *this;
  }
  Optimizer& Number(gr::Number number) {
    self_.numbers.push_back(number);
    return *this;
  }
  // Memory for each parameter, of its shape or a scalar.
  Optimizer& Slot(const char* name, double initial = 0, bool scalar = false) {
    slots_.push_back({sizeof(gr_slot), name, initial, scalar});
    return *this;
  }
  Optimizer& Update(std::function<void(gr::Update&)> f) {
    self_.update = std::move(f);
    return *this;
  }
  gr_optimizer Freeze() {
    parameters_ = Parameters(self_.numbers);
    value_.params = parameters_.data();
    value_.num_params = parameters_.size();
    value_.slots = slots_.data();
    value_.num_slots = slots_.size();
    value_.self = &self_;
    value_.emit = [](void* self, const double* numbers, gr_builder* b, const gr_update* in,
                     gr_expr* parameter, gr_expr* slots) {
      return Guard([&] {
        const Self& s = *static_cast<Self*>(self);
        gr::Update update(&s.numbers, numbers, b, in, parameter, slots);
        s.update(update);
      });
    };
    return value_;
  }

 private:
  struct Self {
    std::vector<gr::Number> numbers;
    std::function<void(gr::Update&)> update;
  };
  gr_optimizer value_ = {};
  Self self_;
  std::vector<gr_parameter> parameters_;
  std::vector<gr_slot> slots_;
};

// What a regularizer's functions see: its numbers, and the parameter w.
class Weight : public Numbers {
 public:
  Weight(const std::vector<Number>* declared, const double* values, gr_builder* builder, gr_expr w,
         int unit_axis)
      : Numbers(declared, values), w_(builder, w), unit_axis_(unit_axis) {}
  Expr w() const { return w_; }
  int unit_axis() const { return unit_axis_; }  // counts output units

 private:
  Expr w_;
  int unit_axis_;
};

// The same after the optimizer's update.
class UpdatedWeight : public Weight {
 public:
  UpdatedWeight(const std::vector<Number>* declared, const double* values, gr_builder* builder,
                gr_expr w, gr_expr next, gr_expr lr, int unit_axis)
      : Weight(declared, values, builder, w, unit_axis), next_(builder, next), lr_(builder, lr) {}
  Expr next() const { return next_; }
  Expr lr() const { return lr_; }

 private:
  Expr next_, lr_;
};

// The number named "strength" is the one that `--regularizer NAME:0.1` sets.
class Regularizer {
 public:
  explicit Regularizer(const char* name) {
    value_.struct_size = sizeof(value_);
    value_.name = name;
  }
  Regularizer& Doc(const char* text) {
    value_.doc = text;
    return *this;
  }
  Regularizer& Number(gr::Number number) {
    self_.numbers.push_back(number);
    return *this;
  }
  // The penalty's part of the gradient, of w's shape; the penalty, a scalar; what becomes of the
  // updated w.
  Regularizer& Gradient(std::function<Expr(Weight&)> f) {
    self_.gradient = std::move(f);
    return *this;
  }
  Regularizer& Penalty(std::function<Expr(Weight&)> f) {
    self_.penalty = std::move(f);
    return *this;
  }
  Regularizer& AfterUpdate(std::function<Expr(UpdatedWeight&)> f) {
    self_.after_update = std::move(f);
    return *this;
  }
  gr_regularizer Freeze() {
    parameters_ = Parameters(self_.numbers);
    value_.params = parameters_.data();
    value_.num_params = parameters_.size();
    value_.self = &self_;
    if (self_.gradient) {
      value_.gradient = [](void* self, const double* p, gr_builder* b, gr_expr w, int32_t unit,
                           gr_expr* out) {
        return Guard([&] { *out = Call(self, &Self::gradient, p, b, w, unit); });
      };
    }
    if (self_.penalty) {
      value_.penalty = [](void* self, const double* p, gr_builder* b, gr_expr w, int32_t unit,
                          gr_expr* out) {
        return Guard([&] { *out = Call(self, &Self::penalty, p, b, w, unit); });
      };
    }
    if (self_.after_update) {
      value_.after_update = [](void* self, const double* p, gr_builder* b, gr_expr next, gr_expr w,
                               gr_expr lr, int32_t unit_axis, gr_expr* out) {
        return Guard([&] {
          const Self& s = *static_cast<Self*>(self);
          UpdatedWeight weight(&s.numbers, p, b, w, next, lr, unit_axis);
          *out = s.after_update(weight).id();
        });
      };
    }
    return value_;
  }

 private:
  struct Self {
    std::vector<gr::Number> numbers;
    std::function<Expr(Weight&)> gradient, penalty;
    std::function<Expr(UpdatedWeight&)> after_update;
  };
  static gr_expr Call(void* self, std::function<Expr(Weight&)> Self::*f, const double* p,
                      gr_builder* b, gr_expr w, int unit_axis) {
    const Self& s = *static_cast<Self*>(self);
    Weight weight(&s.numbers, p, b, w, unit_axis);
    return (s.*f)(weight).id();
  }
  gr_regularizer value_ = {};
  Self self_;
  std::vector<gr_parameter> parameters_;
};

// A loss being written.
class LossInputs : public Numbers {
 public:
  LossInputs(const std::vector<Number>* declared, const double* values, gr_builder* builder,
             const gr_loss_inputs* in)
      : Numbers(declared, values), builder_(builder), in_(in) {}
  Expr output() const { return {builder_, in_->output}; }
  Expr target() const { return {builder_, in_->target}; }
  Expr class_weights() const { return {builder_, in_->class_weights}; }  // may be left out
  bool logits() const {
    return in_->logits != 0;
  }  // whether output is before the link's activation

 private:
  gr_builder* builder_;
  const gr_loss_inputs* in_;
};

class Loss {
 public:
  // `target`: GR_TARGET_CLASS or GR_TARGET_VALUES; `link`: the activation that it takes the input
  // of, where the model ends in it.
  Loss(const char* name, int32_t target, int32_t link = GR_LINK_NONE) {
    value_.struct_size = sizeof(value_);
    value_.name = name;
    value_.target = target;
    value_.link = link;
  }
  Loss& Doc(const char* text) {
    value_.doc = text;
    return *this;
  }
  Loss& Number(gr::Number number) {
    self_.numbers.push_back(number);
    return *this;
  }
  // A scalar: the mean over the batch.
  Loss& Emit(std::function<Expr(LossInputs&)> f) {
    self_.emit = std::move(f);
    return *this;
  }
  gr_loss Freeze() {
    parameters_ = Parameters(self_.numbers);
    value_.params = parameters_.data();
    value_.num_params = parameters_.size();
    value_.self = &self_;
    value_.emit = [](void* self, const double* p, gr_builder* b, const gr_loss_inputs* in,
                     gr_expr* loss) {
      return Guard([&] {
        const Self& s = *static_cast<Self*>(self);
        LossInputs inputs(&s.numbers, p, b, in);
        *loss = s.emit(inputs).id();
      });
    };
    return value_;
  }

 private:
  struct Self {
    std::vector<gr::Number> numbers;
    std::function<Expr(LossInputs&)> emit;
  };
  gr_loss value_ = {};
  Self self_;
  std::vector<gr_parameter> parameters_;
};

// A schedule being written; expressions are float64 scalars.
class ScheduleInputs : public Numbers {
 public:
  ScheduleInputs(const std::vector<Number>* declared, const double* values, gr_builder* builder,
                 const gr_schedule_inputs* in)
      : Numbers(declared, values), builder_(builder), in_(in) {}
  Expr step() const { return {builder_, in_->step}; }  // 0 in the first update after warmup
  double lr() const { return in_->lr; }
  double steps_per_epoch() const { return static_cast<double>(in_->steps_per_epoch); }
  double total_steps() const { return static_cast<double>(in_->total_steps); }

 private:
  gr_builder* builder_;
  const gr_schedule_inputs* in_;
};

class Schedule {
 public:
  explicit Schedule(const char* name) {
    value_.struct_size = sizeof(value_);
    value_.name = name;
  }
  Schedule& Doc(const char* text) {
    value_.doc = text;
    return *this;
  }
  Schedule& Number(gr::Number number) {
    self_.numbers.push_back(number);
    return *this;
  }
  Schedule& Emit(std::function<Expr(ScheduleInputs&)> f) {
    self_.emit = std::move(f);
    return *this;
  }
  gr_schedule Freeze() {
    parameters_ = Parameters(self_.numbers);
    value_.params = parameters_.data();
    value_.num_params = parameters_.size();
    value_.self = &self_;
    value_.emit = [](void* self, const double* p, gr_builder* b, const gr_schedule_inputs* in,
                     gr_expr* lr) {
      return Guard([&] {
        const Self& s = *static_cast<Self*>(self);
        ScheduleInputs inputs(&s.numbers, p, b, in);
        *lr = s.emit(inputs).id();
      });
    };
    return value_;
  }

 private:
  struct Self {
    std::vector<gr::Number> numbers;
    std::function<Expr(ScheduleInputs&)> emit;
  };
  gr_schedule value_ = {};
  Self self_;
  std::vector<gr_parameter> parameters_;
};

}  // namespace gr
