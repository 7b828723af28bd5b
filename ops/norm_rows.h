// Normalisation of rows, forward and backward, for every operator that scales and shifts by axes.
//
// A tensor is seen as rows of n elements; `chunk` neighbouring elements share one scale and one
// bias, and chunk number k of the whole tensor uses number k % channels. Layer normalisation has
// chunk 1 and channels n; group and instance normalisation have the spatial size and C.
#pragma once

#include <cmath>
#include <vector>

#include "ops/lanes.h"
#include "ops/native.h"
#include "ops/softmax_rows.h"
#include "ops/vector_math.h"

namespace graphrun {

struct NormCase {
  int64_t rows = 0, n = 0, chunk = 1, channels = 0;
  double epsilon = 0;
  bool center = true;  // subtract the mean; false: root mean square normalisation
  int64_t size() const { return rows * n; }
  int64_t chunks_per_row() const { return chunk == 0 ? 0 : n / chunk; }
};

template <typename S>
struct RowStatistics {
  S mean, inverse;  // inverse: 1 / sqrt(variance + epsilon)
};

// The sum of term(i) for i < n: vectorised in f32, in order otherwise.
template <typename S, typename F>
S SumOf(int64_t n, F term) {
  if constexpr (std::is_same_v<S, float>) {
    return RowSum(n, term);
  } else {
    S sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += term(i);
    return sum;
  }
}

// Whether rows of n elements of these types are worked on in whole runs of lanes.
constexpr int64_t kLaneRun = 4 * kLanes;
template <typename S, typename T>
constexpr bool HasLanes() {
  return std::is_same_v<S, float> && (std::is_same_v<T, float> || std::is_same_v<T, BFloat16>);
}

// The sum of all (x[i] - mean), squared or not; n is a multiple of kLaneRun.
template <bool kSquares, typename T>
float SumOfRuns(int64_t n, const T* x, float mean) {
  FloatLanes sums[4] = {};
  for (int64_t i = 0; i < n; i += kLaneRun) {
    for (int64_t k = 0; k < 4; ++k) {
      FloatLanes v;
      LoadLanes(x + i + k * kLanes, &v);
      v -= mean;
      sums[k] += kSquares ? v * v : v;
    }
  }
  const FloatLanes all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float lanes[kLanes];
  StoreLanes(all, lanes);
  return SumLanes(lanes);
}

// y = (x - mean) * inverse * scale + bias for as many elements; bias may be null, y may be x.
template <typename T, typename P>
void ScaleRuns(int64_t n, const RowStatistics<float>& s, const T* x, const P* scale, const P* bias,
               T* y) {
  for (int64_t i = 0; i < n; i += kLanes) {
    FloatLanes v, factor, shift = {};
    LoadLanes(x + i, &v);
    LoadLanes(scale + i, &factor);
    if (bias != nullptr) LoadLanes(bias + i, &shift);
    v = (v - s.mean) * s.inverse * factor + shift;
    StoreLanes(v, y + i);
  }
}

template <typename S, typename T>
RowStatistics<S> Normalize(const NormCase& norm, const T* x) {
  const int64_t n = norm.n;
  if constexpr (HasLanes<S, T>()) {
    if (n % kLaneRun == 0) {
      const float count = static_cast<float>(n);
      const float mean = norm.center ? SumOfRuns<false>(n, x, 0) / count : 0;
      const float squares = SumOfRuns<true>(n, x, mean);
      return {mean, 1 / std::sqrt(squares / count + static_cast<float>(norm.epsilon))};
    }
  }
  const S count = static_cast<S>(n);
  const S mean =
      norm.center ? SumOf<S>(n, [=](int64_t i) { return static_cast<S>(x[i]); }) / count : S(0);
  const S squares = SumOf<S>(n, [=](int64_t i) {
    const S d = static_cast<S>(x[i]) - mean;
    return d * d;
  });
  return {mean, S(1) / std::sqrt(squares / count + static_cast<S>(norm.epsilon))};
}

inline int64_t RowGrain(const NormCase& norm) {
  return std::max<int64_t>(8192 / std::max<int64_t>(norm.n, 1), 1);
}

// y = (x - mean) * inverse * scale + bias; bias may be null. `statistics` (may be null) receives
// [rows]. y may be x.
template <typename S, typename T, typename P>
void NormForward(const NormCase& norm, const T* x, const P* scale, const P* bias, T* y,
                 RowStatistics<S>* statistics) {
  ParallelFor(norm.rows, RowGrain(norm), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = x + r * norm.n;
      T* to = y + r * norm.n;
      const RowStatistics<S> s = Normalize<S>(norm, from);
      if (statistics != nullptr) statistics[r] = s;
      if (norm.chunk == 1 && norm.channels == norm.n) {
        if constexpr (HasLanes<S, T>() && HasLanes<S, P>()) {
          if (norm.n % kLaneRun == 0) {
            ScaleRuns(norm.n, s, from, scale, bias, to);
            continue;
          }
        }
        if (bias != nullptr) {
          GR_INDEPENDENT
          for (int64_t i = 0; i < norm.n; ++i) {
            to[i] = T((static_cast<S>(from[i]) - s.mean) * s.inverse * static_cast<S>(scale[i]) +
                      static_cast<S>(bias[i]));
          }
        } else {
          for (int64_t i = 0; i < norm.n; ++i)
            to[i] = T((static_cast<S>(from[i]) - s.mean) * s.inverse * static_cast<S>(scale[i]));
        }
        continue;
      }
      for (int64_t k = 0; k < norm.chunks_per_row(); ++k) {
        const int64_t c = (r * norm.chunks_per_row() + k) % norm.channels;
        const S a = s.inverse * static_cast<S>(scale[c]);
        const S b = bias == nullptr ? S(0) : static_cast<S>(bias[c]);
        for (int64_t i = k * norm.chunk; i < (k + 1) * norm.chunk; ++i)
          to[i] = T((static_cast<S>(from[i]) - s.mean) * a + b);
      }
    }
  });
}

