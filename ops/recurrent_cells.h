// Forward and backward passes of RNN, GRU and LSTM for one direction, in float or double.
//
// Letters as in recurrent.h. Buffers are ordered by time; states have T + 1 slots: with direction
// forward step t reads slot t and writes t + 1, in reverse it reads t + 1 and writes t. A row whose
// sequence has ended keeps its state, and its Y is 0.
//
// Sources: ONNX's texts of LSTM, GRU and RNN; Hochreiter and Schmidhuber (1997), Cho et al. (2014).
#pragma once

#include <vector>

#include "ops/recurrent_math.h"

namespace graphrun {

// Inputs of all directions, as the node has them (null: left out).
template <typename S>
struct RecurrentInputs {
  const S *x = nullptr, *w = nullptr, *r = nullptr, *b = nullptr, *h0 = nullptr, *c0 = nullptr,
          *p = nullptr;
  const int32_t* lengths = nullptr;  // [B]
};

// What one pass of one direction works on; Bind lays it out in one block of memory.
template <typename S>
struct RecurrentWork {
  S* z;        // [T*B, G*H] what activations are applied to; backward: its gradient
  S* a;        // [T*B, G*H] activations; z itself where nothing is kept
  S* h;        // [T+1, B, H]
  S* c;        // [T+1, B, H]; LSTM
  S* extra;    // [T*B, H]; GRU: r * H, or H R^T + Rb with linear_before_reset; LSTM: h(C)
  S *dh, *dc;  // [B, H]; backward
  S* dextra;   // [B, H]; backward of GRU
  // Elements needed; with base, sets the pointers.
  int64_t Bind(const RecurrentCase& k, bool keep, S* base) {
    int64_t at = 0;
    const auto take = [&](int64_t n) {
      S* p = base == nullptr ? nullptr : base + at;
      at += (n + 15) / 16 * 16;
      return p;
    };
    const int64_t slots = (k.steps + 1) * k.batch * k.hidden, state = k.batch * k.hidden;
    z = take(k.rows() * k.width());
    a = keep ? take(k.rows() * k.width()) : z;
    h = take(slots);
    c = take(k.cell == Cell::kLstm ? slots : 0);
    extra = take(k.cell == Cell::kRnn ? 0 : k.rows() * k.hidden);
    dh = take(keep ? state : 0);
    dc = take(keep ? state : 0);
    dextra = take(keep ? state : 0);
    return at;
  }
};

template <typename S>
class RecurrentPass {
 public:
  RecurrentPass(const RecurrentCase& k, const RecurrentInputs<S>& in, int direction,
                const RecurrentWork<S>& work)
      : k_(k),
        in_(in),
        w_(work),
        d_(direction),
        reverse_(k.is_reverse(direction)),
        hidden_(k.hidden),
        width_(k.width()),
        state_(k.batch * k.hidden),
        clip_(static_cast<S>(k.clip)) {
    weights_ = in.w + d_ * width_ * k.input;
    recurrent_ = in.r + d_ * width_ * hidden_;
    bias_ = in.b == nullptr ? nullptr : in.b + d_ * 2 * width_;
    peep_ = in.p == nullptr ? nullptr : in.p + d_ * 3 * hidden_;
  }

  S* Previous(S* states, int64_t t) const { return states + (reverse_ ? t + 1 : t) * state_; }
  S* Next(S* states, int64_t t) const { return states + (reverse_ ? t : t + 1) * state_; }
  S* Last(S* states) const { return states + (reverse_ ? 0 : k_.steps) * state_; }

  void Forward() {
    InputProducts();
    S* start = w_.h + (reverse_ ? k_.steps : 0) * state_;
    Start(in_.h0 == nullptr ? nullptr : in_.h0 + d_ * state_, start);
    if (k_.cell == Cell::kLstm) {
      Start(in_.c0 == nullptr ? nullptr : in_.c0 + d_ * state_, w_.c + (start - w_.h));
    }
    for (int64_t s = 0; s < k_.steps; ++s) {
      const int64_t t = reverse_ ? k_.steps - 1 - s : s;
      if (k_.cell == Cell::kRnn) StepRnn(t);
      if (k_.cell == Cell::kGru) StepGru(t);
      if (k_.cell == Cell::kLstm) StepLstm(t);
    }
  }

