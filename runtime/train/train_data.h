// TrainData: the data sets of a recipe, fitted to a model's inputs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "runtime/data/dataset.h"
#include "runtime/data/loader.h"
#include "runtime/data/normalizer.h"
#include "runtime/ir/graph.h"

namespace graphrun::recipe {
class Data;
class Recipe;
}  // namespace graphrun::recipe

namespace graphrun {

class TrainRegistry;

// Which field of the data feeds which input of the model.
struct InputBinding {
  std::string input;  // of the model
  int field = 0;      // of the data set
  Dims sample;        // sizes of one sample as the model takes it
  DType dtype = DType::kUndefined;
};

struct TrainData {
  std::shared_ptr<const Dataset> train, validation;  // validation may be null
  std::vector<InputBinding> inputs;                  // in the order of the model's inputs
  int target = -1;                                   // field
  bool class_target = false;                         // int64 labels
  int64_t classes = 0;                               // with labels: how many the data has
  // The first row of whole numbers below 0, which make the target numbers instead of classes; -1:
  // none.
  int64_t negative_row = -1;
  absl::optional<Dims> target_sample;  // of numbers: sizes of one target as the model has them
  std::vector<std::string> class_names;
  std::vector<int64_t> histogram;       // of labels in the training set
  std::vector<Normalizer> normalizers;  // one for each input; fitted on the training set
};

// Opens the data of a recipe for a model whose inputs are `inputs` (initializers left out). Errors:
// kData, kUsage.
absl::StatusOr<TrainData> OpenTrainData(const recipe::Recipe& recipe,
                                        const std::vector<Value*>& inputs,
                                        const TrainRegistry& parts);

// Data for evaluation or prediction with a model: a data set and its bindings, without split or
// normalisation.
absl::StatusOr<TrainData> OpenEvaluationData(const recipe::Data& data, const std::string& path,
                                             const std::vector<Value*>& inputs,
                                             bool target_required, const TrainRegistry& parts);

// A loader over `dataset` with these bindings; augmentation only where `training`.
absl::StatusOr<std::unique_ptr<DataLoader>> MakeLoader(const TrainData& data,
                                                       std::shared_ptr<const Dataset> dataset,
                                                       const recipe::Recipe& recipe, bool training,
                                                       const TrainRegistry& parts);

// Puts a batch's fields into the order of the model's inputs, the target behind them where there is
// one.
void ArrangeBatch(const TrainData& data, const Batch& batch, std::vector<Tensor>* arguments);

}  // namespace graphrun
