#include "ops/recurrent_panels.h"

#include "ops/recurrent_units.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

constexpr int64_t kRows = 24;  // that lie in the first-level cache between product and cell

// One row of 16 units. z: their gates, replaced by what the activations give; c, and for GRU h,
// hold the step before.
void LstmCell(float* z, float* c, float* h) {
  GR_INDEPENDENT
  for (int j = 0; j < kUnits; ++j) {
    const float in = GateSigmoid(z[j]), out = GateSigmoid(z[kUnits + j]);
    const float forget = GateSigmoid(z[2 * kUnits + j]), fresh = GateTanh(z[3 * kUnits + j]);
    const float cell = forget * c[j] + in * fresh;
    z[j] = in, z[kUnits + j] = out, z[2 * kUnits + j] = forget, z[3 * kUnits + j] = fresh;
    c[j] = cell;
    h[j] = out * GateTanh(cell);
  }
}

void GruCell(float* z, float* h) {
  GR_INDEPENDENT
  for (int j = 0; j < kUnits; ++j) {
    const float update = GateSigmoid(z[j]), reset = GateSigmoid(z[kUnits + j]);
    const float fresh = GateTanh(z[2 * kUnits + j] + reset * z[3 * kUnits + j]);
    z[j] = update, z[kUnits + j] = reset, z[2 * kUnits + j] = fresh;
    h[j] = (1 - update) * fresh + update * h[j];
  }
}

}  // namespace

template <typename T>
bool RecurrentPanels<T>::Takes(const RecurrentCase& k, bool lengths, bool peepholes) {
  using Kind = Activation::Kind;
  if (!PanelsOf<T>::Has() || lengths || peepholes || k.clip > 0 || k.coupled) return false;
  if (k.cell == Cell::kRnn || (k.cell == Cell::kGru && !k.linear_before_reset)) return false;
  if (k.rows() == 0 || k.input == 0 || k.hidden == 0) return false;
  for (int d = 0; d < k.directions; ++d) {
    if (k.activation(d, 0).kind != Kind::kSigmoid || k.activation(d, 1).kind != Kind::kTanh)
      return false;
    if (k.cell == Cell::kLstm && k.activation(d, 2).kind != Kind::kTanh) return false;
  }
  return true;
}

template <typename T>
RecurrentPanels<T>::RecurrentPanels(const RecurrentCase& k, int threads)
    : k_(k),
      gru_(k.cell == Cell::kGru),
      panels_((k.hidden + kUnits - 1) / kUnits),
      input_rows_(RoundedUp(k.input, PanelsOf<T>::kTogether)),
      ahead_(k.batch < 6) {
  panel_size_ = (input_rows_ + RoundedUp(k.hidden, PanelsOf<T>::kTogether)) * kPanel;
  const int64_t step = 2 * k.batch * k.hidden * 4 * (k.hidden + (ahead_ ? 0 : k.input));
  threads_ = step < kStepGrain ? 1 : static_cast<int>(std::min<int64_t>(threads, panels_));
}

template <typename T>
typename RecurrentPanels<T>::Weights RecurrentPanels<T>::WeightsAt(void* base) const {
  Layout64 layout(base);
  Weights w;
  w.biases = layout.Take<float>(k_.directions * panels_ * kPanel);
  w.panels = layout.Take<T>(k_.directions * panels_ * panel_size_);
  w.bytes = layout.bytes();
  return w;
}

template <typename T>
typename RecurrentPanels<T>::Work RecurrentPanels<T>::WorkAt(void* base) const {
  Layout64 layout(base);
  Work w;
  w.states = layout.Take<T>(2 * k_.batch * k_.hidden);
  w.kept = layout.Take<float>(panels_ * k_.batch * kUnits);
  w.ahead = layout.Take<float>(ahead_ ? panels_ * k_.rows() * kPanel : 0);
  w.bytes = layout.bytes();
  return w;
}

template <typename T>
int64_t RecurrentPanels<T>::packed_bytes() const {
  return WeightsAt(nullptr).bytes;
}

template <typename T>
int64_t RecurrentPanels<T>::scratch_bytes(bool packed) const {
  return WorkAt(nullptr).bytes + (packed ? 0 : packed_bytes());
}

template <typename T>
void RecurrentPanels<T>::PackUnits(const Forward& f, int d, int64_t panel,
                                   const Weights& to) const {
  const int64_t h = k_.hidden, width = k_.width(), first = panel * kUnits;
  const int64_t n = std::min(kUnits, h - first), at = d * panels_ + panel;
  float* bias = to.biases + at * kPanel;
  T *w = to.panels + at * panel_size_, *r = w + input_rows_ * kPanel;
  std::fill(bias, bias + kPanel, 0.f);
  std::fill(w, w + panel_size_, T(0));
  for (int g = 0; g < k_.gates; ++g) {
    const int64_t row = g * h + first, from = g * kUnits;
    const int64_t from_state = gru_ && g == 2 ? 3 * kUnits : from;
    PanelsOf<T>::PackColumns(f.w + (d * width + row) * k_.input, k_.input, n, k_.input, from, w);
    PanelsOf<T>::PackColumns(f.r + (d * width + row) * h, h, n, h, from_state, r);
    for (int64_t j = 0; f.b != nullptr && j < n; ++j) {
      bias[from + j] += f.b[2 * d * width + row + j];
      bias[from_state + j] += f.b[(2 * d + 1) * width + row + j];
    }
  }
}

