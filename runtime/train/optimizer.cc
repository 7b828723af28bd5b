#include "runtime/train/optimizer.h"

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"
#include "runtime/train/adam.h"
#include "runtime/train/adaptive.h"
#include "runtime/train/sgd.h"
#include "runtime/train/train_registry.h"

namespace graphrun {
namespace {

using P = HyperParameter;
using Values = absl::Span<const double>;

// A factory that hands the values to the optimizer's constructor in their order.
template <typename T, size_t... I>
PartTable<Optimizer>::Factory Make(std::index_sequence<I...>) {
  return []([[maybe_unused]] Values v) -> absl::StatusOr<std::unique_ptr<Optimizer>> {
    return std::make_unique<T>(v[I]...);
  };
}

template <typename T, size_t kNumbers>
void AddOne(PartTable<Optimizer>* table, const char* name, const char* summary,
            const P (&parameters)[kNumbers]) {
  GR_CHECK(table
               ->Add({name, summary, "", {parameters, parameters + kNumbers}},
                     Make<T>(std::make_index_sequence<kNumbers>()))
               .ok());
}

}  // namespace

Expr PowerOfStep(double beta, Expr step) {
  return Pow(step.builder()->Scalar(DType::kFloat64, beta), step);
}

void AddOptimizers(PartTable<Optimizer>* table) {
  GR_CHECK(
      table->Add({"sgd", "stochastic gradient descent", "", {}}, Make<Sgd>(std::index_sequence<>()))
          .ok());
  const P form = {"form", 1, 0, 1, false, false, "0: textbook, 1: torch"};
  GR_CHECK(table
               ->Add({"momentum", "with momentum", "", {P::Decay("beta", 0.9), form}},
                     [](Values v) -> absl::StatusOr<std::unique_ptr<Optimizer>> {
                       return std::make_unique<Momentum>(
                           v[0], v[1] == 0 ? Momentum::Form::kTextbook : Momentum::Form::kTorch);
                     })
               .ok());
  const P beta1 = P::Decay("beta1", 0.9), beta2 = P::Decay("beta2", 0.999);
  const P epsilon = P::Positive("epsilon", 1e-8);
  AddOne<Nesterov>(table, "nesterov", "Nesterov's accelerated gradient", {P::Decay("beta", 0.9)});
  AddOne<Adagrad>(table, "adagrad", "rates by the sum of squared gradients",
                  {P::Positive("epsilon", 1e-10)});
  AddOne<Adadelta>(table, "adadelta", "steps in the units of the parameters",
                   {P::Decay("rho", 0.95), P::Positive("epsilon", 1e-6)});
  AddOne<Rmsprop>(table, "rmsprop", "rates by the mean of squared gradients",
                  {P::Decay("rho", 0.9), epsilon});
  AddOne<Adam>(table, "adam", "momentum and rates by the mean of squared gradients",
               {beta1, beta2, epsilon});
  AddOne<AdamW>(table, "adamw", "Adam with decoupled weight decay",
                {beta1, beta2, epsilon, P::Any("weight_decay", 0.01)});
  AddOne<Nadam>(table, "nadam", "Adam with Nesterov's look-ahead",
                {beta1, beta2, epsilon, P::Any("momentum_decay", 0.004)});
}

absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const recipe::Optimizer& recipe,
                                                         const TrainRegistry& parts) {
  PartChoice choice = ChoiceOf(recipe);
  if (choice.name.empty()) choice.name = "adam";
  return parts.optimizers.Make(choice);
}

absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const recipe::Optimizer& recipe) {
  return MakeOptimizer(recipe, TrainRegistry());
}

}  // namespace graphrun
