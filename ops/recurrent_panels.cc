#include "ops/recurrent_panels.h"

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "ops/panel_product.h"
#include "ops/vector_math.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

constexpr int64_t kUnits = 16;      // of a panel of the forward pass: 4 gates each
constexpr int64_t kRows = 24;       // that lie in the first-level cache between product and cell
constexpr int64_t kSmall = 200000;  // operations of a step that are not worth a second thread
alignas(64) constexpr float kZeros[kPanel] = {};

int64_t Rounded(int64_t n) { return (n + 15) / 16 * 16; }

// e^x within [-87, 87]; the functions below are as close as those of vector_math.h for any float,
// and shorter, because the ends need not be exact.
inline float BoundedExp(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 87.0f ? 87.0f : x;
  const vm::Reduced r = vm::ReduceExp(x);
  return (r.expm1 + 1.0f) * vm::PowerOfTwo(r.n);
}

inline float GateSigmoid(float x) { return 1.0f / (1.0f + BoundedExp(-x)); }

inline float GateTanh(float x) {
  const float a = std::fabs(x) > 10.0f ? 10.0f : std::fabs(x);
  const vm::Reduced r = vm::ReduceExp(2.0f * a);
  const float scale = vm::PowerOfTwo(r.n);
  const float t = vm::MulAdd(r.expm1, scale, scale - 1.0f);
  return std::copysign(t / (t + 2.0f), x);
}

// One row of 16 units. z: their gates, replaced by what the activations give.
void LstmCell(float* z, const float* before, float* c, float* h) {
  GR_INDEPENDENT
  for (int j = 0; j < kUnits; ++j) {
    const float in = GateSigmoid(z[j]), out = GateSigmoid(z[kUnits + j]);
    const float forget = GateSigmoid(z[2 * kUnits + j]), fresh = GateTanh(z[3 * kUnits + j]);
    const float cell = forget * before[j] + in * fresh;
    z[j] = in, z[kUnits + j] = out, z[2 * kUnits + j] = forget, z[3 * kUnits + j] = fresh;
    c[j] = cell;
    h[j] = out * GateTanh(cell);
  }
}

void GruCell(float* z, const float* before, float* h) {
  GR_INDEPENDENT
  for (int j = 0; j < kUnits; ++j) {
    const float update = GateSigmoid(z[j]), reset = GateSigmoid(z[kUnits + j]);
    const float fresh = GateTanh(z[2 * kUnits + j] + reset * z[3 * kUnits + j]);
    z[j] = update, z[kUnits + j] = reset, z[2 * kUnits + j] = fresh;
    h[j] = (1 - update) * fresh + update * before[j];
  }
}

// One row of n <= 16 units of the backward pass. gates: the row's 4 * H at these units.
struct BackRow {
  const float *gates, *before, *c;  // before: C or H before the step
  float *dz[4], *dh, *dc;
  float* sums;  // [4, 64]: dz summed over rows
};

void LstmBack(const BackRow& r, int64_t n, int64_t hidden) {
  const float *in = r.gates, *out = in + hidden, *forget = out + hidden, *fresh = forget + hidden;
  GR_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    const float squashed = GateTanh(r.c[j]), dh = r.dh[j];
    const float dc = r.dc[j] + dh * out[j] * (1 - squashed * squashed);
    const float a = dc * fresh[j] * in[j] * (1 - in[j]);
    const float b = dh * squashed * out[j] * (1 - out[j]);
    const float c = dc * r.before[j] * forget[j] * (1 - forget[j]);
    const float d = dc * in[j] * (1 - fresh[j] * fresh[j]);
    r.dc[j] = dc * forget[j];
    r.dz[0][j] = a, r.dz[1][j] = b, r.dz[2][j] = c, r.dz[3][j] = d;
    r.sums[j] += a, r.sums[kPanel + j] += b, r.sums[2 * kPanel + j] += c;
    r.sums[3 * kPanel + j] += d;
  }
}

