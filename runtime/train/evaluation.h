// Predictor: a trained model over a data set, batch by batch.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/exec/session.h"
#include "runtime/report/confusion.h"
#include "runtime/report/metric.h"
#include "runtime/train/train_data.h"
#include "runtime/train/train_registry.h"

namespace graphrun {

class Predictor {
 public:
  // `model` is brought into inference form. `recipe.data` says how to read the data set at `path`.
  // Errors: those of OpenEvaluationData and of planning.
  static absl::StatusOr<std::unique_ptr<Predictor>> Create(
      const Graph& model, const OpRegistry& registry, const recipe::Recipe& recipe,
      const std::string& path, bool target_required, const SessionOptions& options,
      const TrainRegistry& parts = TrainRegistry());

  // Calls `take` for each batch in the order of the data: its rows, the model's first output, and
  // the target (undefined where the data has none).
  absl::Status Run(absl::FunctionRef<absl::Status(const Batch& batch, const Tensor& output,
                                                  const Tensor& target)>
                       take);

  const TrainData& data() const { return data_; }
  const TrainRegistry& parts() const { return parts_; }
  // The model's output is before softmax or sigmoid, or the logarithm of probabilities: metrics are
  // to take it as logits. Meaningful for classes.
  bool logits() const { return logits_; }

 private:
  Predictor() = default;
  TrainData data_;
  TrainRegistry parts_;
  std::unique_ptr<DataLoader> loader_;
  std::unique_ptr<Session> session_;
  bool logits_ = false;
};

struct Evaluation {
  int64_t samples = 0;
  std::vector<std::pair<std::string, double>> metrics;
  ConfusionMatrix confusion;  // without classes unless the target is one
};

// The metrics of that name; none: what suits the target (classes: accuracy, precision, recall, F1,
// ...; numbers: MSE, MAE, R2, ...). Errors: those of the predictor; kUsage for a name.
absl::StatusOr<Evaluation> EvaluateModel(Predictor* predictor, std::vector<std::string> metrics);

}  // namespace graphrun
