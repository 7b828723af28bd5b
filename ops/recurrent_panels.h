// Forward passes of LSTM, and of GRU with linear_before_reset, over packed weights, in f32 or with
// bf16 tensors (whose sums, gates' arithmetic and cells between steps are f32).
//
// Each thread owns hidden units with all their gates: a step is one product of the panel of those
// units (its weights stay in that thread's cache from step to step) with the cell applied to the
// result while it is in the first-level cache, and one barrier. Letters as in recurrent.h.
//
// Gates that training keeps are [T, D, B, 4 * H]: LSTM i, o, f, c; GRU z, r, h and H R^T + Rb.
#pragma once

#include "ops/recurrent.h"
#include "runtime/base/numbers.h"
#include "runtime/base/team.h"

namespace graphrun {

// T: float or BFloat16, the element type of all tensors.
template <typename T>
class RecurrentPanels {
 public:
  // Whether the passes serve that case, forward and backward: the usual activations, no clipping,
  // whole batches, and instructions for products of T.
  static bool Takes(const RecurrentCase& k, bool lengths, bool peepholes);

  RecurrentPanels(const RecurrentCase& k, int threads);

  // Tensors of the operator, null where left out. `cells`: [T, D, B, H].
  struct Forward {
    const T *x = nullptr, *w = nullptr, *r = nullptr, *b = nullptr, *h0 = nullptr, *c0 = nullptr;
    T *y = nullptr, *y_h = nullptr, *y_c = nullptr, *gates = nullptr, *cells = nullptr;
  };
  // Bytes of the weights, packed once and for all; Pack fills them (w, r, b of Forward).
  int64_t packed_bytes() const;
  void Pack(const Forward& f, void* packed) const;
  // Bytes of scratch memory of a pass; packed: whether it is given packed weights. All memory is
  // aligned to 64 bytes.
  int64_t scratch_bytes(bool packed) const;
  void Run(const Forward& f, const void* packed, void* scratch) const;

 private:
  struct Weights {
    float* biases;  // [D, panels, 64]
    T* panels;      // [D, panels] panels of W, then R
    int64_t bytes;
  };
  struct Work {
    T* states;     // [2, B, H]
    float* kept;   // [panels, B, 16]: C, or for GRU H, of the step before
    float* ahead;  // [panels, T * B, 64]
    int64_t bytes;
  };
  Weights WeightsAt(void* base) const;
  Work WorkAt(void* base) const;
  int64_t At(int64_t s, int d) const { return k_.is_reverse(d) ? k_.steps - 1 - s : s; }
  int64_t StateAt(int64_t t, int d) const { return (t * k_.directions + d) * k_.batch * k_.hidden; }
  void PackUnits(const Forward& f, int d, int64_t panel, const Weights& to) const;
  void Direction(Team& team, const Forward& f, int d, const Weights& weights,
                 const Work& work) const;

  RecurrentCase k_;
  bool gru_;
  int64_t panels_, panel_size_;  // 16 units each
  int64_t input_rows_;           // of a panel, that belong to W
  int threads_;
  bool ahead_;  // the input's products of all steps come first
};

extern template class RecurrentPanels<float>;
extern template class RecurrentPanels<BFloat16>;

}  // namespace graphrun
