// What RNN, GRU and LSTM nodes share: sizes, activations, inference.
//
// Letters: X [T, B, I], Y [T, D, B, H], W [D, G*H, I], R [D, G*H, H]; G gates: 1 for RNN, 3 (z, r,
// h) for GRU, 4 (i, o, f, c) for LSTM; D directions.
#pragma once

#include <vector>

#include "runtime/op/infer_context.h"
#include "runtime/op/kernel.h"
#include "runtime/op/op_def.h"

namespace graphrun {

enum class Cell { kRnn, kGru, kLstm };

struct Activation {
  enum class Kind {
    kSigmoid,
    kTanh,
    kRelu,
    kAffine,
    kLeakyRelu,
    kThresholdedRelu,
    kScaledTanh,
    kHardSigmoid,
    kElu,
    kSoftsign,
    kSoftplus
  };
  Kind kind = Kind::kSigmoid;
  float alpha = 0, beta = 0;
};

// The activations of a node: for each direction f; f, g; or f, g, h.
absl::StatusOr<std::vector<Activation>> ActivationsOf(const NodeContext& c, Cell cell);

// The same as nodes.
Expr Apply(const Activation& activation, Expr x);

int GatesOf(Cell cell);
int DirectionsOf(const NodeContext& c);
// Which input holds the peephole weights, the initial state of the cell, ...: -1 where the cell has
// none.
inline constexpr int kInputH = 5, kInputC = 6, kInputP = 7;

struct RecurrentCase {
  Cell cell = Cell::kRnn;
  int64_t steps = 0, batch = 0, input = 0, hidden = 0;
  int gates = 1, directions = 1;
  bool first_is_reverse = false;
  std::vector<Activation> activations;
  double clip = 0;  // 0: none
  bool coupled = false, linear_before_reset = false;

  RecurrentCase() = default;
  // REQUIRES: inference has passed. x is the number of input X; W, R, ... follow it.
  RecurrentCase(PrepareContext& c, Cell cell, int x);
  bool is_reverse(int direction) const { return direction == 1 || first_is_reverse; }
  const Activation& activation(int direction, int i) const {
    return activations[static_cast<size_t>(direction) * activations.size() /
                           static_cast<size_t>(directions) +
                       static_cast<size_t>(i)];
  }
  int64_t width() const { return gates * hidden; }
  int64_t rows() const { return steps * batch; }
};

// Whether `node`, a cell or the operator that keeps its gates or the gradient that reads them, is
// of the kind that kernels over packed weights serve (recurrent_panels.h), as far as attributes
// tell.
bool IsUsualCell(const Node& node, const OpDef& def, Cell cell);

// Checks attributes and sizes; x as above. Gives B, T, H with layout 0 in mind.
absl::Status InferRecurrent(InferContext& c, Cell cell);

}  // namespace graphrun
