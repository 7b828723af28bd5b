// Batch normalisation's loops on runs of channels (row-major, channels last, blocks of channels).
//
// x [N, C, positions]; statistics over N and positions for every channel, M = N * positions terms.
// Sums are taken over blocks of positions, centred within each block, and joined in a fixed order
// in double precision (Chan, Golub, LeVeque: Algorithms for computing the sample variance, 1983),
// so that results depend neither on the number of threads nor on a large mean.
#pragma once

#include <cmath>
#include <limits>

#include "ops/channel_runs.h"
#include "ops/lanes.h"
#include "runtime/base/dtype.h"
#include "runtime/base/parallel.h"

namespace graphrun {

struct BatchNormShape {
  ChannelRuns runs;

  // Positions of one block: few enough that it stays in the cache between two passes.
  int64_t each() const { return runs.run <= 16 ? 512 : std::max<int64_t>(8192 / runs.run, 64); }
  int64_t chunks() const { return (runs.positions + each() - 1) / each(); }
  int64_t blocks() const { return runs.batch * chunks(); }
  int64_t channels() const { return runs.channels(); }
  int64_t terms() const { return runs.batch * runs.positions; }
  // Bytes of scratch: two sums for each block and channel.
  int64_t partial_bytes() const {
    return 2 * blocks() * channels() * static_cast<int64_t>(sizeof(double));
  }
  int64_t grain() const { return std::max<int64_t>(16384 / (each() * runs.run), 1); }

