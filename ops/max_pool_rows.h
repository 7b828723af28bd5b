// Max-pooling with places (ops/max_pool_kernel.h) on row-major planes: vector loops over the
// outputs of a row. Rows of inputs lie in phases, every stride-th element side by side, so that
// neighbouring windows read and write neighbours whatever the stride.
#pragma once

#include "ops/max_pool_kernel.h"

namespace graphrun {

// The floats of a row of inputs under a row of windows, pads included: element q * phases + p of it
// is element q of phase p.
struct PhasedRow {
  static constexpr int64_t kMost = 2048, kMostOutputs = 1024;
  int64_t phases, outputs, width;  // outputs: in whole lanes

  explicit PhasedRow(const Sliding& s)
      : phases(s.strides[2]),
        outputs((s.out[2] + kLanes - 1) / kLanes * kLanes),
        width(outputs + (s.kernel[2] - 1) * s.dilations[2] / s.strides[2]) {}

  // Where the element under column kw of the first window lies.
  int64_t At(const Sliding& s, int64_t kw) const {
    const int64_t reach = kw * s.dilations[2];
    return reach % phases * width + reach / phases;
  }
  // The elements [first, last) of phase p that are no pads; the first is input `*from`.
  void Inside(const Sliding& s, int64_t p, int64_t* first, int64_t* last, int64_t* from) const {
    *first = std::min(width, std::max<int64_t>(s.pads[2] - p + phases - 1, 0) / phases);
    *last = std::clamp((s.in[2] + s.pads[2] - p + phases - 1) / phases, *first, width);
    *from = *first * phases + p - s.pads[2];
  }
};

inline bool PoolsInRows(const Sliding& s, const ChannelRuns& r) {
  if (r.run != 1 || s.kernel_size() >= kNoPlace || s.out[2] > PhasedRow::kMostOutputs ||
      s.strides[2] > 8 || s.dilations[2] > 64) {
    return false;
  }
  const PhasedRow row(s);
  return row.phases * row.width <= PhasedRow::kMost;
}

// y and the places of x. REQUIRES: PoolsInRows.
template <typename T>
void MaxPoolRows(const Sliding& s, const ChannelRuns& r, const T* x, T* y, uint8_t* places) {
  const PhasedRow in(s);
  ForPooledRows(s, r, [&](int64_t outer, int64_t od, int64_t oh) {
    alignas(64) float row[PhasedRow::kMost], best[PhasedRow::kMostOutputs];
    alignas(64) int32_t place[PhasedRow::kMostOutputs];
    constexpr float kLeast = -std::numeric_limits<float>::infinity();
    std::fill_n(best, in.outputs, kLeast);
    for (int64_t ow = 0; ow < in.outputs; ++ow)
      place[ow] = FirstPlace(s, od, oh, std::min(ow, s.out[2] - 1));
    int64_t d0, d1, h0, h1;
    s.KernelInside(0, od, &d0, &d1);
    s.KernelInside(1, oh, &h0, &h1);
    for (int64_t kd = d0; kd < d1; ++kd) {
      for (int64_t kh = h0; kh < h1; ++kh) {
        const T* from =
            x + ((outer * s.in[0] + s.At(0, od, kd)) * s.in[1] + s.At(1, oh, kh)) * s.in[2];
        for (int64_t p = 0; p < in.phases; ++p) {
          int64_t first, last, at;
          in.Inside(s, p, &first, &last, &at);
          float* to = row + p * in.width;
          std::fill_n(to, first, kLeast);
          for (int64_t q = first; q < last; ++q, at += in.phases)
            to[q] = static_cast<float>(from[at]);
          std::fill_n(to + last, in.width - last, kLeast);
        }
        for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
          const float* under = row + in.At(s, kw);
          const auto k = static_cast<int32_t>((kd * s.kernel[1] + kh) * s.kernel[2] + kw);
          for (int64_t ow = 0; ow < in.outputs; ow += kLanes) {
            FloatLanes v, largest;
            IntLanes its;
            LoadLanes(under + ow, &v);
            LoadLanes(best + ow, &largest);
            std::memcpy(&its, place + ow, sizeof(its));
            const IntLanes larger = v > largest;
            StoreLanes(larger ? v : largest, best + ow);
            its = larger ? IntLanes{} + k : its;
            std::memcpy(place + ow, &its, sizeof(its));
          }
        }
      }
    }
    const int64_t to = ((outer * s.out[0] + od) * s.out[1] + oh) * s.out[2];
    for (int64_t ow = 0; ow < s.out[2]; ++ow) {
      y[to + ow] = T(best[ow]);
      places[to + ow] = static_cast<uint8_t>(place[ow]);
    }
  });
}