template <typename T>
void RecurrentPanels<T>::Pack(const Forward& f, void* packed) const {
  const Weights to = WeightsAt(packed);
  ParallelFor(k_.directions * panels_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      PackUnits(f, static_cast<int>(i / panels_), i % panels_, to);
  });
}

template <typename T>
void RecurrentPanels<T>::Run(const Forward& f, const void* packed, void* scratch) const {
  RunTeam(threads_, [&](Team& team) {
    // Packed weights are only read.
    const Weights weights = WeightsAt(packed != nullptr ? const_cast<void*>(packed) : scratch);
    char* rest = static_cast<char*>(scratch) + (packed != nullptr ? 0 : weights.bytes);
    const Work work = WorkAt(rest);
    for (int d = 0; d < k_.directions; ++d) {
      for (int64_t p = team.begin(panels_); packed == nullptr && p < team.end(panels_); ++p)
        PackUnits(f, d, p, weights);
      Direction(team, f, d, weights, work);
      team.Wait();
    }
  });
}

template <typename T>
void RecurrentPanels<T>::Direction(Team& team, const Forward& f, int d, const Weights& weights,
                                   const Work& work) const {
  using Factor = typename PanelsOf<T>::Factor;
  const int64_t h = k_.hidden, batch = k_.batch, state = batch * h, input = k_.input;
  const int64_t begin = team.begin(panels_), end = team.end(panels_);
  const auto units = [&](int64_t p) { return std::min(kUnits, h - p * kUnits); };
  for (int64_t p = begin; p < end; ++p) {
    float* kept = work.kept + p * batch * kUnits;
    const T* given = gru_ ? f.h0 : f.c0;
    for (int64_t b = 0; b < batch; ++b) {
      const T* from = given == nullptr ? nullptr : given + d * state + b * h + p * kUnits;
      LoadUnits(from, from == nullptr ? 0 : units(p), kept + b * kUnits);
    }
    if (!ahead_) continue;
    PanelsOf<T>::Product(k_.rows(), {Factor{f.x, input, input}},
                         weights.panels + (d * panels_ + p) * panel_size_,
                         weights.biases + (d * panels_ + p) * kPanel, 0,
                         work.ahead + p * k_.rows() * kPanel, kPanel);
  }
  const auto state_of = [&](int64_t s) {
    return f.y != nullptr ? f.y + StateAt(At(s, d), d) : work.states + (s % 2) * state;
  };
  alignas(64) float buffer[kRows * kPanel], row_h[kUnits];
  for (int64_t s = 0; s < k_.steps; ++s) {
    const int64_t t = At(s, d);
    const T* h_before = s > 0 ? state_of(s - 1) : f.h0 == nullptr ? nullptr : f.h0 + d * state;
    T* to_h = state_of(s);
    for (int64_t p = begin; p < end; ++p) {
      const T* panel = weights.panels + (d * panels_ + p) * panel_size_;
      const float* bias = weights.biases + (d * panels_ + p) * kPanel;
      const int64_t first = p * kUnits, n = units(p);
      for (int64_t row = 0; row < batch; row += kRows) {
        const int64_t rows = std::min(kRows, batch - row);
        float* z = ahead_ ? work.ahead + (p * k_.rows() + t * batch + row) * kPanel : buffer;
        const Factor x{f.x + (t * batch + row) * input, input, ahead_ ? 0 : input};
        Factor past{h_before, h, 0};
        if (h_before != nullptr) past.a += row * h, past.k = h;
        PanelsOf<T>::Product(rows, {x, past}, panel + (ahead_ ? input_rows_ * kPanel : 0),
                             ahead_ ? z : bias, ahead_ ? kPanel : 0, z, kPanel);
        for (int64_t i = 0; i < rows; ++i) {
          float *gates = z + i * kPanel, *kept = work.kept + (p * batch + row + i) * kUnits;
          const int64_t at = (row + i) * h + first;
          gru_ ? GruCell(gates, kept) : LstmCell(gates, kept, row_h);
          StoreUnits(gru_ ? kept : row_h, n, to_h + at);
          if (f.cells != nullptr) StoreUnits(kept, n, f.cells + StateAt(t, d) + at);
          if (f.gates == nullptr) continue;
          T* save = f.gates + ((t * k_.directions + d) * batch + row + i) * 4 * h + first;
          for (int g = 0; g < 4; ++g) StoreUnits(gates + g * kUnits, n, save + g * h);
        }
      }
    }
    team.Wait();
  }
  for (int64_t p = begin; p < end; ++p) {
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t at = b * h + p * kUnits;
      const T* last = state_of(k_.steps - 1) + at;
      if (f.y_h != nullptr) std::copy(last, last + units(p), f.y_h + d * state + at);
      if (f.y_c != nullptr)
        StoreUnits(work.kept + (p * batch + b) * kUnits, units(p), f.y_c + d * state + at);
    }
  }
}

template class RecurrentPanels<float>;
template class RecurrentPanels<BFloat16>;

}  // namespace graphrun