  // Calls f(block, channel, offset of the first element, positions) for each stretch of one block
  // of positions and one run of channels, in parallel.
  template <typename F>
  void ForEach(F&& f) const {
    const int64_t per_plane = chunks(), length = each();
    ParallelFor(runs.outer() * per_plane, grain(),
                [&, per_plane, length](int64_t begin, int64_t end) {
                  for (int64_t item = begin; item < end; ++item) {
                    const int64_t outer = item / per_plane, chunk = item % per_plane;
                    const int64_t n = outer / runs.blocks, first = chunk * length;
                    f(n * per_plane + chunk, outer % runs.blocks * runs.run,
                      (outer * runs.positions + first) * runs.run,
                      std::min(length, runs.positions - first));
                  }
                });
  }
};

// Calls f(lane, positions' stride, count of positions, lanes) in ways that vectorise: over lanes of
// a run, or over positions where a run is one channel.
template <typename F>
void ForStretch(int64_t run, F&& f) {
  int64_t lane = 0;
  for (; lane + 16 <= run; lane += 16) f(lane, std::integral_constant<int64_t, 16>());
  if (lane < run) f(lane, run - lane);
}

// sums[lane] and products[lane] over positions of u(i) and v(i), given by value(i, &u, &v) for
// element i of the stretch. REQUIRES: at most 16 lanes.
template <typename C, typename Value, typename Lanes>
void StretchSums(int64_t run, int64_t lane, Lanes lanes, int64_t positions, Value&& value, C* us,
                 C* vs) {
  C u[16] = {}, v[16] = {};
  if (run == 1) {
    int64_t p = 0;
    for (; p + 16 <= positions; p += 16) {
      for (int64_t l = 0; l < 16; ++l) {
        C a, b;
        value(p + l, &a, &b);
        u[l] += a;
        v[l] += b;
      }
    }
    for (; p < positions; ++p) {
      C a, b;
      value(p, &a, &b);
      u[0] += a;
      v[0] += b;
    }
    for (int64_t half = 8; half > 0; half /= 2) {
      for (int64_t l = 0; l < half; ++l) {
        u[l] += u[l + half];
        v[l] += v[l + half];
      }
    }
  } else {
    for (int64_t p = 0; p < positions; ++p) {
      for (int64_t l = 0; l < lanes; ++l) {
        C a, b;
        value(p * run + lane + l, &a, &b);
        u[l] += a;
        v[l] += b;
      }
    }
  }
  for (int64_t l = 0; l < lanes; ++l) {
    us[l] = u[l];
    vs[l] = v[l];
  }
}

template <typename T>
inline constexpr bool kInLanes = std::is_same_v<T, float> || std::is_same_v<T, BFloat16>;

// Calls f(first lane) for stretches of sixteen lanes that cover a run; the last may overlap the one
// before. REQUIRES: at least 16 lanes.
template <typename F>
void ForLanesOver(int64_t run, F&& f) {
  for (int64_t lane = 0; lane < run; lane += kLanes) f(std::min(lane, run - kLanes));
}

// Mean and sum of squared distances from it, in pairs, of sixteen channels over positions.
template <typename T>
void LaneStatistics(const T* x, int64_t run, int64_t positions, double* out) {
  FloatLanes sums[4] = {}, squares[4] = {}, rests[4] = {};
  const int64_t whole = positions / 4 * 4;
  const auto each = [&](auto&& f) {
    for (int64_t p = 0; p < whole; p += 4) {
      for (int64_t i = 0; i < 4; ++i) f((p + i) * run, i);
    }
    for (int64_t p = whole; p < positions; ++p) f(p * run, 0);
  };
  each([&](int64_t at, int64_t i) {
    FloatLanes v;
    LoadLanes(x + at, &v);
    sums[i] += v;
  });
  const FloatLanes sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  const FloatLanes centre = sum / static_cast<float>(positions);
  each([&](int64_t at, int64_t i) {
    FloatLanes v;
    LoadLanes(x + at, &v);
    v -= centre;
    squares[i] += v * v;
    rests[i] += v;
  });
  const FloatLanes square = (squares[0] + squares[1]) + (squares[2] + squares[3]);
  const FloatLanes rest = (rests[0] + rests[1]) + (rests[2] + rests[3]);
  const double n = static_cast<double>(positions);
  for (int64_t l = 0; l < kLanes; ++l) {
    const double left = static_cast<double>(rest[l]);
    out[2 * l] = static_cast<double>(centre[l]) + left / n;
    out[2 * l + 1] = static_cast<double>(square[l]) - left * left / n;
  }
}

// mean and population variance of every channel. `partial`: BatchNormShape::partial_bytes.
template <typename T>
void BatchStatistics(const BatchNormShape& s, const T* x, double* partial, double* mean,
                     double* variance) {
  using C = Compute<T>;
  const int64_t channels = s.channels(), run = s.runs.run;
  s.ForEach([&](int64_t block, int64_t channel, int64_t at, int64_t positions) {
    if constexpr (kInLanes<T>) {
      if (run >= kLanes) {
        ForLanesOver(run, [&](int64_t lane) {
          LaneStatistics(x + at + lane, run, positions,
                         partial + (block * channels + channel + lane) * 2);
        });
        return;
      }
    }
    ForStretch(run, [&](int64_t lane, auto lanes) {
      C sum[16], unused[16], centre[16], square[16], rest[16];
      const T* from = x + at;
      StretchSums<C>(
          run, lane, lanes, positions,
          [&](int64_t i, C* u, C* v) {
            *u = static_cast<C>(from[i]);
            *v = 0;
          },
          sum, unused);
      for (int64_t l = 0; l < lanes; ++l) centre[l] = sum[l] / static_cast<C>(positions);
      // centred on the block's own mean; `rest` corrects what rounding left of it
      if (run == 1) {
        const C c = centre[0];
        StretchSums<C>(
            run, lane, lanes, positions,
            [&](int64_t i, C* u, C* v) {
              const C d = static_cast<C>(from[i]) - c;
              *u = d * d;
              *v = d;
            },
            square, rest);
      } else {
        C q[16] = {}, r[16] = {};
        for (int64_t p = 0; p < positions; ++p) {
          for (int64_t l = 0; l < lanes; ++l) {
            const C d = static_cast<C>(from[p * run + lane + l]) - centre[l];
            q[l] += d * d;
            r[l] += d;
          }
        }
        for (int64_t l = 0; l < lanes; ++l) {
          square[l] = q[l];
          rest[l] = r[l];
        }
      }
      double* out = partial + (block * channels + channel + lane) * 2;
      for (int64_t l = 0; l < lanes; ++l) {
        const double n = static_cast<double>(positions), left = static_cast<double>(rest[l]);
        out[2 * l] = static_cast<double>(centre[l]) + left / n;
        out[2 * l + 1] = static_cast<double>(square[l]) - left * left / n;
      }
    });
  });
  const int64_t chunks = s.chunks(), length = s.each();
  ParallelFor(channels, std::max<int64_t>(4096 / std::max<int64_t>(s.blocks(), 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t c = begin; c < end; ++c) {
                  double count = 0, m = 0, squares = 0;
                  for (int64_t b = 0; b < s.blocks(); ++b) {
                    const double n = static_cast<double>(
                        std::min(length, s.runs.positions - b % chunks * length));
                    const double* p = partial + (b * channels + c) * 2;
                    const double delta = p[0] - m, total = count + n;
                    m += delta * n / total;
                    squares += p[1] + delta * delta * count * n / total;
                    count = total;
                  }
                  mean[c] = m;
                  variance[c] = count > 0 ? squares / count : 0;
                }
              });
}

// y = scale[c] * x + shift[c], brought between `low` and `high`; a NaN stays one.
template <typename T>
void ScaleAndShift(const BatchNormShape& s, const T* x, const Compute<T>* scale,
                   const Compute<T>* shift, Compute<T> low, Compute<T> high, T* y) {
  using C = Compute<T>;
  const int64_t run = s.runs.run;
  s.ForEach([&](int64_t, int64_t channel, int64_t at, int64_t positions) {
    const T* from = x + at;
    T* to = y + at;
    const auto bounded = [&](C v) {
      v = v < low ? low : v;
      return T(v > high ? high : v);
    };
    if (run == 1) {
      const C a = scale[channel], b = shift[channel];
      for (int64_t p = 0; p < positions; ++p) to[p] = bounded(static_cast<C>(from[p]) * a + b);
      return;
    }
    const C *a = scale + channel, *b = shift + channel;
    int64_t lane = 0;
    if constexpr (kInLanes<T>) {
      const FloatLanes lows = FloatLanes{} + low, highs = FloatLanes{} + high;
      for (; lane + kLanes <= run; lane += kLanes) {
        FloatLanes va, vb;
        LoadLanes(a + lane, &va);
        LoadLanes(b + lane, &vb);
        for (int64_t p = 0; p < positions; ++p) {
          FloatLanes v;
          LoadLanes(from + p * run + lane, &v);
          v = v * va + vb;
          v = v < lows ? lows : v;
          StoreLanes(v > highs ? highs : v, to + p * run + lane);
        }
      }
    }
    if (lane == run) return;
    for (int64_t p = 0; p < positions; ++p) {
      for (int64_t l = lane; l < run; ++l)
        to[p * run + l] = bounded(static_cast<C>(from[p * run + l]) * a[l] + b[l]);
    }
  });
}

// Which gradients pass an activation behind the normalisation: those of elements whose
// a[c] * x + b[c] lies between `low` and `high`. No a: all.
template <typename C>
struct NormGate {
  const C *a = nullptr, *b = nullptr;
  C low = 0, high = 0;

