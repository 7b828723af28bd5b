// What goes wrong in training and can be seen: warnings by name, each with what to do.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/train/checkpoint.h"
#include "runtime/train/run_setup.h"

namespace graphrun {

using NamedWarning = std::pair<std::string, std::string>;  // name, text

// What set-up and the first batch show: unnormalised-input, class-imbalance, softmax-before-ce.
// `arguments`: a batch as ArrangeBatch leaves it.
std::vector<NamedWarning> DiagnoseStart(const RunSetup& setup,
                                        const std::vector<Tensor>& arguments);

// Looks at the gradients of a batch now and then, without changing any state.
class GradientWatch {
 public:
  explicit GradientWatch(const RunSetup& setup) : setup_(setup) {}
  // Runs the probe. `step`: the number that random operators draw by, that of the batch.
  absl::Status Probe(const std::vector<Tensor>& arguments, int64_t rows, uint64_t step);
  // What it has seen, for a checkpoint; and that again.
  void Store(RunPosition* position) const;
  void Restore(const RunPosition& position);
  // Of the last probe: the norm of all gradients, before regularizers and clipping; NaN before the
  // first.
  double norm() const { return norm_; }
  // Of the last probe: the norm of the gradient of each weight (not biases), by name, at most
  // kMostLayers.
  std::vector<std::pair<std::string, double>> ByLayer() const;
  // vanishing-gradient, exploding-gradient, dead-relu, by the last probe (dead-relu: by all).
  std::vector<NamedWarning> Warnings() const;

  static constexpr size_t kMostLayers = 64;

 private:
  const RunSetup& setup_;
  std::vector<double> norms_;             // of each parameter
  std::vector<std::vector<bool>> alive_;  // of each parameter: units that ever had a gradient
  double norm_ = std::numeric_limits<double>::quiet_NaN();
  int64_t rows_ = 0;  // seen by all probes
};

}  // namespace graphrun