// How many partial sums of rows a gradient by scale takes; a constant of the sizes.
inline int64_t NormPartials(const NormCase& norm) { return std::min<int64_t>(norm.rows, 32); }

// Bytes of scratch memory for NormBackward.
inline int64_t NormScratch(const NormCase& norm) {
  const bool elementwise = norm.chunk == 1 && norm.channels == norm.n;
  const int64_t values =
      elementwise ? NormPartials(norm) * norm.n : norm.rows * norm.chunks_per_row();
  return 2 * values * int64_t{sizeof(double)};
}

// With x^ = (x - mean) * inverse and g = dy * scale:
//   dx = inverse * (g - mean(g) - x^ * mean(g * x^))   (without mean(g) where nothing is centred)
//   dscale = sum of dy * x^, dbias = sum of dy, over all that shares them.
// dscale and dbias may be null. dx may be dy or x.
template <typename S, typename T, typename P>
void NormBackward(const NormCase& norm, const T* dy, const T* x, const P* scale, T* dx, P* dscale,
                  P* dbias, void* scratch) {
  const bool elementwise = norm.chunk == 1 && norm.channels == norm.n;
  const int64_t per_row = norm.chunks_per_row(), n = norm.n;
  const int64_t partials = elementwise ? NormPartials(norm) : norm.rows;
  const int64_t width = elementwise ? n : per_row;
  S* scale_sums = static_cast<S*>(scratch);
  S* bias_sums = scale_sums + partials * width;
  const S count = static_cast<S>(std::max<int64_t>(n, 1));
  const auto row = [&](int64_t r, S* ds, S* db) {
    const T* from = x + r * n;
    const T* dys = dy + r * n;
    T* to = dx + r * n;
    const RowStatistics<S> s = Normalize<S>(norm, from);
    const auto hat = [=](int64_t i) { return (static_cast<S>(from[i]) - s.mean) * s.inverse; };
    if (elementwise) {
      const auto g = [=](int64_t i) { return static_cast<S>(dys[i]) * static_cast<S>(scale[i]); };
      const S mean_g = norm.center ? SumOf<S>(n, g) / count : S(0);
      const S mean_gx = SumOf<S>(n, [=](int64_t i) { return g(i) * hat(i); }) / count;
      GR_INDEPENDENT  // dx may be dy or x: each number is read before its place is written
          for (int64_t i = 0; i < n; ++i) {
        const S h = hat(i), d = static_cast<S>(dys[i]);
        ds[i] += d * h;
        db[i] += d;
        to[i] = T(s.inverse * (g(i) - mean_g - h * mean_gx));
      }
      return;
    }
    S mean_g = 0, mean_gx = 0;
    for (int64_t k = 0; k < per_row; ++k) {
      const int64_t at = k * norm.chunk;
      const S a = static_cast<S>(scale[(r * per_row + k) % norm.channels]);
      db[k] = SumOf<S>(norm.chunk, [=](int64_t i) { return static_cast<S>(dys[at + i]); });
      ds[k] = SumOf<S>(norm.chunk,
                       [=](int64_t i) { return static_cast<S>(dys[at + i]) * hat(at + i); });
      mean_g += a * db[k];
      mean_gx += a * ds[k];
    }
    mean_g = norm.center ? mean_g / count : S(0);
    mean_gx /= count;
    for (int64_t k = 0; k < per_row; ++k) {
      const S a = static_cast<S>(scale[(r * per_row + k) % norm.channels]);
      for (int64_t i = k * norm.chunk; i < (k + 1) * norm.chunk; ++i)
        to[i] = T(s.inverse * (static_cast<S>(dys[i]) * a - mean_g - hat(i) * mean_gx));
    }
  };
  if (elementwise) {
    std::fill(scale_sums, scale_sums + 2 * partials * width, S(0));
    const int64_t each = partials == 0 ? 0 : (norm.rows + partials - 1) / partials;
    ParallelFor(partials, std::max<int64_t>(RowGrain(norm) / std::max<int64_t>(each, 1), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t p = begin; p < end; ++p) {
                    for (int64_t r = p * each; r < std::min((p + 1) * each, norm.rows); ++r)
                      row(r, scale_sums + p * width, bias_sums + p * width);
                  }
                });
  } else {
    ParallelFor(norm.rows, RowGrain(norm), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) row(r, scale_sums + r * width, bias_sums + r * width);
    });
  }
  const auto collect = [&](S* sums, P* to) {
    if (to == nullptr) return;
    const int64_t total = partials * width;
    if (elementwise && std::is_same_v<S, P>) {
      for (int64_t p = 1; p < partials; ++p) {
        for (int64_t c = 0; c < width; ++c) sums[c] += sums[p * width + c];
      }
      for (int64_t c = 0; c < width; ++c) to[c] = P(partials == 0 ? S(0) : sums[c]);
      return;
    }
    ParallelFor(norm.channels, std::max<int64_t>(8192 / std::max<int64_t>(partials, 1), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t c = begin; c < end; ++c) {
                    S sum = 0;
                    for (int64_t i = c; i < total; i += norm.channels) sum += sums[i];
                    to[c] = P(sum);
                  }
                });
  };
  collect(scale_sums, dscale);
  collect(bias_sums, dbias);
}

// What statistics are kept in by the oracle.
template <typename T>
using NormWide = std::conditional_t<std::is_same_v<Compute<T>, float>, double, Compute<T>>;

}  // namespace graphrun