// dx: each dy at its place. Threads take rows of dx, which gather from the windows over them.
// REQUIRES: PoolsInRows.
template <typename T>
void ScatterRows(const Sliding& s, const ChannelRuns& r, const T* dy, const uint8_t* places,
                 T* dx) {
  const PhasedRow in(s);
  const int64_t rows = s.in[0] * s.in[1], work = s.in[2] * s.kernel_size();
  ParallelFor(
      r.outer() * rows, std::max<int64_t>(16384 / std::max<int64_t>(work, 1), 1),
      [&](int64_t begin, int64_t end) {
        alignas(64) float sums[PhasedRow::kMost], grads[PhasedRow::kMostOutputs];
        alignas(64) int32_t place[PhasedRow::kMostOutputs];
        std::fill_n(grads, in.outputs, 0.0f);
        std::fill_n(place, in.outputs, kNoPlace);
        // output o that sees input i through kernel element k, -1: none
        const auto seen = [&](size_t a, int64_t i, int64_t k) {
          const int64_t z = i + s.pads[a] - k * s.dilations[a];
          return z >= 0 && z % s.strides[a] == 0 && z / s.strides[a] < s.out[a] ? z / s.strides[a]
                                                                                : int64_t{-1};
        };
        const auto add = [&](int64_t output_row, int64_t rank) {
          for (int64_t ow = 0; ow < s.out[2]; ++ow) {
            grads[ow] = static_cast<float>(dy[output_row * s.out[2] + ow]);
            place[ow] = places[output_row * s.out[2] + ow];
          }
          for (int64_t kw = s.kernel[2]; kw-- > 0;) {
            float* to = sums + in.At(s, kw);
            const auto k = static_cast<int32_t>(rank + kw);
            for (int64_t ow = 0; ow < in.outputs; ow += kLanes) {
              FloatLanes g, sum;
              IntLanes its;
              LoadLanes(grads + ow, &g);
              LoadLanes(to + ow, &sum);
              std::memcpy(&its, place + ow, sizeof(its));
              const FloatLanes zero = {};
              StoreLanes(sum + (its == k ? g : zero), to + ow);
            }
          }
        };
        for (int64_t row = begin; row < end; ++row) {
          const int64_t outer = row / rows, id = row / s.in[1] % s.in[0], ih = row % s.in[1];
          std::fill_n(sums, in.phases * in.width, 0.0f);
          for (int64_t kd = s.kernel[0]; kd-- > 0;) {
            const int64_t od = seen(0, id, kd);
            if (od < 0) continue;
            for (int64_t kh = s.kernel[1]; kh-- > 0;) {
              const int64_t oh = seen(1, ih, kh);
              if (oh < 0) continue;
              add((outer * s.out[0] + od) * s.out[1] + oh, (kd * s.kernel[1] + kh) * s.kernel[2]);
            }
          }
          T* to = dx + row * s.in[2];
          std::fill_n(to, s.in[2], T(0));
          for (int64_t p = 0; p < in.phases; ++p) {
            int64_t first, last, at;
            in.Inside(s, p, &first, &last, &at);
            const float* from = sums + p * in.width;
            for (int64_t q = first; q < last; ++q, at += in.phases) to[at] = T(from[q]);
          }
        }
      });
}

}  // namespace graphrun
