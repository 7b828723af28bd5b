// Backward passes of the cells of recurrent_panels.h, over packed weights, in f32 or with bf16
// tensors (whose sums and gradients between steps are f32).
//
// Each thread owns hidden units: a step is the gates' derivatives of its units, one barrier, and
// the product of all gates' gradients with its panels of R. After some steps follow the products of
// its units' gradients with what these steps read, which add to the weights' gradients.
#pragma once

#include "ops/recurrent.h"
#include "runtime/base/numbers.h"
#include "runtime/base/team.h"

namespace graphrun {

// T: float or BFloat16, the element type of all tensors.
template <typename T>
class RecurrentGradPanels {
 public:
  // REQUIRES: RecurrentPanels<T>::Takes the case.
  RecurrentGradPanels(const RecurrentCase& k, int threads);

  // y, gates, cells as the forward pass left them; d...: gradients, null where not given or not
  // asked for.
  struct Backward {
    const T *x = nullptr, *w = nullptr, *r = nullptr, *h0 = nullptr, *c0 = nullptr, *y = nullptr,
            *gates = nullptr, *cells = nullptr, *dy = nullptr, *dy_h = nullptr, *dy_c = nullptr;
    T *dx = nullptr, *dw = nullptr, *dr = nullptr, *db = nullptr, *dh0 = nullptr, *dc0 = nullptr;
  };
  // Bytes of scratch memory, aligned to 64 bytes; dx: whether X's gradient is asked for.
  int64_t scratch_bytes(bool dx) const;
  void Run(const Backward& g, void* scratch) const;

 private:
  // "Slots" are the four gradients that a unit has: LSTM i, o, f, c; GRU h, z, r, and h's share
  // that goes through R.
  struct Work {
    T* weights;       // R in panels of 64 units: [slots of R * spread, 64] each
    float *dh, *dc;   // [panels, B, 64]
    float* sums;      // [panels, 4, 64]: slots summed over rows
    T* rows;          // [T or 2, B, row]: the slots of a step side by side
    T* columns;       // [4, H / 16, rows of a block, 16]: the same for products over rows
    T* operands;      // [2, panels, rows of a block, 64]: H before each step, then X
    float* products;  // [panels, 4, H / 16, 16, 64]: dR and dW where they cannot hold sums
    T* input;         // W in panels of 64 inputs: [slots of W * spread, 64] each
    int64_t bytes;
  };
  Work WorkAt(bool dx, void* base) const;
  int64_t Before(int64_t t, int d) const { return k_.is_reverse(d) ? t + 1 : t - 1; }
  int64_t At(int64_t s, int d) const { return k_.is_reverse(d) ? k_.steps - 1 - s : s; }
  int64_t StateAt(int64_t t, int d) const { return (t * k_.directions + d) * k_.batch * k_.hidden; }
  int64_t block_rows() const { return block_ * step_rows_; }
  // Where step s, which come from the last to the first, stands in its block.
  int64_t InBlock(int64_t s) const { return (k_.steps - 1 - s) % block_; }
  T* OperandsOf(int64_t s, const Work& m) const {
    return m.operands + (k_.steps - 1 - s) / block_ % 2 * (wide_ + wide_input_) * block_rows() * 64;
  }
  void Start(Team& team, const Backward& g, int d, const Work& m) const;
  void Derivatives(Team& team, const Backward& g, int d, int64_t s, T* rows, const Work& m) const;
  void Finish(Team& team, const Backward& g, int d, const Work& m) const;
  void PackOperands(Team& team, const Backward& g, int d, int64_t s, const Work& m) const;
  void WeightGradients(Team& team, const Backward& g, int d, int64_t s, const Work& m) const;
  void InputGradient(Team& team, const Backward& g, int d, const Work& m) const;

  RecurrentCase k_;
  bool gru_;
  int64_t chunks_, spread_;      // of 16 units; units with those that fill the last chunk
  int64_t row_;                  // 4 * spread and a cache line: rows must not share a cache's sets
  int64_t wide_, wide_input_;    // panels of 64 units, of 64 inputs
  int64_t step_rows_;            // rows of a step, with one of zeros where rows go in pairs
  int64_t block_;                // steps between products for the weights' gradients
  int first_of_r_, slots_of_r_;  // R's slots; W's are the first k_.gates
  int threads_;
};

extern template class RecurrentGradPanels<float>;
extern template class RecurrentGradPanels<BFloat16>;

}  // namespace graphrun