  // Gradients of one direction. dy [T, D, B, H], dh [B, H] and dc [B, H] may be null. dx [T*B, I]
  // is added to where add_dx; dw, dr, db, dp, dh0, dc0 are this direction's and may be null.
  struct Gradients {
    const S *dy = nullptr, *dh = nullptr, *dc = nullptr;
    S *dx = nullptr, *dw = nullptr, *dr = nullptr, *db = nullptr, *dh0 = nullptr, *dc0 = nullptr,
      *dp = nullptr;
    bool add_dx = false;
  };

  // REQUIRES: Forward with kept activations.
  void Backward(const Gradients& g) {
    Start(g.dh, w_.dh);
    Start(g.dc, w_.dc);
    if (g.dp != nullptr) std::fill(g.dp, g.dp + 3 * hidden_, S(0));
    for (int64_t s = k_.steps; s-- > 0;) {
      const int64_t t = reverse_ ? k_.steps - 1 - s : s;
      if (g.dy != nullptr) {
        const S* dy = g.dy + (t * k_.directions + d_) * state_;
        EachRow([&](int64_t b) {
          if (!Active(t, b)) return;
          for (int64_t j = 0; j < hidden_; ++j) w_.dh[b * hidden_ + j] += dy[b * hidden_ + j];
        });
      }
      if (k_.cell == Cell::kRnn) BackRnn(t);
      if (k_.cell == Cell::kGru) BackGru(t);
      if (k_.cell == Cell::kLstm) BackLstm(t, g.dp);
    }
    WeightGradients(g);
  }

 private:
  bool Active(int64_t t, int64_t b) const { return in_.lengths == nullptr || t < in_.lengths[b]; }

  void Start(const S* given, S* to) const {
    if (given == nullptr) {
      std::fill(to, to + state_, S(0));
    } else {
      std::copy(given, given + state_, to);
    }
  }

  template <typename F>
  void EachRow(F f) const {
    ParallelFor(k_.batch, std::max<int64_t>(4096 / std::max<int64_t>(width_, 1), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t b = begin; b < end; ++b) f(b);
                });
  }