// dz: h, z, r, and h's share that goes through R.
void GruBack(const BackRow& row, int64_t n, int64_t hidden) {
  const float *z = row.gates, *r = z + hidden, *fresh = r + hidden, *q = fresh + hidden;
  GR_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    const float dh = row.dh[j];
    const float a = dh * (1 - z[j]) * (1 - fresh[j] * fresh[j]);
    const float b = dh * (row.before[j] - fresh[j]) * z[j] * (1 - z[j]);
    const float c = a * q[j] * r[j] * (1 - r[j]);
    const float d = a * r[j];
    row.dh[j] = dh * z[j];
    row.dz[0][j] = a, row.dz[1][j] = b, row.dz[2][j] = c, row.dz[3][j] = d;
    row.sums[j] += a, row.sums[kPanel + j] += b, row.sums[2 * kPanel + j] += c;
    row.sums[3 * kPanel + j] += d;
  }
}

// Which gate of W and of R the slots of dz belong to; -1: none.
constexpr int kLstmGates[4] = {0, 1, 2, 3};
constexpr int kGruOfW[4] = {2, 0, 1, -1}, kGruOfR[4] = {-1, 0, 1, 2};

}  // namespace

bool RecurrentPanels::Takes(const RecurrentCase& k, bool lengths, bool peepholes) {
  using Kind = Activation::Kind;
  if (!HasPanelProducts() || lengths || peepholes || k.clip > 0 || k.coupled) return false;
  if (k.cell == Cell::kRnn || (k.cell == Cell::kGru && !k.linear_before_reset)) return false;
  if (k.rows() == 0 || k.input == 0 || k.hidden == 0) return false;
  for (int d = 0; d < k.directions; ++d) {
    if (k.activation(d, 0).kind != Kind::kSigmoid || k.activation(d, 1).kind != Kind::kTanh)
      return false;
    if (k.cell == Cell::kLstm && k.activation(d, 2).kind != Kind::kTanh) return false;
  }
  return true;
}

RecurrentPanels::RecurrentPanels(const RecurrentCase& k, int threads)
    : k_(k),
      gru_(k.cell == Cell::kGru),
      panels_((k.hidden + kUnits - 1) / kUnits),
      panel_size_((k.input + k.hidden + 1) * kPanel),
      wide_((k.hidden + kPanel - 1) / kPanel),
      wide_input_((k.input + kPanel - 1) / kPanel),
      ahead_(k.batch < 6) {
  const auto useful = [&](int64_t parts, int64_t work) {
    return work < kSmall ? 1 : static_cast<int>(std::min<int64_t>(threads, parts));
  };
  const int64_t work = 2 * k.batch * k.hidden * 4;
  forward_threads_ = useful(panels_, work * (k.hidden + (ahead_ ? 0 : k.input)));
  backward_threads_ = useful(wide_, work * k.hidden);
}

void RecurrentPanels::PackUnits(const Forward& f, int d, int64_t panel, float* to) const {
  const int64_t h = k_.hidden, width = k_.width(), first = panel * kUnits;
  const int64_t n = std::min(kUnits, h - first);
  std::fill(to, to + panel_size_, 0.f);
  float *bias = to, *w = to + kPanel, *r = w + k_.input * kPanel;
  for (int g = 0; g < k_.gates; ++g) {
    const int64_t row = g * h + first, from = g * kUnits;
    const int64_t from_state = gru_ && g == 2 ? 3 * kUnits : from;
    PackTransposed(f.w + (d * width + row) * k_.input, k_.input, n, k_.input, from, w);
    PackTransposed(f.r + (d * width + row) * h, h, n, h, from_state, r);
    for (int64_t j = 0; f.b != nullptr && j < n; ++j) {
      bias[from + j] += f.b[2 * d * width + row + j];
      bias[from_state + j] += f.b[(2 * d + 1) * width + row + j];
    }
  }
}

void RecurrentPanels::Pack(const Forward& f, float* packed) const {
  ParallelFor(k_.directions * panels_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      PackUnits(f, static_cast<int>(i / panels_), i % panels_, packed + i * panel_size_);
  });
}

int64_t RecurrentPanels::forward_size(bool packed) const {
  const int64_t state = Rounded(k_.batch * k_.hidden);
  return (packed ? 0 : packed_size()) + 3 * state + (ahead_ ? panels_ * k_.rows() * kPanel : 0);
}

