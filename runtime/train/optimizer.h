// Optimizer: emits the update of one parameter as graph nodes. It never touches tensors, so updates
// are planned, fused and exported like everything else.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/op/expr.h"
#include "runtime/train/part_table.h"

namespace graphrun::recipe {
class Optimizer;
}

namespace graphrun {

class TrainRegistry;

// What an update may read. All of one element type (the parameter's) but `step`.
struct UpdateInputs {
  Expr parameter;  // w
  Expr gradient;   // dL/dw, clipped and with the regularizers' terms; w's shape
  std::vector<Expr>
      slots;  // the optimizer's memory of this parameter, in the order of Optimizer::slots()
  Expr lr;    // scalar: the scheduled learning rate
  Expr step;  // scalar float64: 1 in the first update, 2 in the second, ...
};

struct UpdateOutputs {
  Expr parameter;           // w'
  std::vector<Expr> slots;  // their next values
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual std::string name() const = 0;
  // The learning rate where a recipe gives none.
  virtual double default_lr() const = 0;
  // Memory kept for each parameter, of its shape (or a scalar): name and first value.
  struct Slot {
    std::string name;
    double initial = 0;
    bool scalar = false;
  };
  virtual std::vector<Slot> slots() const { return {}; }
  virtual UpdateOutputs Emit(const UpdateInputs& in) const = 0;
};

// The optimizer that a recipe names (none: adam), of those that `parts` has. Errors: kUsage for
// names and hyper-parameters.
absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const recipe::Optimizer& recipe,
                                                         const TrainRegistry& parts);
// Of the built-in ones.
absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const recipe::Optimizer& recipe);

// Adds the built-in ones. Hyper-parameters are named as in recipes.
void AddOptimizers(PartTable<Optimizer>* table);

// beta^step in double precision, as a scalar of w's element type: bias corrections lose digits in
// float32.
Expr PowerOfStep(double beta, Expr step);

}  // namespace graphrun
