// Models from a few numbers: written as ONNX at operator set 17, weights drawn anew.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/ir/graph.h"

namespace graphrun::cli {

struct NewModel {
  std::vector<int64_t> input;  // sizes of one sample
  int64_t outputs = 1;
  std::vector<int64_t> layers;           // widths of hidden linear layers
  std::vector<std::string> activations;  // one for all, or one for each layer
  std::string last = "none";             // none, softmax, sigmoid, ...: behind the last layer
  bool batchnorm = false;
  bool bias = true;
  double dropout = 0;
  // cnn
  std::vector<int64_t> channels;
  int64_t kernel = 3;
  int64_t pool = 2;          // 1: none
  bool global_pool = false;  // instead of flattening
  // resnet
  std::vector<int64_t> stages;  // blocks
  int64_t width = 64;           // channels of the first stage
  // transformer, lstm
  int64_t vocabulary = 0;  // 0: the input is [steps, features] of floats
  int64_t dim = 64, heads = 4, blocks = 2, hidden = 64;
  bool bidirectional = false;
  std::string cell = "lstm";  // gru, rnn
};

// Names of activations, and "none".
std::vector<std::string> ActivationNames();

// Each returns a sorted graph whose weights are zero. Sizes must be positive. Errors: kUsage for a
// form that does not fit the kind.
absl::StatusOr<std::unique_ptr<Graph>> NewMlp(const NewModel& model);
absl::StatusOr<std::unique_ptr<Graph>> NewCnn(const NewModel& model);
absl::StatusOr<std::unique_ptr<Graph>> NewResnet(const NewModel& model);
absl::StatusOr<std::unique_ptr<Graph>> NewTransformer(const NewModel& model);
absl::StatusOr<std::unique_ptr<Graph>> NewRecurrent(const NewModel& model);

}  // namespace graphrun::cli
