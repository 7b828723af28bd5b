// Regularizer: a term of the gradient, a penalty, or a change after the update, emitted as graph
// nodes.
#pragma once

#include <memory>
#include <string>

#include "runtime/op/expr.h"
#include "runtime/op/op_def.h"
#include "runtime/train/part_table.h"

namespace graphrun::recipe {
class Regularizer;
}

namespace graphrun {

class TrainRegistry;

// The role that each function is given names the axis of output units of w.
class Regularizer {
 public:
  virtual ~Regularizer() = default;
  virtual std::string name() const = 0;
  // The penalty's part of the gradient: w's shape and element type; undefined where there is none.
  virtual Expr Gradient(Expr w, const ParameterRole& role) const { return Expr(); }
  // The penalty itself, a scalar, for reports; undefined where there is none.
  virtual Expr Penalty(Expr w, const ParameterRole& role) const { return Expr(); }
  // Changes the updated parameter `next`. `lr` is a scalar.
  virtual Expr AfterUpdate(Expr next, Expr w, Expr lr, const ParameterRole& role) const {
    return next;
  }
};

// The regularizer that a recipe names, of those that `parts` has. Errors: kUsage, for instance a
// negative strength.
absl::StatusOr<std::unique_ptr<Regularizer>> MakeRegularizer(const recipe::Regularizer& recipe,
                                                             const TrainRegistry& parts);
// Of the built-in ones.
absl::StatusOr<std::unique_ptr<Regularizer>> MakeRegularizer(const recipe::Regularizer& recipe);

// Adds the built-in ones.
void AddRegularizers(PartTable<Regularizer>* table);

}  // namespace graphrun
