#include "ops/recurrent_grad_panels.h"

#include "ops/recurrent_units.h"

namespace graphrun {
namespace {

constexpr int64_t kRows = 24;  // that lie in the first-level cache after a product

// 16 units of one row.
struct BackRow {
  alignas(64) float gates[4][kUnits], before[kUnits], c[kUnits];  // before: C or H before the step
  float *dh, *dc, *sums;                                          // sums: [4, 64]
};

// dz: where slot i's gradients go, at dz + i * ld.
void LstmBack(const BackRow& r, float* dz, int64_t ld) {
  GR_INDEPENDENT
  for (int64_t j = 0; j < kUnits; ++j) {
    const float in = r.gates[0][j], out = r.gates[1][j], forget = r.gates[2][j];
    const float fresh = r.gates[3][j], squashed = GateTanh(r.c[j]), dh = r.dh[j];
    const float dc = r.dc[j] + dh * out * (1 - squashed * squashed);
    const float a = dc * fresh * in * (1 - in), b = dh * squashed * out * (1 - out);
    const float c = dc * r.before[j] * forget * (1 - forget), d = dc * in * (1 - fresh * fresh);
    r.dc[j] = dc * forget;
    dz[j] = a, dz[ld + j] = b, dz[2 * ld + j] = c, dz[3 * ld + j] = d;
    r.sums[j] += a, r.sums[kPanel + j] += b, r.sums[2 * kPanel + j] += c;
    r.sums[3 * kPanel + j] += d;
  }
}

void GruBack(const BackRow& r, float* dz, int64_t ld) {
  GR_INDEPENDENT
  for (int64_t j = 0; j < kUnits; ++j) {
    const float update = r.gates[0][j], reset = r.gates[1][j], fresh = r.gates[2][j];
    const float dh = r.dh[j], a = dh * (1 - update) * (1 - fresh * fresh);
    const float b = dh * (r.before[j] - fresh) * update * (1 - update);
    const float c = a * r.gates[3][j] * reset * (1 - reset), d = a * reset;
    r.dh[j] = dh * update;
    dz[j] = a, dz[ld + j] = b, dz[2 * ld + j] = c, dz[3 * ld + j] = d;
    r.sums[j] += a, r.sums[kPanel + j] += b, r.sums[2 * kPanel + j] += c;
    r.sums[3 * kPanel + j] += d;
  }
}

// Which gate of W and of R the slots belong to; -1: none.
constexpr int kLstmGates[4] = {0, 1, 2, 3};
constexpr int kGruOfW[4] = {2, 0, 1, -1}, kGruOfR[4] = {-1, 0, 1, 2};

}  // namespace

template <typename T>
RecurrentGradPanels<T>::RecurrentGradPanels(const RecurrentCase& k, int threads)
    : k_(k),
      gru_(k.cell == Cell::kGru),
      chunks_((k.hidden + kUnits - 1) / kUnits),
      spread_(chunks_ * kUnits),
      row_(4 * spread_ + 64 / int64_t{sizeof(T)}),
      wide_((k.hidden + kPanel - 1) / kPanel),
      wide_input_((k.input + kPanel - 1) / kPanel),
      step_rows_(RoundedUp(k.batch, PanelsOf<T>::kTogether)),
      block_(std::clamp<int64_t>(PanelsOf<T>::kDepth / step_rows_, 1, k.steps)),
      first_of_r_(gru_ ? 1 : 0),
      slots_of_r_(k.gates) {
  const int64_t step = 2 * k.batch * k.hidden * 4 * k.hidden;
  threads_ = step < kStepGrain ? 1 : static_cast<int>(std::min<int64_t>(threads, wide_));
}

template <typename T>
typename RecurrentGradPanels<T>::Work RecurrentGradPanels<T>::WorkAt(bool dx, void* base) const {
  Layout64 layout(base);
  Work m;
  const int64_t panels = wide_ + wide_input_;
  m.weights = layout.Take<T>(wide_ * slots_of_r_ * spread_ * kPanel);
  m.dh = layout.Take<float>(wide_ * k_.batch * kPanel);
  m.dc = layout.Take<float>(wide_ * k_.batch * kPanel);
  m.sums = layout.Take<float>(wide_ * 4 * kPanel);
  m.rows = layout.Take<T>((dx ? k_.steps : 2) * k_.batch * row_);
  m.columns = layout.Take<T>(4 * block_rows() * spread_);
  m.operands = layout.Take<T>(2 * panels * block_rows() * kPanel);
  m.products = layout.Take<float>(panels * 4 * spread_ * kPanel);
  m.input = layout.Take<T>(dx ? wide_input_ * k_.gates * spread_ * kPanel : 0);
  m.bytes = layout.bytes();
  return m;
}

template <typename T>
int64_t RecurrentGradPanels<T>::scratch_bytes(bool dx) const {
  return WorkAt(dx, nullptr).bytes;
}

template <typename T>
void RecurrentGradPanels<T>::Run(const Backward& g, void* scratch) const {
  using Factor = typename PanelsOf<T>::Factor;
  constexpr int64_t kDepth = PanelsOf<T>::kDepth;
  const bool dx = g.dx != nullptr;
  const int64_t batch = k_.batch, depth = slots_of_r_ * spread_;
  RunTeam(threads_, [&](Team& team) {
    const Work m = WorkAt(dx, scratch);
    for (int d = 0; d < k_.directions; ++d) {
      Start(team, g, d, m);
      for (int64_t s = k_.steps; s-- > 0;) {
        // A step that others still read is two barriers away from being written again.
        T* rows = m.rows + (dx ? At(s, d) : s % 2) * batch * row_;
        if (InBlock(s) == 0) PackOperands(team, g, d, s, m);
        Derivatives(team, g, d, s, rows, m);
        team.Wait();
        const bool wanted = s > 0 || g.dh0 != nullptr;
        for (int64_t p = team.begin(wide_); wanted && p < team.end(wide_); ++p) {
          float* to = m.dh + p * batch * kPanel;
          for (int64_t at = 0; at < depth; at += kDepth) {
            const Factor factor{rows + first_of_r_ * spread_ + at, row_,
                                std::min(kDepth, depth - at)};
            PanelsOf<T>::Product(batch, {factor}, m.weights + (p * depth + at) * kPanel,
                                 gru_ || at > 0 ? to : nullptr, kPanel, to, kPanel);
          }
        }
        if (InBlock(s) == block_ - 1 || s == 0) WeightGradients(team, g, d, s, m);
      }
      Finish(team, g, d, m);
      if (dx) InputGradient(team, g, d, m);
      team.Wait();
    }
  });
}

// Packs this thread's panels of R and starts its gradients of states.
template <typename T>
void RecurrentGradPanels<T>::Start(Team& team, const Backward& g, int d, const Work& m) const {
  const int64_t h = k_.hidden, batch = k_.batch;
  for (int64_t p = team.begin(wide_); p < team.end(wide_); ++p) {
    const int64_t first = p * kPanel, n = std::min(kPanel, h - first);
    for (int slot = 0; slot < slots_of_r_; ++slot) {
      T* to = m.weights + (p * slots_of_r_ + slot) * spread_ * kPanel;
      PanelsOf<T>::PackRows(g.r + (d * k_.gates + slot) * h * h + first, h, n, h, to);
      const int64_t packed = RoundedUp(h, PanelsOf<T>::kTogether);
      std::fill(to + packed * kPanel, to + spread_ * kPanel, T(0));
    }
    const auto start = [&](const T* given, float* to) {
      std::fill(to, to + batch * kPanel, 0.f);
      for (int64_t b = 0; given != nullptr && b < batch; ++b) {
        const T* row = given + (d * batch + b) * h + first;
        for (int64_t j = 0; j < n; ++j) to[b * kPanel + j] = static_cast<float>(row[j]);
      }
    };
    start(g.dy_h, m.dh + p * batch * kPanel);
    start(g.dy_c, m.dc + p * batch * kPanel);
    std::fill(m.sums + p * 4 * kPanel, m.sums + (p + 1) * 4 * kPanel, 0.f);
  }
}

// The gates' gradients of this thread's units in step s.
template <typename T>
void RecurrentGradPanels<T>::Derivatives(Team& team, const Backward& g, int d, int64_t s, T* rows,
                                         const Work& m) const {
  constexpr int64_t kTogether = PanelsOf<T>::kTogether;
  const int64_t h = k_.hidden, batch = k_.batch, t = At(s, d), state = StateAt(t, d);
  const T *values = gru_ ? g.y : g.cells, *start = gru_ ? g.h0 : g.c0, *before = nullptr;
  if (s > 0) {
    before = values + StateAt(Before(t, d), d);
  } else if (start != nullptr) {
    before = start + d * batch * h;
  }
  // [slot, row, unit]
  alignas(64) float dz[4 * kTogether * kUnits];
  const int64_t first = team.begin(wide_) * kPanel, last = std::min(team.end(wide_) * kPanel, h);
  for (int64_t unit = first; unit < last; unit += kUnits) {
    const int64_t p = unit / kPanel, within = unit % kPanel, n = std::min(kUnits, h - unit);
    T* columns = m.columns + (unit / kUnits * block_rows() + InBlock(s) * step_rows_) * kUnits;
    BackRow row;
    row.sums = m.sums + p * 4 * kPanel + within;
    for (int64_t b = 0; b < batch; b += kTogether) {
      for (int64_t i = 0; i < kTogether; ++i) {
        float* to = dz + i * kUnits;
        if (b + i == batch) {
          for (int slot = 0; slot < 4; ++slot)
            std::fill_n(to + slot * kTogether * kUnits, kUnits, 0.f);
          continue;
        }
        const int64_t at = (b + i) * h + unit;
        const T* gates = g.gates + 4 * (state + (b + i) * h) + unit;
        for (int gate = 0; gate < 4; ++gate) LoadUnits(gates + gate * h, n, row.gates[gate]);
        LoadUnits(before == nullptr ? nullptr : before + at, before == nullptr ? 0 : n, row.before);
        row.dh = m.dh + (p * batch + b + i) * kPanel + within;
        row.dc = m.dc + (p * batch + b + i) * kPanel + within;
        if (g.dy != nullptr) {
          alignas(64) float dy[kUnits];
          LoadUnits(g.dy + state + at, n, dy);
          for (int64_t j = 0; j < kUnits; ++j) row.dh[j] += dy[j];
        }
        if (gru_) {
          GruBack(row, to, kTogether * kUnits);
        } else {
          LoadUnits(g.cells + state + at, n, row.c);
          LstmBack(row, to, kTogether * kUnits);
        }
        for (int slot = 0; slot < 4; ++slot) {
          StoreUnits(to + slot * kTogether * kUnits, kUnits,
                     rows + (b + i) * row_ + slot * spread_ + unit);
        }
      }
      for (int slot = 0; slot < 4; ++slot) {
        StoreTogether(dz + slot * kTogether * kUnits,
                      columns + (slot * chunks_ * block_rows() + b) * kUnits);
      }
    }
  }
}

// Biases' and initial states' gradients.
template <typename T>
void RecurrentGradPanels<T>::Finish(Team& team, const Backward& g, int d, const Work& m) const {
  const int64_t h = k_.hidden, batch = k_.batch, width = k_.width();
  for (int64_t p = team.begin(wide_); p < team.end(wide_); ++p) {
    const int64_t first = p * kPanel, n = std::min(kPanel, h - first);
    const auto put = [](const float* from, int64_t count, T* to) {
      for (int64_t j = 0; j < count; ++j) to[j] = T(from[j]);
    };
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t from = (p * batch + b) * kPanel, to = (d * batch + b) * h + first;
      if (g.dh0 != nullptr) put(m.dh + from, n, g.dh0 + to);
      if (g.dc0 != nullptr) put(m.dc + from, n, g.dc0 + to);
    }
    for (int slot = 0; g.db != nullptr && slot < 4; ++slot) {
      const float* sum = m.sums + (p * 4 + slot) * kPanel;
      const int of_w = gru_ ? kGruOfW[slot] : slot, of_r = gru_ ? kGruOfR[slot] : slot;
      T* to = g.db + 2 * d * width + first;
      if (of_w >= 0) put(sum, n, to + of_w * h);
      if (of_r >= 0) put(sum, n, to + width + of_r * h);
    }
  }
}

