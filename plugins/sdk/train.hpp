// Optimizers, regularizers, losses and schedules.
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
         const gr_update* in, gr_expr* parameter, gr_expr* slots, size_t num_slots)
      : Numbers(declared, values),
        builder_(builder),
        in_(in),
        parameter_(parameter),
        slots_(slots),
        num_slots_(num_slots) {}
  Expr w() const { return {builder_, in_->parameter}; }
  Expr g() const { return {builder_, in_->gradient}; }  // clipped, with the regularizers' terms
  Expr slot(int i) const { return {builder_, in_->slots[Checked(i)]}; }
  Expr lr() const { return {builder_, in_->lr}; }
  Expr step() const { return {builder_, in_->step}; }  // float64: 1 in the first update
  // decay^step, in double precision, as a scalar of w's element type.
  Expr PowerOfStep(double decay) const {
    return CastLike(Pow(Scalar(builder_, GR_FLOAT64, decay), step()), w());
  }
  void parameter(Expr next) { *parameter_ = next.id(); }
  void slot(int i, Expr next) { slots_[Checked(i)] = next.id(); }

 private:
  size_t Checked(int i) const {
    if (i < 0 || static_cast<size_t>(i) >= num_slots_)
      throw Error(GR_INTERNAL, "the optimizer declares no slot " + std::to_string(i));
    return static_cast<size_t>(i);
  }
  gr_builder* builder_;
  const gr_update* in_;
  gr_expr* parameter_;
  gr_expr* slots_;
  size_t num_slots_;
};

class Optimizer : public NumberedDeclaration<Optimizer, gr_optimizer> {
 public:
  Optimizer(const char* name, double default_lr) : NumberedDeclaration(name) {
    raw_.default_lr = default_lr;
  }
  // Memory for each parameter, of its shape or a scalar.
  Optimizer& Slot(const char* name, double initial = 0, bool scalar = false) {
    slots_.push_back({sizeof(gr_slot), name, initial, scalar});
    return *this;
  }
  Optimizer& Update(std::function<void(gr::Update&)> f) {
    update_ = std::move(f);
    return *this;
  }
  gr_optimizer Freeze() {
    FreezeNumbers();
    raw_.slots = slots_.data();
    raw_.num_slots = slots_.size();
    if (update_) {
      raw_.emit = [](void* self, const double* numbers, gr_builder* b, const gr_update* in,
                     gr_expr* parameter, gr_expr* slots) {
        return Guard([&] {
          const Optimizer& o = *static_cast<Optimizer*>(self);
          gr::Update update(&o.numbers_, numbers, b, in, parameter, slots, o.slots_.size());
          o.update_(update);
        });
      };
    }
    return raw_;
  }

 private:
  std::function<void(gr::Update&)> update_;
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
class Regularizer : public NumberedDeclaration<Regularizer, gr_regularizer> {
 public:
  explicit Regularizer(const char* name) : NumberedDeclaration(name) {}
  // The penalty's part of the gradient, of w's shape; the penalty, a scalar; what becomes of the
  // updated w.
  Regularizer& Gradient(std::function<Expr(Weight&)> f) {
    gradient_ = std::move(f);
    return *this;
  }
  Regularizer& Penalty(std::function<Expr(Weight&)> f) {
    penalty_ = std::move(f);
    return *this;
  }
  Regularizer& AfterUpdate(std::function<Expr(UpdatedWeight&)> f) {
    after_update_ = std::move(f);
    return *this;
  }
  gr_regularizer Freeze() {
    FreezeNumbers();
    if (gradient_) raw_.gradient = Call<&Regularizer::gradient_>;
    if (penalty_) raw_.penalty = Call<&Regularizer::penalty_>;
    if (after_update_) {
      raw_.after_update = [](void* self, const double* p, gr_builder* b, gr_expr next, gr_expr w,
                             gr_expr lr, int32_t unit_axis, gr_expr* out) {
        return Guard([&] {
          const Regularizer& r = *static_cast<Regularizer*>(self);
          UpdatedWeight weight(&r.numbers_, p, b, w, next, lr, unit_axis);
          *out = r.after_update_(weight).id();
        });
      };
    }
    return raw_;
  }

 private:
  template <std::function<Expr(Weight&)> Regularizer::*kFunction>
  static gr_status* Call(void* self, const double* p, gr_builder* b, gr_expr w, int32_t unit_axis,
                         gr_expr* out) {
    return Guard([&] {
      const Regularizer& r = *static_cast<Regularizer*>(self);
      Weight weight(&r.numbers_, p, b, w, unit_axis);
      *out = (r.*kFunction)(weight).id();
    });
  }
  std::function<Expr(Weight&)> gradient_, penalty_;
  std::function<Expr(UpdatedWeight&)> after_update_;
};

// A part whose one function writes a scalar in terms of `In`, which it sees as an `Inputs`.
template <typename Part, typename Raw, typename Inputs, typename In>
class ScalarDeclaration : public NumberedDeclaration<Part, Raw> {
 public:
  Part& Emit(std::function<Expr(Inputs&)> f) {
    emit_ = std::move(f);
    return this->part();
  }
  Raw Freeze() {
    this->FreezeNumbers();
    if (emit_) {
      this->raw_.emit = [](void* self, const double* p, gr_builder* b, const In* in, gr_expr* out) {
        return Guard([&] {
          const ScalarDeclaration& d = *static_cast<Part*>(self);
          Inputs inputs(&d.numbers_, p, b, in);
          *out = d.emit_(inputs).id();
        });
      };
    }
    return this->raw_;
  }

 protected:
  using NumberedDeclaration<Part, Raw>::NumberedDeclaration;

 private:
  std::function<Expr(Inputs&)> emit_;
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
  // Whether output is before the link's activation.
  bool logits() const { return in_->logits != 0; }

 private:
  gr_builder* builder_;
  const gr_loss_inputs* in_;
};

// Emit gives the mean over the batch.
class Loss : public ScalarDeclaration<Loss, gr_loss, LossInputs, gr_loss_inputs> {
 public:
  // `target`: GR_TARGET_CLASS or GR_TARGET_VALUES; `link`: the activation that it takes the input
  // of, where the model ends in it.
  Loss(const char* name, int32_t target, int32_t link = GR_LINK_NONE) : ScalarDeclaration(name) {
    raw_.target = target;
    raw_.link = link;
  }
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
  Expr host_scale() const { return {builder_, in_->host_scale}; }  // of the host; 1 at first
  double total_steps() const { return static_cast<double>(in_->total_steps); }

 private:
  gr_builder* builder_;
  const gr_schedule_inputs* in_;
};

// Emit gives the learning rate.
class Schedule
    : public ScalarDeclaration<Schedule, gr_schedule, ScheduleInputs, gr_schedule_inputs> {
 public:
  explicit Schedule(const char* name) : ScalarDeclaration(name) {}
};

}  // namespace gr