  bool Passes(int64_t channel, C x) const {
    if (a == nullptr) return true;
    const C z = x * a[channel] + b[channel];
    return z >= low && z <= high;
  }
};

// The same for sixteen channels.
template <bool kGated>
struct LaneGate {
  LaneGate(const NormGate<float>& gate, int64_t channel) {
    if constexpr (kGated) {
      LoadLanes(gate.a + channel, &a);
      LoadLanes(gate.b + channel, &b);
      low = FloatLanes{} + gate.low;
      high = FloatLanes{} + gate.high;
    }
  }
  void operator()(const FloatLanes& x, FloatLanes* g) const {
    if constexpr (kGated) {
      const FloatLanes z = x * a + b, zero = {};
      *g = z >= low ? *g : zero;
      *g = z <= high ? *g : zero;
    }
  }
  FloatLanes a, b, low, high;
};
template <typename F>
void WithGate(const NormGate<float>& gate, F&& f) {
  if (gate.a == nullptr) {
    f(std::false_type());
  } else {
    f(std::true_type());
  }
}

// Adds up the pairs of `blocks` blocks in their order.
inline void JoinSums(int64_t blocks, int64_t channels, const double* partial, double* sums) {
  ParallelFor(channels, std::max<int64_t>(4096 / std::max<int64_t>(blocks, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t c = begin; c < end; ++c) {
                  double u = 0, v = 0;
                  for (int64_t b = 0; b < blocks; ++b) {
                    u += partial[(b * channels + c) * 2];
                    v += partial[(b * channels + c) * 2 + 1];
                  }
                  sums[2 * c] = u;
                  sums[2 * c + 1] = v;
                }
              });
}

// The sums over all terms of g and of g * (x - mean[c]), where g is dy where it passes the gate,
// else 0. `sums`: C pairs.
template <typename T>
void GradientSums(const BatchNormShape& s, const T* x, const T* dy,
                  const NormGate<Compute<T>>& gate, const Compute<T>* mean, double* partial,
                  double* sums) {
  using C = Compute<T>;
  const int64_t channels = s.channels(), run = s.runs.run;
  s.ForEach([&](int64_t block, int64_t channel, int64_t at, int64_t positions) {
    const T *from = x + at, *grad = dy + at;
    double* blocks = partial + (block * channels + channel) * 2;
    if constexpr (kInLanes<T>) {
      if (run >= kLanes) {
        WithGate(gate, [&](auto gated) {
          ForLanesOver(run, [&](int64_t lane) {
            const LaneGate<decltype(gated)::value> passes(gate, channel + lane);
            FloatLanes centre, u[2] = {}, v[2] = {};
            LoadLanes(mean + channel + lane, &centre);
            const auto add = [&](int64_t p, int64_t i) {
              FloatLanes value, g;
              LoadLanes(from + p * run + lane, &value);
              LoadLanes(grad + p * run + lane, &g);
              passes(value, &g);
              u[i] += g;
              v[i] += g * (value - centre);
            };
            int64_t p = 0;
            for (; p + 2 <= positions; p += 2) {
              add(p, 0);
              add(p + 1, 1);
            }
            if (p < positions) add(p, 0);
            const FloatLanes us = u[0] + u[1], vs = v[0] + v[1];
            for (int64_t l = 0; l < kLanes; ++l) {
              blocks[2 * (lane + l)] = static_cast<double>(us[l]);
              blocks[2 * (lane + l) + 1] = static_cast<double>(vs[l]);
            }
          });
        });
        return;
      }
    }
    ForStretch(run, [&](int64_t lane, auto lanes) {
      C u[16] = {}, v[16] = {};
      if (run == 1) {
        const C c = mean[channel], low = gate.low, high = gate.high;
        const bool gated = gate.a != nullptr;
        const C ga = gated ? gate.a[channel] : C(0), gb = gated ? gate.b[channel] : low;
        StretchSums<C>(
            run, lane, lanes, positions,
            [&](int64_t i, C* a, C* b) {
              const C value = static_cast<C>(from[i]), z = value * ga + gb;
              *a = z >= low && z <= high ? static_cast<C>(grad[i]) : C(0);
              *b = *a * (value - c);
            },
            u, v);
      } else {
        for (int64_t p = 0; p < positions; ++p) {
          for (int64_t l = 0; l < lanes; ++l) {
            const int64_t i = p * run + lane + l, c = channel + lane + l;
            const C value = static_cast<C>(from[i]);
            const C g = gate.Passes(c, value) ? static_cast<C>(grad[i]) : C(0);
            u[l] += g;
            v[l] += g * (value - mean[c]);
          }
        }
      }
      for (int64_t l = 0; l < lanes; ++l) {
        blocks[2 * (lane + l)] = static_cast<double>(u[l]);
        blocks[2 * (lane + l) + 1] = static_cast<double>(v[l]);
      }
    });
  });
  JoinSums(s.blocks(), channels, partial, sums);
}

// dx = a[c] * g + b[c] * x + d[c], with g as in GradientSums.
template <typename T>
void GradientApply(const BatchNormShape& s, const T* x, const T* dy,
                   const NormGate<Compute<T>>& gate, const Compute<T>* a, const Compute<T>* b,
                   const Compute<T>* d, T* dx) {
  using C = Compute<T>;
  const int64_t run = s.runs.run;
  s.ForEach([&](int64_t, int64_t channel, int64_t at, int64_t positions) {
    const T *from = x + at, *grad = dy + at;
    T* to = dx + at;
    int64_t lane = 0;
    if constexpr (kInLanes<T>) {
      WithGate(gate, [&](auto gated) {
        for (; lane + kLanes <= run; lane += kLanes) {
          const LaneGate<decltype(gated)::value> passes(gate, channel + lane);
          FloatLanes va, vb, vd;
          LoadLanes(a + channel + lane, &va);
          LoadLanes(b + channel + lane, &vb);
          LoadLanes(d + channel + lane, &vd);
          for (int64_t p = 0; p < positions; ++p) {
            FloatLanes value, g;
            LoadLanes(from + p * run + lane, &value);
            LoadLanes(grad + p * run + lane, &g);
            passes(value, &g);
            StoreLanes(va * g + (vb * value + vd), to + p * run + lane);
          }
        }
      });
    }
    if (lane == run) return;
    if (run == 1) {
      const C va = a[channel], vb = b[channel], vd = d[channel];
      const bool gated = gate.a != nullptr;
      const C ga = gated ? gate.a[channel] : C(0), gb = gated ? gate.b[channel] : gate.low;
      for (int64_t p = 0; p < positions; ++p) {
        const C value = static_cast<C>(from[p]), z = value * ga + gb;
        const C g = z >= gate.low && z <= gate.high ? static_cast<C>(grad[p]) : C(0);
        to[p] = T(va * g + (vb * value + vd));
      }
      return;
    }
    for (int64_t p = 0; p < positions; ++p) {
      for (int64_t l = lane; l < run; ++l) {
        const int64_t i = p * run + l, c = channel + l;
        const C value = static_cast<C>(from[i]);
        const C g = gate.Passes(c, value) ? static_cast<C>(grad[i]) : C(0);
        to[i] = T(a[c] * g + (b[c] * value + d[c]));
      }
    }
  });
}

}  // namespace graphrun
