// ConvShape: the sizes of a convolution, with three spatial axes (leading ones of size 1 where the
// node has fewer). x [N, G*I, in...], w [G*O, I, kernel...], y [N, G*O, out...].
#pragma once

#include "ops/window.h"

namespace graphrun {

struct ConvShape {
  int64_t batch = 0, groups = 1, inputs = 0, outputs = 0;  // inputs (I) and outputs (O) of a group
  std::array<int64_t, 3> in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, strides{1, 1, 1},
      dilations{1, 1, 1}, pads{0, 0, 0};  // pads: at the begin
  Window window;                          // with as many axes as the node has

  // REQUIRES: sizes that inference accepted, pads resolved, at most 3 spatial axes.
  static ConvShape Of(const Dims& x, const Dims& w, const Dims& y, Window window) {
    ConvShape s;
    const size_t rank = window.kernel.size(), lead = 3 - rank;
    s.batch = x[0];
    s.inputs = w[1];
    s.groups = s.inputs == 0 ? 1 : x[1] / s.inputs;
    s.outputs = s.groups == 0 ? 0 : w[0] / s.groups;
    for (size_t i = 0; i < rank; ++i) {
      s.in[lead + i] = x[i + 2];
      s.out[lead + i] = y[i + 2];
      s.kernel[lead + i] = window.kernel[i];
      s.strides[lead + i] = window.strides[i];
      s.dilations[lead + i] = window.dilations[i];
      s.pads[lead + i] = window.pads_begin[i];
    }
    s.window = std::move(window);
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
    *last = in[axis] - shift <= 0
                ? *first
                : std::max(*first, std::min(out[axis], (in[axis] - shift + s - 1) / s));
  }
};

}  // namespace graphrun