  // z = X W^T + biases that are added before any recurrence.
  void InputProducts() {
    ParallelFor(k_.rows(), std::max<int64_t>(16384 / std::max<int64_t>(width_, 1), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t i = begin; i < end; ++i) {
                    S* z = w_.z + i * width_;
                    if (bias_ == nullptr) {
                      std::fill(z, z + width_, S(0));
                      continue;
                    }
                    const bool late = k_.cell == Cell::kGru && k_.linear_before_reset;
                    const int64_t both = late ? 2 * hidden_ : width_;
                    for (int64_t j = 0; j < both; ++j) z[j] = bias_[j] + bias_[width_ + j];
                    for (int64_t j = both; j < width_; ++j) z[j] = bias_[j];
                  }
                });
    Gemm(false, true, k_.rows(), width_, k_.input, in_.x + 0, k_.input, weights_, k_.input, S(1),
         w_.z, width_);
  }

  // to += from R[first gates]^T, `gates` of them.
  void Recur(const S* from, int first, int gates, S* to, int64_t ld, S beta) const {
    Gemm(false, true, k_.batch, gates * hidden_, hidden_, from, hidden_,
         recurrent_ + first * hidden_ * hidden_, hidden_, beta, to, ld);
  }
  // to += from R[first gates].
  void RecurBack(const S* from, int64_t ld, int first, int gates, S* to, S beta) const {
    Gemm(false, false, k_.batch, hidden_, gates * hidden_, from, ld,
         recurrent_ + first * hidden_ * hidden_, hidden_, beta, to, hidden_);
  }

  const Activation& Act(int i) const { return k_.activation(d_, i); }
  S* Z(int64_t t) const { return w_.z + t * k_.batch * width_; }
  S* A(int64_t t) const { return w_.a + t * k_.batch * width_; }
  S* Extra(int64_t t) const { return w_.extra + t * state_; }

  // An ended row keeps its state.
  bool Keep(int64_t t, int64_t b, S* states) const {
    if (Active(t, b)) return false;
    const S* from = Previous(states, t) + b * hidden_;
    std::copy(from, from + hidden_, Next(states, t) + b * hidden_);
    return true;
  }

  void StepRnn(int64_t t) {
    S* z = Z(t);
    Recur(Previous(w_.h, t), 0, 1, z, width_, S(1));
    EachRow([&](int64_t b) {
      if (Keep(t, b, w_.h)) return;
      S* a = A(t) + b * hidden_;
      Activate(Act(0), clip_, z + b * hidden_, a, hidden_);
      std::copy(a, a + hidden_, Next(w_.h, t) + b * hidden_);
    });
  }

  void StepLstm(int64_t t) {
    const int64_t n = hidden_;
    Recur(Previous(w_.h, t), 0, 4, Z(t), width_, S(1));
    EachRow([&](int64_t b) {
      if (Keep(t, b, w_.h)) {
        Keep(t, b, w_.c);
        return;
      }
      S *z = Z(t) + b * width_, *a = A(t) + b * width_;
      const S* before = Previous(w_.c, t) + b * n;
      S *c = Next(w_.c, t) + b * n, *h = Next(w_.h, t) + b * n, *squashed = Extra(t) + b * n;
      if (peep_ != nullptr) {
        for (int64_t j = 0; j < n; ++j) z[j] += peep_[j] * before[j];
        for (int64_t j = 0; j < n; ++j) z[2 * n + j] += peep_[2 * n + j] * before[j];
      }
      S *in = a, *out = a + n, *forget = a + 2 * n, *fresh = a + 3 * n;
      Activate(Act(0), clip_, z, in, n);
      if (k_.coupled) {
        for (int64_t j = 0; j < n; ++j) forget[j] = 1 - in[j];
      } else {
        Activate(Act(0), clip_, z + 2 * n, forget, n);
      }
      Activate(Act(1), clip_, z + 3 * n, fresh, n);
      for (int64_t j = 0; j < n; ++j) c[j] = forget[j] * before[j] + in[j] * fresh[j];
      if (peep_ != nullptr) {
        for (int64_t j = 0; j < n; ++j) z[n + j] += peep_[n + j] * c[j];
      }
      Activate(Act(0), clip_, z + n, out, n);
      Activate(Act(2), S(0), c, squashed, n);
      for (int64_t j = 0; j < n; ++j) h[j] = out[j] * squashed[j];
    });
  }

  void StepGru(int64_t t) {
    const int64_t n = hidden_;
    const S* before = Previous(w_.h, t);
    const bool late = k_.linear_before_reset;
    Recur(before, 0, 2, Z(t), width_, S(1));
    if (late) Recur(before, 2, 1, Extra(t), n, S(0));
    EachRow([&](int64_t b) {
      S *z = Z(t) + b * width_, *a = A(t) + b * width_, *e = Extra(t) + b * n;
      Activate(Act(0), clip_, z, a, 2 * n);
      if (!late) {
        for (int64_t j = 0; j < n; ++j) e[j] = a[n + j] * before[b * n + j];
        return;
      }
      if (bias_ != nullptr) {
        for (int64_t j = 0; j < n; ++j) e[j] += bias_[width_ + 2 * n + j];
      }
      for (int64_t j = 0; j < n; ++j) z[2 * n + j] += a[n + j] * e[j];
    });
    if (!late) Recur(Extra(t), 2, 1, Z(t) + 2 * n, width_, S(1));
    EachRow([&](int64_t b) {
      if (Keep(t, b, w_.h)) return;
      S *z = Z(t) + b * width_, *a = A(t) + b * width_, *h = Next(w_.h, t) + b * n;
      Activate(Act(1), clip_, z + 2 * n, a + 2 * n, n);
      for (int64_t j = 0; j < n; ++j) h[j] = (1 - a[j]) * a[2 * n + j] + a[j] * before[b * n + j];
    });
  }

  // The gradient of z is 0 for an ended row.
  bool Ended(int64_t t, int64_t b) const {
    if (Active(t, b)) return false;
    S* z = Z(t) + b * width_;
    std::fill(z, z + width_, S(0));
    if (k_.cell == Cell::kGru)
      std::fill(Extra(t) + b * hidden_, Extra(t) + (b + 1) * hidden_, S(0));
    return true;
  }

  // d = value * slope of activation `i` at gate `gate` of row (t, b), written over its z.
  template <typename F>
  void GateGradient(int64_t t, int64_t b, int gate, int activation, F value) const {
    S* z = Z(t) + b * width_ + gate * hidden_;
    const S* a = A(t) + b * width_ + gate * hidden_;
    constexpr int64_t kBlock = 128;
    S d[kBlock];
    for (int64_t first = 0; first < hidden_; first += kBlock) {
      const int64_t n = std::min(kBlock, hidden_ - first);
      for (int64_t j = 0; j < n; ++j) d[j] = value(first + j);
      Differentiate(Act(activation), clip_, z + first, a + first, d, n);
      std::copy(d, d + n, z + first);
    }
  }

  void BackRnn(int64_t t) {
    EachRow([&](int64_t b) {
      if (Ended(t, b)) return;
      S* dh = w_.dh + b * hidden_;
      GateGradient(t, b, 0, 0, [&](int64_t j) { return dh[j]; });
      std::fill(dh, dh + hidden_, S(0));
    });
    RecurBack(Z(t), width_, 0, 1, w_.dh, S(1));
  }

  void BackLstm(int64_t t, S* dp) {
    const int64_t n = hidden_;
    EachRow([&](int64_t b) {
      if (Ended(t, b)) return;
      const S* a = A(t) + b * width_;
      const S *in = a, *out = a + n, *forget = a + 2 * n, *fresh = a + 3 * n;
      const S* before = Previous(w_.c, t) + b * n;
      const S *c = Next(w_.c, t) + b * n, *squashed = Extra(t) + b * n;
      S *dh = w_.dh + b * n, *dc = w_.dc + b * n, *dz = Z(t) + b * width_;
      GateGradient(t, b, 1, 0, [&](int64_t j) { return dh[j] * squashed[j]; });
      // dC += dh * o * h'(C), through h's output.
      for (int64_t j = 0; j < n; ++j) dh[j] *= out[j];
      Differentiate(Act(2), S(0), c, squashed, dh, n);
      for (int64_t j = 0; j < n; ++j) dc[j] += dh[j];
      std::fill(dh, dh + n, S(0));
      if (peep_ != nullptr) {
        for (int64_t j = 0; j < n; ++j) dc[j] += dz[n + j] * peep_[n + j];
      }
      if (k_.coupled) {
        GateGradient(t, b, 0, 0, [&](int64_t j) { return dc[j] * (fresh[j] - before[j]); });
        std::fill(dz + 2 * n, dz + 3 * n, S(0));
      } else {
        GateGradient(t, b, 0, 0, [&](int64_t j) { return dc[j] * fresh[j]; });
        GateGradient(t, b, 2, 0, [&](int64_t j) { return dc[j] * before[j]; });
      }
      GateGradient(t, b, 3, 1, [&](int64_t j) { return dc[j] * in[j]; });
      for (int64_t j = 0; j < n; ++j) dc[j] *= forget[j];
      if (peep_ != nullptr) {
        for (int64_t j = 0; j < n; ++j)
          dc[j] += dz[j] * peep_[j] + dz[2 * n + j] * peep_[2 * n + j];
      }
    });
    if (dp != nullptr) {
      for (int64_t b = 0; b < k_.batch; ++b) {
        const S* dz = Z(t) + b * width_;
        const S *before = Previous(w_.c, t) + b * n, *c = Next(w_.c, t) + b * n;
        for (int64_t j = 0; j < n; ++j) dp[j] += dz[j] * before[j];
        for (int64_t j = 0; j < n; ++j) dp[n + j] += dz[n + j] * c[j];
        for (int64_t j = 0; j < n; ++j) dp[2 * n + j] += dz[2 * n + j] * before[j];
      }
    }
    RecurBack(Z(t), width_, 0, 4, w_.dh, S(1));
  }

  void BackGru(int64_t t) {
    const int64_t n = hidden_;
    const S* states = Previous(w_.h, t);
    const bool late = k_.linear_before_reset;
    EachRow([&](int64_t b) {
      if (Ended(t, b)) return;
      const S* a = A(t) + b * width_;
      const S* before = states + b * n;
      S *dh = w_.dh + b * n, *dz = Z(t) + b * width_;
      GateGradient(t, b, 0, 0, [&](int64_t j) { return dh[j] * (before[j] - a[2 * n + j]); });
      GateGradient(t, b, 2, 1, [&](int64_t j) { return dh[j] * (1 - a[j]); });
      for (int64_t j = 0; j < n; ++j) dh[j] *= a[j];
      if (!late) return;
      S* q = Extra(t) + b * n;
      GateGradient(t, b, 1, 0, [&](int64_t j) { return dz[2 * n + j] * q[j]; });
      for (int64_t j = 0; j < n; ++j) q[j] = dz[2 * n + j] * a[n + j];
    });
    if (late) {
      RecurBack(Extra(t), n, 2, 1, w_.dh, S(1));
    } else {
      RecurBack(Z(t) + 2 * n, width_, 2, 1, w_.dextra, S(0));
      EachRow([&](int64_t b) {
        if (!Active(t, b)) return;
        const S *a = A(t) + b * width_, *du = w_.dextra + b * n, *before = states + b * n;
        S* dh = w_.dh + b * n;
        GateGradient(t, b, 1, 0, [&](int64_t j) { return du[j] * before[j]; });
        for (int64_t j = 0; j < n; ++j) dh[j] += du[j] * a[n + j];
      });
    }
    RecurBack(Z(t), width_, 0, 2, w_.dh, S(1));
  }

  void ColumnSums(const S* from, int64_t ld, int64_t columns, S* to) const {
    std::fill(to, to + columns, S(0));
    for (int64_t i = 0; i < k_.rows(); ++i) {
      for (int64_t j = 0; j < columns; ++j) to[j] += from[i * ld + j];
    }
  }

  void WeightGradients(const Gradients& g) {
    const int64_t rows = k_.rows(), n = hidden_;
    const S* dz = w_.z;
    if (g.dx != nullptr) {
      Gemm(false, false, rows, k_.input, width_, dz, width_, weights_, k_.input,
           S(g.add_dx ? 1 : 0), g.dx, k_.input);
    }
    if (g.dw != nullptr) {
      Gemm(true, false, width_, k_.input, rows, dz, width_, in_.x, k_.input, S(0), g.dw, k_.input);
    }
    const bool gru = k_.cell == Cell::kGru;
    if (g.dr != nullptr) {
      const int64_t shared = gru ? 2 * n : width_;
      const S* before = Previous(w_.h, 0);
      Gemm(true, false, shared, n, rows, dz, width_, before, n, S(0), g.dr, n);
      S* rest = g.dr + shared * n;
      if (gru && k_.linear_before_reset) {
        Gemm(true, false, n, n, rows, w_.extra, n, before, n, S(0), rest, n);
      } else if (gru) {
        Gemm(true, false, n, n, rows, dz + 2 * n, width_, w_.extra, n, S(0), rest, n);
      }
    }
    if (g.db != nullptr) {
      ColumnSums(dz, width_, width_, g.db);
      std::copy(g.db, g.db + width_, g.db + width_);
      if (gru && k_.linear_before_reset) ColumnSums(w_.extra, n, n, g.db + width_ + 2 * n);
    }
    if (g.dh0 != nullptr) std::copy(w_.dh, w_.dh + state_, g.dh0);
    if (g.dc0 != nullptr) std::copy(w_.dc, w_.dc + state_, g.dc0);
  }

  const RecurrentCase& k_;
  const RecurrentInputs<S>& in_;
  const RecurrentWork<S>& w_;
  const int d_;
  const bool reverse_;
  const int64_t hidden_, width_, state_;
  const S clip_;
  const S *weights_, *recurrent_, *bias_, *peep_;
};

}  // namespace graphrun