void RecurrentPanels::Run(const Forward& f, const float* packed, float* scratch) const {
  RunTeam(forward_threads_, [&](Team& team) {
    const float* weights = packed;
    float* rest = scratch;
    if (packed == nullptr) {
      weights = scratch;
      rest += packed_size();
    }
    for (int d = 0; d < k_.directions; ++d) {
      const float* own = weights + d * panels_ * panel_size_;
      for (int64_t p = team.begin(panels_); packed == nullptr && p < team.end(panels_); ++p)
        PackUnits(f, d, p, scratch + (d * panels_ + p) * panel_size_);
      ForwardDirection(team, f, d, own, rest);
      team.Wait();
    }
  });
}

void RecurrentPanels::ForwardDirection(Team& team, const Forward& f, int d, const float* packed,
                                       float* scratch) const {
  const int64_t h = k_.hidden, batch = k_.batch, state = batch * h, input = k_.input;
  float *states = scratch, *cells = scratch + 2 * Rounded(state), *ahead = cells + Rounded(state);
  const int64_t begin = team.begin(panels_), end = team.end(panels_);
  for (int64_t p = begin; ahead_ && p < end; ++p) {
    const float* panel = packed + p * panel_size_;
    PanelProduct(k_.rows(), {{f.x, input, input}}, panel + kPanel, panel, 0,
                 ahead + p * k_.rows() * kPanel, kPanel);
  }
  const auto state_of = [&](int64_t s) {
    return f.y != nullptr ? f.y + StateAt(At(s, d), d) : states + (s % 2) * Rounded(state);
  };
  const auto cells_of = [&](int64_t s) {
    return f.cells != nullptr ? f.cells + StateAt(At(s, d), d) : cells;
  };
  alignas(64) float buffer[kRows * kPanel], row_c[kUnits], row_h[kUnits], row_before[kUnits] = {};
  for (int64_t s = 0; s < k_.steps; ++s) {
    const int64_t t = At(s, d);
    const float* h_before = s > 0 ? state_of(s - 1) : f.h0 == nullptr ? nullptr : f.h0 + d * state;
    const float* c_before = s > 0                     ? cells_of(s - 1)
                            : f.c0 == nullptr || gru_ ? nullptr
                                                      : f.c0 + d * state;
    const float* kept = gru_ ? h_before : c_before;
    float *to_h = state_of(s), *to_c = cells_of(s);
    for (int64_t p = begin; p < end; ++p) {
      const float* panel = packed + p * panel_size_;
      const int64_t first = p * kUnits, n = std::min(kUnits, h - first);
      for (int64_t row = 0; row < batch; row += kRows) {
        const int64_t rows = std::min(kRows, batch - row);
        float* z = ahead_ ? ahead + (p * k_.rows() + t * batch + row) * kPanel : buffer;
        const PanelFactor x{f.x + (t * batch + row) * input, input, ahead_ ? 0 : input};
        PanelFactor past{h_before, h, 0};
        if (h_before != nullptr) past.a += row * h, past.k = h;
        const float* weights = panel + (ahead_ ? input + 1 : 1) * kPanel;
        PanelProduct(rows, {x, past}, weights, ahead_ ? z : panel, ahead_ ? kPanel : 0, z, kPanel);
        for (int64_t i = 0; i < rows; ++i) {
          float* gates = z + i * kPanel;
          const int64_t at = (row + i) * h + first;
          const bool whole = n == kUnits;
          const float* before = kept == nullptr ? kZeros : kept + at;
          if (!whole && kept != nullptr) {
            std::copy(before, before + n, row_before);
            before = row_before;
          }
          float *new_c = whole ? to_c + at : row_c, *new_h = whole ? to_h + at : row_h;
          gru_ ? GruCell(gates, before, new_h) : LstmCell(gates, before, new_c, new_h);
          if (!whole) {
            std::copy(row_h, row_h + n, to_h + at);
            if (!gru_) std::copy(row_c, row_c + n, to_c + at);
          }
          if (f.gates == nullptr) continue;
          float* save = f.gates + ((t * k_.directions + d) * batch + row + i) * 4 * h + first;
          for (int g = 0; g < 4; ++g)
            std::copy(gates + g * kUnits, gates + g * kUnits + n, save + g * h);
        }
      }
    }
    team.Wait();
  }
  const int64_t from = begin * kUnits, to = std::min(end * kUnits, h);
  const auto last = [&](const float* values, float* out) {
    if (out == nullptr || from >= to) return;
    for (int64_t b = 0; b < batch; ++b)
      std::copy(values + b * h + from, values + b * h + to, out + d * state + b * h + from);
  };
  last(state_of(k_.steps - 1), f.y_h);
  if (!gru_) last(cells_of(k_.steps - 1), f.y_c);
}

