// Sliding: a window over three spatial axes (leading ones of size 1 where a node has fewer).
#pragma once

#include <algorithm>
#include <array>

#include "ops/window.h"

namespace graphrun {

struct Sliding {
  std::array<int64_t, 3> in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, strides{1, 1, 1},
      dilations{1, 1, 1}, pads{0, 0, 0}, pads_end{0, 0, 0};

  // REQUIRES: at most 3 spatial axes, pads resolved.
  static Sliding Of(const Dims& in, const Dims& out, const Window& window) {
    Sliding s;
    const size_t rank = window.kernel.size(), lead = 3 - rank;
    for (size_t i = 0; i < rank; ++i) {
      s.in[lead + i] = in[i];
      s.out[lead + i] = out[i];
      s.kernel[lead + i] = window.kernel[i];
      s.strides[lead + i] = window.strides[i];
      s.dilations[lead + i] = window.dilations[i];
      s.pads[lead + i] = window.pads_begin[i];
      s.pads_end[lead + i] = window.pads_end[i];
    }
    return s;
  }
  int64_t in_size() const { return in[0] * in[1] * in[2]; }
  int64_t out_size() const { return out[0] * out[1] * out[2]; }
  int64_t kernel_size() const { return kernel[0] * kernel[1] * kernel[2]; }
  // The input position of output o and kernel element k along an axis; outside [0, in) in the pads.
  int64_t At(size_t axis, int64_t o, int64_t k) const {
    return o * strides[axis] - pads[axis] + k * dilations[axis];
  }
  // The outputs [first, last) for which At lies inside the input.
  void Inside(size_t axis, int64_t k, int64_t* first, int64_t* last) const {
    const int64_t shift = k * dilations[axis] - pads[axis], s = strides[axis];
    *first = shift >= 0 ? 0 : std::min(out[axis], (-shift + s - 1) / s);
    *last = in[axis] <= shift
                ? *first
                : std::max(*first, std::min(out[axis], (in[axis] - shift + s - 1) / s));
  }
  // The kernel elements [first, last) of output o that lie inside the input.
  void KernelInside(size_t axis, int64_t o, int64_t* first, int64_t* last) const {
    const int64_t start = At(axis, o, 0), d = dilations[axis];
    *first = start >= 0 ? 0 : std::min(kernel[axis], (-start + d - 1) / d);
    *last = start >= in[axis]
                ? *first
                : std::max(*first, std::min(kernel[axis], (in[axis] - start + d - 1) / d));
  }
};

}  // namespace graphrun
