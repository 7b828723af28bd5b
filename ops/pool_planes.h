// Poolings of row-major planes as vector loops: an output row folds the input rows under its
// windows into one, and then that row's elements along each window.
#pragma once

#include "ops/pool.h"

namespace graphrun {

inline constexpr int64_t kWidestRow = 1024;

// True where the rows under a row of windows, pads included, fit the loops' memory.
inline bool PoolsInPlanes(const Sliding& s, const ChannelRuns& r) {
  return r.run == 1 && s.pads[2] <= kWidestRow && s.out[2] <= kWidestRow &&
         (s.out[2] - 1) * s.strides[2] + (s.kernel[2] - 1) * s.dilations[2] < kWidestRow;
}

// to[i] folded with from[i * S] for i < n; S 0: from[i * stride].
template <int64_t S, typename C, typename Fold>
void FoldSteps(const C* from, int64_t stride, int64_t n, const Fold& fold, C* to) {
  const int64_t step = S > 0 ? S : stride;
  for (int64_t i = 0; i < n; ++i) to[i] = fold(to[i], from[i * step]);
}

// y of x: every window is `start` folded with lift(element) of its elements, in any order; then
// finish(od, oh, windows, y) makes a row of y of a row of windows. REQUIRES: PoolsInPlanes.
template <typename T, typename Lift, typename Fold, typename Finish>
void PoolPlanes(const Sliding& s, const ChannelRuns& r, const T* x, Compute<T> start,
                const Lift& lift, const Fold& fold, const Finish& finish, T* y) {
  using C = Compute<T>;
  if (s.out_size() == 0) return;
  const int64_t reach = (s.out[2] - 1) * s.strides[2] + (s.kernel[2] - 1) * s.dilations[2] + 1;
  const int64_t inside = std::clamp<int64_t>(reach - s.pads[2], 0, s.in[2]);
  ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
    C under[kWidestRow], windows[kWidestRow];
    std::fill_n(under, reach, start);
    std::fill_n(windows, s.out[2], start);
    int64_t d0, d1, h0, h1;
    s.KernelInside(0, od, &d0, &d1);
    s.KernelInside(1, oh, &h0, &h1);
    for (int64_t kd = d0; kd < d1; ++kd) {
      for (int64_t kh = h0; kh < h1; ++kh) {
        const T* from =
            x + ((outer * s.in[0] + s.At(0, od, kd)) * s.in[1] + s.At(1, oh, kh)) * s.in[2];
        C* to = under + s.pads[2];
        for (int64_t i = 0; i < inside; ++i) to[i] = fold(to[i], lift(static_cast<C>(from[i])));
      }
    }
    for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
      const C* from = under + kw * s.dilations[2];
      if (s.strides[2] == 1) {
        FoldSteps<1>(from, 1, s.out[2], fold, windows);
      } else if (s.strides[2] == 2) {
        FoldSteps<2>(from, 2, s.out[2], fold, windows);
      } else {
        FoldSteps<0>(from, s.strides[2], s.out[2], fold, windows);
      }
    }
    finish(od, oh, windows, y + ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2]);
  });
}

// The n elements of each row of x folded as by PoolPlanes; y[row] = finish(folded).
template <typename T, typename Lift, typename Fold, typename Finish>
void PoolWholePlanes(int64_t rows, int64_t n, const T* x, Compute<T> start, const Lift& lift,
                     const Fold& fold, const Finish& finish, T* y) {
  using C = Compute<T>;
  constexpr int64_t kParts = 64;
  ParallelFor(rows, std::max<int64_t>(16384 / std::max<int64_t>(n, 1), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t row = begin; row < end; ++row) {
                  const T* from = x + row * n;
                  C parts[kParts];
                  std::fill_n(parts, kParts, start);
                  int64_t i = 0;
                  for (; i + kParts <= n; i += kParts) {
                    for (int64_t l = 0; l < kParts; ++l)
                      parts[l] = fold(parts[l], lift(static_cast<C>(from[i + l])));
                  }
                  for (int64_t l = 0; i + l < n; ++l)
                    parts[l] = fold(parts[l], lift(static_cast<C>(from[i + l])));
                  for (int64_t half = kParts / 2; half > 0; half /= 2) {
                    for (int64_t l = 0; l < half; ++l) parts[l] = fold(parts[l], parts[l + half]);
                  }
                  y[row] = finish(parts[0]);
                }
              });
}

}  // namespace graphrun