namespace {

// Scratch memory of the backward pass.
struct BackMemory {
  float* weights;   // R in panels of 64 units: [4 * H, 64] each
  float *dh, *dc;   // [panels, B, 64]
  float* sums;      // [panels, 4, 64]
  float* dz;        // [4, H / 16, T * B, 16]: slots of dz
  float* operands;  // H before each step, then X, in panels [T * B, 64]; later W in panels
  int64_t size = 0;

  BackMemory(const RecurrentCase& k, float* base) {
    const int64_t wide = (k.hidden + kPanel - 1) / kPanel, in = (k.input + kPanel - 1) / kPanel;
    const auto take = [&](int64_t n) {
      float* at = base == nullptr ? nullptr : base + size;
      size += n;
      return at;
    };
    weights = take(wide * k.width() * kPanel);
    dh = take(wide * k.batch * kPanel);
    dc = take(wide * k.batch * kPanel);
    sums = take(wide * 4 * kPanel);
    dz = take(4 * ((k.hidden + kUnits - 1) / kUnits) * k.rows() * kUnits);
    operands = take(std::max((wide + in) * k.rows(), in * k.width()) * kPanel);
  }
};

}  // namespace

int64_t RecurrentPanels::backward_size() const { return BackMemory(k_, nullptr).size; }

void RecurrentPanels::Run(const Backward& g, float* scratch) const {
  RunTeam(backward_threads_, [&](Team& team) {
    for (int d = 0; d < k_.directions; ++d) {
      BackwardDirection(team, g, d, scratch);
      WeightGradients(team, g, d, scratch);
      team.Wait();
      if (g.dx != nullptr) InputGradient(team, g, d, scratch);
      team.Wait();
    }
  });
}

