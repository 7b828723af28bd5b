// TrainingGraph: a model, its loss, the gradients, regularizers, clipping and the optimizer's
// update as one graph. Training is only a bigger graph: the same passes, planner and executor run
// it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "runtime/train/loss.h"
#include "runtime/train/optimizer.h"
#include "runtime/train/regularizer.h"
#include "runtime/train/schedule.h"

namespace graphrun {

struct TrainingOptions {
  const Loss* loss = nullptr;
  const Optimizer* optimizer = nullptr;
  const Schedule* schedule = nullptr;
  struct RegularizerUse {
    const Regularizer* regularizer;
    std::string parameters;  // regular expression; empty: weights only
  };
  std::vector<RegularizerUse> regularizers;
  double lr = 0.01;
  int64_t steps_per_epoch = 1;  // updates
  int64_t total_steps = 1;      // updates
  double clip_norm = 0, clip_value = 0;
  bool accumulate = false;  // gradients of several batches make one update
  double ema = 0;
  uint64_t seed = 1;
  std::vector<std::string> freeze, train;  // regular expressions on parameter names
  bool freeze_statistics = false;
  double dropout = -1;
  absl::optional<bool> from_logits;  // nothing: recognised by the model's last operator
  Tensor class_weights;              // [classes] or undefined
  bool class_targets = false;        // the data's target is a class index, whatever the loss takes
  bool probe = false;                // builds TrainingGraph::probe as well
  bool patterns = true;              // gradients of recognised operators (RecognizePatterns)
};

struct TrainedParameter {
  std::string name;
  Dims dims;
  ParameterRole role;
  // The output of TrainingGraph::probe with the largest |gradient| of each unit's weights; -1:
  // none.
  int units_output = -1;
};

struct TrainingGraph {
  // Inputs of each graph: the model's, then the target. States are shared by name (StateStore).
  std::shared_ptr<Graph> step;  // outputs: loss, learning rate
  std::shared_ptr<Graph>
      accumulate;                   // null unless asked for; adds a batch's gradients; output: loss
  std::shared_ptr<Graph> evaluate;  // outputs: loss, then the model's outputs, in inference form
  // Null unless asked for; changes no state. Outputs: loss, the norm of each parameter's gradient
  // (before regularizers and clipping), then those of TrainedParameter::units_output.
  std::shared_ptr<Graph> probe;
  std::vector<TrainedParameter> parameters;
  std::vector<std::string> frozen;  // float initializers that are not trained
  std::string prediction;           // the value of `step` that the loss was attached to
  bool logits = false;              // the loss was attached before the model's last activation
};

// `model`: as imported; its first output is the prediction. Errors: kModel (no gradient on the way,
// no parameter reaches the loss, output and loss do not fit), kUsage (a regular expression that
// matches nothing).
absl::StatusOr<TrainingGraph> BuildTrainingGraph(const Graph& model, const OpRegistry& registry,
                                                 const TrainingOptions& options);

// A graph that changes no state, with the inputs of TrainingGraph's. Outputs: the loss, then the
// gradient of each of TrainingGraph::parameters, before regularizers and clipping.
absl::StatusOr<std::shared_ptr<Graph>> BuildGradientGraph(const Graph& model,
                                                          const OpRegistry& registry,
                                                          const TrainingOptions& options);

// Names of states that are not parameters.
inline constexpr char kStepState[] = "graphrun/step";       // float64 scalar: updates done
inline constexpr char kScaleState[] = "graphrun/lr_scale";  // float64 scalar: set by the host
inline constexpr char kSamplesState[] =
    "graphrun/samples";  // float32 scalar: samples accumulated since the update
inline constexpr char kEmaPrefix[] = "ema/";

}  // namespace graphrun