// What the steps of the block that begins with step s read. It is written while others may still
// read the block before.
template <typename T>
void RecurrentGradPanels<T>::PackOperands(Team& team, const Backward& g, int d, int64_t s,
                                          const Work& m) const {
  const int64_t h = k_.hidden, batch = k_.batch, panels = wide_ + wide_input_;
  for (int64_t p = team.begin(panels); p < team.end(panels); ++p) {
    T* to = OperandsOf(s, m) + p * block_rows() * kPanel;
    const int64_t columns = p < wide_ ? h : k_.input, first = (p < wide_ ? p : p - wide_) * kPanel;
    const int64_t n = std::min(kPanel, columns - first), last = std::max<int64_t>(s - block_, -1);
    for (int64_t now = s; now > last; --now, to += step_rows_ * kPanel) {
      const int64_t t = At(now, d);
      const T* from = nullptr;
      if (p >= wide_) {
        from = g.x + t * batch * columns;
      } else if (now > 0) {
        from = g.y + StateAt(Before(t, d), d);
      } else if (g.h0 != nullptr) {
        from = g.h0 + d * batch * h;
      }
      if (from == nullptr) {
        std::fill(to, to + step_rows_ * kPanel, T(0));
      } else {
        PanelsOf<T>::PackRows(from + first, columns, n, batch, to);
      }
    }
  }
}