void RecurrentPanels::BackwardDirection(Team& team, const Backward& g, int d,
                                        float* scratch) const {
  const int64_t h = k_.hidden, batch = k_.batch, state = batch * h, width = k_.width();
  const BackMemory m(k_, scratch);
  const int64_t begin = team.begin(wide_), end = team.end(wide_), chunk = k_.rows() * kUnits;
  const float* r = g.r + d * width * h;
  // Rows of dz that R's gates read: k of them together.
  absl::InlinedVector<PanelFactor, 64> from;
  for (int slot = gru_ ? 1 : 0; slot < 4; ++slot) {
    for (int64_t c = 0; c < panels_; ++c) {
      from.push_back(
          {m.dz + (slot * panels_ + c) * chunk, kUnits, std::min(kUnits, h - c * kUnits)});
    }
  }
  for (int64_t p = begin; p < end; ++p) {
    const int64_t first = p * kPanel, n = std::min(kPanel, h - first);
    PackPanel(r + first, h, n, width, m.weights + p * width * kPanel);
    const auto start = [&](const float* given, float* to) {
      std::fill(to, to + batch * kPanel, 0.f);
      for (int64_t b = 0; given != nullptr && b < batch; ++b) {
        const float* row = given + d * state + b * h + first;
        std::copy(row, row + n, to + b * kPanel);
      }
    };
    start(g.dy_h, m.dh + p * batch * kPanel);
    start(g.dy_c, m.dc + p * batch * kPanel);
    std::fill(m.sums + p * 4 * kPanel, m.sums + (p + 1) * 4 * kPanel, 0.f);
  }
  for (int64_t s = k_.steps; s-- > 0;) {
    const int64_t t = At(s, d);
    const float* values = gru_ ? g.y : g.cells;
    const float* start = gru_ ? g.h0 : g.c0;
    const float* before = s > 0              ? values + StateAt(Before(t, d), d)
                          : start == nullptr ? nullptr
                                             : start + d * state;
    for (int64_t unit = begin * kPanel; unit < std::min(end * kPanel, h); unit += kUnits) {
      const int64_t p = unit / kPanel, within = unit % kPanel, n = std::min(kUnits, h - unit);
      BackRow row;
      row.sums = m.sums + p * 4 * kPanel + within;
      for (int64_t b = 0; b < batch; ++b) {
        const int64_t at = b * h + unit;
        row.gates = g.gates + ((t * k_.directions + d) * batch + b) * 4 * h + unit;
        row.before = before == nullptr ? kZeros : before + at;
        row.c = gru_ ? nullptr : g.cells + StateAt(t, d) + at;
        for (int slot = 0; slot < 4; ++slot) {
          row.dz[slot] = m.dz + (slot * panels_ + unit / kUnits) * chunk + (t * batch + b) * kUnits;
        }
        row.dh = m.dh + (p * batch + b) * kPanel + within;
        row.dc = m.dc + (p * batch + b) * kPanel + within;
        if (g.dy != nullptr) {
          const float* dy = g.dy + StateAt(t, d) + at;
          for (int64_t j = 0; j < n; ++j) row.dh[j] += dy[j];
        }
        gru_ ? GruBack(row, n, h) : LstmBack(row, n, h);
      }
    }
    team.Wait();
    absl::InlinedVector<PanelFactor, 64> now = from;
    for (PanelFactor& factor : now) factor.a += t * batch * kUnits;
    for (int64_t p = begin; p < end; ++p) {
      float* to = m.dh + p * batch * kPanel;
      PanelProduct(batch, now, m.weights + p * width * kPanel, gru_ ? to : nullptr, kPanel, to,
                   kPanel);
    }
  }
  for (int64_t p = begin; p < end; ++p) {
    const int64_t first = p * kPanel, n = std::min(kPanel, h - first);
    const auto finish = [&](const float* values, float* to) {
      for (int64_t b = 0; to != nullptr && b < batch; ++b) {
        const float* row = values + (p * batch + b) * kPanel;
        std::copy(row, row + n, to + d * state + b * h + first);
      }
    };
    finish(m.dh, g.dh0);
    finish(m.dc, g.dc0);
    for (int slot = 0; g.db != nullptr && slot < 4; ++slot) {
      const float* sum = m.sums + (p * 4 + slot) * kPanel;
      const int of_w = gru_ ? kGruOfW[slot] : slot, of_r = gru_ ? kGruOfR[slot] : slot;
      float* to = g.db + 2 * d * width + first;
      if (of_w >= 0) std::copy(sum, sum + n, to + of_w * h);
      if (of_r >= 0) std::copy(sum, sum + n, to + width + of_r * h);
    }
  }
}

