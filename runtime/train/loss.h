// Loss: a scalar of a model's output and the target, emitted as graph nodes.
#pragma once

#include <memory>
#include <string>

#include "runtime/op/expr.h"
#include "runtime/op/op_def.h"
#include "runtime/train/part_table.h"

namespace graphrun::recipe {
class Loss;
}

namespace graphrun {

class TrainRegistry;

// What a data set must offer as the target.
enum class LossTarget {
  kClass,   // int64 class indices: the output's shape without its class axis 1
  kValues,  // numbers of the output's element type and shape
};

struct LossInputs {
  Expr output;  // logits where Loss::link() says so and the model's last activation was taken off
  Expr target;
  Expr class_weights;  // [classes]; undefined: all 1
};

class Loss {
 public:
  virtual ~Loss() = default;
  virtual std::string name() const = 0;
  virtual LossTarget target() const = 0;
  // The activation that this loss takes the input of (kNone: it takes the model's output as it is).
  virtual OutputLink link() const { return OutputLink::kNone; }
  // A scalar of the output's element type, the mean over the batch. `logits`: whether `output` is
  // before link().
  virtual Expr Emit(const LossInputs& in, bool logits) const = 0;
};

// The loss that a recipe names, of those that `parts` has. "auto" must have been resolved before.
// Errors: kUsage with the names there are.
absl::StatusOr<std::unique_ptr<Loss>> MakeLoss(const recipe::Loss& recipe,
                                               const TrainRegistry& parts);
// Of the built-in ones.
absl::StatusOr<std::unique_ptr<Loss>> MakeLoss(const recipe::Loss& recipe);

// Adds the built-in ones.
void AddLosses(PartTable<Loss>* table);

}  // namespace graphrun
