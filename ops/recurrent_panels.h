// Forward and backward passes of LSTM, and of GRU with linear_before_reset, over packed weights.
//
// Each thread owns hidden units with all their gates: a step is one product of the panel of those
// units (its weights stay in that thread's cache from step to step) with the cell applied to the
// result while it is in the first-level cache, and one barrier. Letters as in recurrent.h.
//
// Gates that training keeps are [T, D, B, 4 * H]: LSTM i, o, f, c; GRU z, r, h and H R^T + Rb.
#pragma once

#include "ops/recurrent.h"
#include "runtime/base/team.h"

namespace graphrun {

class RecurrentPanels {
 public:
  // Whether the passes serve that case: the usual activations, no clipping, whole batches, and
  // vector registers wide enough.
  static bool Takes(const RecurrentCase& k, bool lengths, bool peepholes);

  RecurrentPanels(const RecurrentCase& k, int threads);

  // Tensors of the operator, null where left out. `cells`: [T, D, B, H].
  struct Forward {
    const float *x = nullptr, *w = nullptr, *r = nullptr, *b = nullptr, *h0 = nullptr,
                *c0 = nullptr;
    float *y = nullptr, *y_h = nullptr, *y_c = nullptr, *gates = nullptr, *cells = nullptr;
  };
  // Elements of the weights, packed once and for all; Pack fills them (w, r, b of Forward).
  int64_t packed_size() const { return k_.directions * panels_ * panel_size_; }
  void Pack(const Forward& f, float* packed) const;
  // Elements of scratch memory of a forward pass; packed: whether it is given packed weights.
  int64_t forward_size(bool packed) const;
  void Run(const Forward& f, const float* packed, float* scratch) const;

  // y, gates, cells as the forward pass left them; d...: gradients, null where not given or not
  // asked for.
  struct Backward {
    const float *x = nullptr, *w = nullptr, *r = nullptr, *h0 = nullptr, *c0 = nullptr,
                *y = nullptr, *gates = nullptr, *cells = nullptr, *dy = nullptr, *dy_h = nullptr,
                *dy_c = nullptr;
    float *dx = nullptr, *dw = nullptr, *dr = nullptr, *db = nullptr, *dh0 = nullptr,
          *dc0 = nullptr;
  };
  int64_t backward_size() const;
  void Run(const Backward& g, float* scratch) const;

 private:
  int64_t Before(int64_t t, int d) const { return k_.is_reverse(d) ? t + 1 : t - 1; }
  int64_t At(int64_t s, int d) const { return k_.is_reverse(d) ? k_.steps - 1 - s : s; }
  int64_t StateAt(int64_t t, int d) const { return (t * k_.directions + d) * k_.batch * k_.hidden; }
  void PackUnits(const Forward& f, int d, int64_t panel, float* to) const;
  void ForwardDirection(Team& team, const Forward& f, int d, const float* packed,
                        float* scratch) const;
  void BackwardDirection(Team& team, const Backward& g, int d, float* scratch) const;
  void WeightGradients(Team& team, const Backward& g, int d, float* scratch) const;
  void InputGradient(Team& team, const Backward& g, int d, float* scratch) const;

  RecurrentCase k_;
  bool gru_;
  int64_t panels_, panel_size_;  // of the forward pass: 16 units each
  int64_t wide_;                 // panels of the backward pass: 64 units each
  int64_t wide_input_;           // panels of 64 inputs
  int forward_threads_, backward_threads_;
  bool ahead_;  // the input's products of all steps come first
};

}  // namespace graphrun