// The share of the block that ends with step s in the rows of dR and dW that belong to this
// thread's units, so many rows of the sums at a time that the operand stays in the first-level
// cache. Sums are f32: in the gradient itself where it can hold them, else in m.products.
template <typename T>
void RecurrentGradPanels<T>::WeightGradients(Team& team, const Backward& g, int d, int64_t s,
                                             const Work& m) const {
  using Factor = typename PanelsOf<T>::Factor;
  constexpr int64_t kTogether = PanelsOf<T>::kTogether, kDepth = PanelsOf<T>::kDepth;
  constexpr int64_t kChunks = kPanel / kUnits;
  const int64_t h = k_.hidden, rows = (InBlock(s) + 1) * step_rows_;
  const int64_t begin = team.begin(wide_) * kChunks;
  const int64_t count = std::min(team.end(wide_) * kChunks, chunks_) - begin;
  const bool first_block = s + block_ >= k_.steps;
  for (int64_t depth = 0; depth < rows; depth += kDepth) {
    const int64_t k = std::min(kDepth, rows - depth);
    const bool starts = first_block && depth == 0, ends = s == 0 && depth + k == rows;
    for (int64_t p = 0; p < wide_ + wide_input_; ++p) {
      const bool of_r = p < wide_;
      const int64_t columns = of_r ? h : k_.input, first = (of_r ? p : p - wide_) * kPanel;
      const int64_t n = std::min(kPanel, columns - first);
      const T* operand = OperandsOf(s, m) + (p * block_rows() + depth) * kPanel;
      T* base = of_r ? g.dr : g.dw;
      if (base == nullptr) continue;
      for (int64_t i = 0; i < 4 * count; ++i) {
        const int64_t slot = i / count, chunk = begin + i % count, unit = chunk * kUnits;
        const int gate = (!gru_ ? kLstmGates : of_r ? kGruOfR : kGruOfW)[slot];
        if (gate < 0) continue;
        const int64_t units = std::min(kUnits, h - unit), c = slot * chunks_ + chunk;
        T* to = base + ((d * k_.gates + gate) * h + unit) * columns + first;
        float* sum = m.products + (p * 4 * chunks_ + c) * kUnits * kPanel;
        int64_t ld = kPanel;
        bool copied = true;
        if constexpr (std::is_same_v<T, float>) {
          if (n == kPanel) sum = to, ld = columns, copied = false;
        }
        const Factor factor{m.columns + (c * block_rows() + depth) * kUnits, kTogether, k,
                            kTogether * kUnits};
        PanelsOf<T>::Product(units, {factor}, operand, starts ? nullptr : sum, ld, sum, ld);
        for (int64_t row = 0; ends && copied && row < units; ++row) {
          int64_t j = 0;
          for (; j + kUnits <= n; j += kUnits)
            StoreUnits(sum + row * kPanel + j, kUnits, to + row * columns + j);
          StoreUnits(sum + row * kPanel + j, n - j, to + row * columns + j);
        }
      }
    }
  }
}

