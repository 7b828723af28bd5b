// predictions.csv: what an exported model says to every row of the validation data.
#pragma once

#include <string>

#include "runtime/report/confusion.h"
#include "runtime/train/run_setup.h"

namespace graphrun {

// Runs the model of that file over the run's validation data and writes, for classes, the columns
// row, actual, predicted, score (the model's output for the predicted class), else row, actual_i,
// predicted_i for every output i. Rows count from 0 in the validation data. With classes the counts
// go to `confusion`. REQUIRES: the run validates.
absl::Status WritePredictions(const RunSetup& setup, const std::string& model,
                              const std::string& path, ConfusionMatrix* confusion);

}  // namespace graphrun
