// Schedule: the learning rate of a step, emitted as graph nodes over the step counter.
#pragma once

#include <memory>
#include <string>

#include "runtime/op/expr.h"
#include "runtime/train/part_table.h"

namespace graphrun::recipe {
class Schedule;
}

namespace graphrun {

class TrainRegistry;

// All scalars, float64. Steps count updates, not batches, where gradients are accumulated.
struct ScheduleInputs {
  Expr step;                    // 0 in the first update (after warmup)
  double lr = 0;                // the base learning rate
  int64_t steps_per_epoch = 1;  // updates
  int64_t total_steps = 1;      // updates of the whole run, without warmup
  Expr host_scale;              // a factor that the host sets (reduce on plateau); 1 at first
};

class Schedule {
 public:
  virtual ~Schedule() = default;
  virtual std::string name() const = 0;
  // Whether it depends on ScheduleInputs::total_steps.
  virtual bool spans_run() const { return false; }
  // The learning rate: float64 scalar.
  virtual Expr Emit(const ScheduleInputs& in) const = 0;
};

// The schedule that a recipe names, warmup included: over the first `warmup` updates lr * (step +
// 1) / warmup, then the schedule from its own step 0. Errors: kUsage.
absl::StatusOr<std::unique_ptr<Schedule>> MakeSchedule(const recipe::Schedule& recipe,
                                                       const TrainRegistry& parts);
// Of the built-in ones.
absl::StatusOr<std::unique_ptr<Schedule>> MakeSchedule(const recipe::Schedule& recipe);

// Adds the built-in ones.
void AddSchedules(PartTable<Schedule>* table);

// floor(step / steps_per_epoch), float64 scalar.
Expr EpochOf(const ScheduleInputs& in);

}  // namespace graphrun
