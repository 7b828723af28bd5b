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
#include "runtime/base/dtype.h"
#include "runtime/base/parallel.h"

namespace graphrun {

struct BatchNormShape {
  static constexpr int64_t kPositions = 512;  // of one block

  ChannelRuns runs;

  int64_t chunks() const { return (runs.positions + kPositions - 1) / kPositions; }
  int64_t blocks() const { return runs.batch * chunks(); }
  int64_t channels() const { return runs.channels(); }
  int64_t terms() const { return runs.batch * runs.positions; }
  // Bytes of scratch: two sums for each block and channel.
  int64_t partial_bytes() const {
    return 2 * blocks() * channels() * static_cast<int64_t>(sizeof(double));
  }
  int64_t grain() const { return std::max<int64_t>(16384 / (kPositions * runs.run), 1); }

  // Calls f(block, channel, offset of the first element, positions) for each stretch of one block
  // of positions and one run of channels, in parallel.
  template <typename F>
  void ForEach(F&& f) const {
    const int64_t per_plane = chunks();
    ParallelFor(runs.outer() * per_plane, grain(), [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t outer = item / per_plane, chunk = item % per_plane;
        const int64_t n = outer / runs.blocks, first = chunk * kPositions;
        f(n * per_plane + chunk, outer % runs.blocks * runs.run,
          (outer * runs.positions + first) * runs.run,
          std::min(kPositions, runs.positions - first));
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

// mean and population variance of every channel. `partial`: BatchNormShape::partial_bytes.
template <typename T>
void BatchStatistics(const BatchNormShape& s, const T* x, double* partial, double* mean,
                     double* variance) {
  using C = Compute<T>;
  const int64_t channels = s.channels(), run = s.runs.run;
  s.ForEach([&](int64_t block, int64_t channel, int64_t at, int64_t positions) {
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
  const int64_t chunks = s.chunks();
  ParallelFor(channels, std::max<int64_t>(4096 / std::max<int64_t>(s.blocks(), 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t c = begin; c < end; ++c) {
                  double count = 0, m = 0, squares = 0;
                  for (int64_t b = 0; b < s.blocks(); ++b) {
                    const double n = static_cast<double>(
                        std::min(BatchNormShape::kPositions,
                                 s.runs.positions - b % chunks * BatchNormShape::kPositions));
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

// y = scale[c] * x + shift[c], then max(y, 0) where `relu`.
template <typename T>
void ScaleAndShift(const BatchNormShape& s, const T* x, const Compute<T>* scale,
                   const Compute<T>* shift, bool relu, T* y) {
  using C = Compute<T>;
  const int64_t run = s.runs.run;
  s.ForEach([&](int64_t, int64_t channel, int64_t at, int64_t positions) {
    const T* from = x + at;
    T* to = y + at;
    const C floor = relu ? C(0) : -std::numeric_limits<C>::infinity();
    if (run == 1) {
      const C a = scale[channel], b = shift[channel];
      for (int64_t p = 0; p < positions; ++p) {
        const C v = static_cast<C>(from[p]) * a + b;
        to[p] = T(v < floor ? floor : v);
      }
      return;
    }
    const C *a = scale + channel, *b = shift + channel;
    for (int64_t p = 0; p < positions; ++p) {
      const T* row = from + p * run;
      T* out = to + p * run;
      for (int64_t l = 0; l < run; ++l) {
        const C v = static_cast<C>(row[l]) * a[l] + b[l];
        out[l] = T(v < floor ? floor : v);
      }
    }
  });
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

// The sums over all terms of g and of g * (x - mean[c]), where g is dy, or dy where y > 0 (y not
// null). `sums`: C pairs.
template <typename T>
void GradientSums(const BatchNormShape& s, const T* x, const T* dy, const T* y,
                  const Compute<T>* mean, double* partial, double* sums) {
  using C = Compute<T>;
  const int64_t channels = s.channels(), run = s.runs.run;
  s.ForEach([&](int64_t block, int64_t channel, int64_t at, int64_t positions) {
    ForStretch(run, [&](int64_t lane, auto lanes) {
      C u[16] = {}, v[16] = {};
      const T *from = x + at, *grad = dy + at, *mask = y == nullptr ? nullptr : y + at;
      const C* m = mean + channel + lane;
      if (run == 1) {
        const C c = m[0];
        StretchSums<C>(
            run, lane, lanes, positions,
            [&](int64_t i, C* a, C* b) {
              const C g =
                  mask == nullptr || static_cast<C>(mask[i]) > 0 ? static_cast<C>(grad[i]) : C(0);
              *a = g;
              *b = g * (static_cast<C>(from[i]) - c);
            },
            u, v);
      } else if (mask == nullptr) {
        for (int64_t p = 0; p < positions; ++p) {
          for (int64_t l = 0; l < lanes; ++l) {
            const int64_t i = p * run + lane + l;
            const C g = static_cast<C>(grad[i]);
            u[l] += g;
            v[l] += g * (static_cast<C>(from[i]) - m[l]);
          }
        }
      } else {
        for (int64_t p = 0; p < positions; ++p) {
          for (int64_t l = 0; l < lanes; ++l) {
            const int64_t i = p * run + lane + l;
            const C g = static_cast<C>(mask[i]) > 0 ? static_cast<C>(grad[i]) : C(0);
            u[l] += g;
            v[l] += g * (static_cast<C>(from[i]) - m[l]);
          }
        }
      }
      double* out = partial + (block * channels + channel + lane) * 2;
      for (int64_t l = 0; l < lanes; ++l) {
        out[2 * l] = static_cast<double>(u[l]);
        out[2 * l + 1] = static_cast<double>(v[l]);
      }
    });
  });
  JoinSums(s.blocks(), channels, partial, sums);
}

// dx = a[c] * g + b[c] * x + d[c], with g as in GradientSums.
template <typename T>
void GradientApply(const BatchNormShape& s, const T* x, const T* dy, const T* y,
                   const Compute<T>* a, const Compute<T>* b, const Compute<T>* d, T* dx) {
  using C = Compute<T>;
  const int64_t run = s.runs.run;
  s.ForEach([&](int64_t, int64_t channel, int64_t at, int64_t positions) {
    const T *from = x + at, *grad = dy + at, *mask = y == nullptr ? nullptr : y + at;
    T* to = dx + at;
    if (run == 1) {
      const C ca = a[channel], cb = b[channel], cd = d[channel];
      for (int64_t p = 0; p < positions; ++p) {
        const C g = mask == nullptr || static_cast<C>(mask[p]) > 0 ? static_cast<C>(grad[p]) : C(0);
        to[p] = T(ca * g + (cb * static_cast<C>(from[p]) + cd));
      }
      return;
    }
    const C *va = a + channel, *vb = b + channel, *vd = d + channel;
    for (int64_t p = 0; p < positions; ++p) {
      const int64_t row = p * run;
      if (mask == nullptr) {
        for (int64_t l = 0; l < run; ++l) {
          to[row + l] = T(va[l] * static_cast<C>(grad[row + l]) +
                          (vb[l] * static_cast<C>(from[row + l]) + vd[l]));
        }
      } else {
        for (int64_t l = 0; l < run; ++l) {
          const C g = static_cast<C>(mask[row + l]) > 0 ? static_cast<C>(grad[row + l]) : C(0);
          to[row + l] = T(va[l] * g + (vb[l] * static_cast<C>(from[row + l]) + vd[l]));
        }
      }
    }
  });
}

}  // namespace graphrun
