#include "tools/bench_training.h"

#include "proto/recipe.pb.h"
#include "runtime/base/status.h"
#include "runtime/op/infer.h"
#include "runtime/train/recipe.h"
#include "runtime/train/run_setup.h"
#include "runtime/train/training_graph.h"

namespace graphrun::cli {

absl::StatusOr<BenchStep> TrainingStep(const Graph& model, const OpRegistry& registry,
                                       const Flags& flags) {
  recipe::Recipe recipe;
  GR_RETURN_IF_ERROR(SetRecipeField(&recipe, "optimizer", flags.Get("optimizer", "sgd")));
  GR_RETURN_IF_ERROR(SetRecipeField(&recipe, "loss.name", flags.Get("loss", "auto")));
  const std::unique_ptr<Graph> inferred = model.Clone();
  GR_RETURN_IF_ERROR(InferTypes(*inferred, registry));
  const Shape shape = inferred->outputs().empty() ? Shape() : inferred->outputs()[0]->shape();
  const bool scores =
      shape.has_rank() && shape.rank() >= 2 && shape[1].is_number() && shape[1].value() > 1;
  if (recipe.loss().name() == "auto") {
    recipe.mutable_loss()->set_name(ResolveLoss(*inferred, registry, scores));
  }
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Loss> loss, MakeLoss(recipe.loss()));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Optimizer> optimizer,
                      MakeOptimizer(recipe.optimizer()));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Schedule> schedule, MakeSchedule(recipe.schedule()));
  TrainingOptions options;
  options.loss = loss.get();
  options.optimizer = optimizer.get();
  options.schedule = schedule.get();
  options.lr = 1e-6;  // small enough that no number of steps spoils the numbers
  BenchStep step;
  if (loss->target() == LossTarget::kClass) {
    options.class_targets = true;
    step.classes = scores ? shape[1].value() : 2;
  }
  GR_ASSIGN_OR_RETURN(TrainingGraph graphs, BuildTrainingGraph(model, registry, options));
  step.graph = graphs.step;
  return step;
}

}  // namespace graphrun::cli