// dR and dW: each thread makes the rows of some units' gates, 128 rows of the sums at a time.
void RecurrentPanels::WeightGradients(Team& team, const Backward& g, int d, float* scratch) const {
  constexpr int64_t kDepth = 128;
  const int64_t h = k_.hidden, batch = k_.batch, width = k_.width(), rows = k_.rows();
  const BackMemory m(k_, scratch);
  const int64_t panels = wide_ + wide_input_;
  for (int64_t p = team.begin(panels); p < team.end(panels); ++p) {
    float* to = m.operands + p * rows * kPanel;
    if (p >= wide_) {
      const int64_t first = (p - wide_) * kPanel;
      PackPanel(g.x + first, k_.input, std::min(kPanel, k_.input - first), rows, to);
      continue;
    }
    const int64_t first = p * kPanel, n = std::min(kPanel, h - first);
    for (int64_t s = 0; s < k_.steps; ++s) {
      const int64_t t = At(s, d);
      const float* from = s > 0             ? g.y + StateAt(Before(t, d), d)
                          : g.h0 == nullptr ? nullptr
                                            : g.h0 + d * batch * h;
      float* block = to + t * batch * kPanel;
      if (from == nullptr) {
        std::fill(block, block + batch * kPanel, 0.f);
      } else {
        PackPanel(from + first, h, n, batch, block);
      }
    }
  }
  team.Wait();
  alignas(64) float tail[kUnits * kPanel];
  const int64_t chunks = 4 * panels_;
  for (int64_t depth = 0; depth < rows; depth += kDepth) {
    const int64_t k = std::min(kDepth, rows - depth);
    for (int64_t p = 0; p < panels; ++p) {
      const bool of_r = p < wide_;
      const int64_t columns = of_r ? h : k_.input, first = (of_r ? p : p - wide_) * kPanel;
      const int64_t n = std::min(kPanel, columns - first);
      float* base = of_r ? g.dr : g.dw;
      if (base == nullptr) continue;
      for (int64_t c = team.begin(chunks); c < team.end(chunks); ++c) {
        const int slot = static_cast<int>(c / panels_);
        const int64_t unit = c % panels_ * kUnits, units = std::min(kUnits, h - unit);
        const int gate = (!gru_ ? kLstmGates : of_r ? kGruOfR : kGruOfW)[slot];
        if (gate < 0) continue;
        float* to = base + (d * width + gate * h + unit) * columns + first;
        const bool whole = n == kPanel;
        for (int64_t i = 0; !whole && depth > 0 && i < units; ++i)
          std::copy(to + i * columns, to + i * columns + n, tail + i * kPanel);
        float* sum = whole ? to : tail;
        const int64_t ld = whole ? columns : kPanel;
        PanelProduct(units, {{m.dz + (c * rows + depth) * kUnits, 1, k, kUnits}},
                     m.operands + (p * rows + depth) * kPanel, depth > 0 ? sum : nullptr, ld, sum,
                     ld);
        for (int64_t i = 0; !whole && i < units; ++i)
          std::copy(tail + i * kPanel, tail + i * kPanel + n, to + i * columns);
      }
    }
  }
}

// dX = dz W, rows split among the threads.
void RecurrentPanels::InputGradient(Team& team, const Backward& g, int d, float* scratch) const {
  const int64_t h = k_.hidden, in = k_.input, width = k_.width(), rows = k_.rows();
  const BackMemory m(k_, scratch);
  const auto gate = [&](int slot) { return gru_ ? kGruOfW[slot] : slot; };
  for (int64_t p = team.begin(wide_input_); p < team.end(wide_input_); ++p) {
    const int64_t first = p * kPanel;
    for (int slot = 0; slot < k_.gates; ++slot) {
      PackPanel(g.w + (d * width + gate(slot) * h) * in + first, in, std::min(kPanel, in - first),
                h, m.operands + (p * width + slot * h) * kPanel);
    }
  }
  team.Wait();
  alignas(64) float sum[kRows * kPanel];
  absl::InlinedVector<PanelFactor, 64> from(static_cast<size_t>(k_.gates * panels_));
  for (int64_t row = team.begin(rows); row < team.end(rows); row += kRows) {
    const int64_t count = std::min(kRows, team.end(rows) - row);
    for (size_t c = 0; c < from.size(); ++c) {
      const auto chunk = static_cast<int64_t>(c);
      from[c] = {m.dz + (chunk * rows + row) * kUnits, kUnits,
                 std::min(kUnits, h - chunk % panels_ * kUnits)};
    }
    for (int64_t p = 0; p < wide_input_; ++p) {
      const int64_t first = p * kPanel, n = std::min(kPanel, in - first);
      PanelProduct(count, from, m.operands + p * width * kPanel, nullptr, 0, sum, kPanel);
      for (int64_t i = 0; i < count; ++i) {
        float* to = g.dx + (row + i) * in + first;
        for (int64_t j = 0; j < n; ++j)
          to[j] = d > 0 ? to[j] + sum[i * kPanel + j] : sum[i * kPanel + j];
      }
    }
  }
}

}  // namespace graphrun