// dX = dz W, rows split among the threads.
template <typename T>
void RecurrentGradPanels<T>::InputGradient(Team& team, const Backward& g, int d,
                                           const Work& m) const {
  const int64_t h = k_.hidden, in = k_.input, rows = k_.rows();
  const int64_t k = k_.gates * spread_, packed = RoundedUp(h, PanelsOf<T>::kTogether);
  for (int64_t p = team.begin(wide_input_); p < team.end(wide_input_); ++p) {
    const int64_t first = p * kPanel;
    for (int slot = 0; slot < k_.gates; ++slot) {
      const int gate = gru_ ? kGruOfW[slot] : slot;
      T* to = m.input + (p * k_.gates + slot) * spread_ * kPanel;
      PanelsOf<T>::PackRows(g.w + (d * k_.gates + gate) * h * in + first, in,
                            std::min(kPanel, in - first), h, to);
      std::fill(to + packed * kPanel, to + spread_ * kPanel, T(0));
    }
  }
  team.Wait();
  alignas(64) float sum[kRows * kPanel];
  for (int64_t row = team.begin(rows); row < team.end(rows); row += kRows) {
    const int64_t count = std::min(kRows, team.end(rows) - row);
    for (int64_t p = 0; p < wide_input_; ++p) {
      const int64_t first = p * kPanel, n = std::min(kPanel, in - first);
      PanelsOf<T>::Product(count, {{m.rows + row * row_, row_, k}}, m.input + p * k * kPanel,
                           nullptr, 0, sum, kPanel);
      for (int64_t i = 0; i < count; ++i) {
        T* to = g.dx + (row + i) * in + first;
        for (int64_t j = 0; j < n; ++j) {
          const float before = d > 0 ? static_cast<float>(to[j]) : 0.f;
          to[j] = T(before + sum[i * kPanel + j]);
        }
      }
    }
  }
}

template class RecurrentGradPanels<float>;
template class RecurrentGradPanels<BFloat16>;

}  // namespace graphrun
