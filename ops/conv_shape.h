// ConvShape: the sizes of a convolution. x [N, G*I, in...], w [G*O, I, kernel...], y [N, G*O,
// out...].
#pragma once

#include "ops/sliding.h"

namespace graphrun {

struct ConvShape : Sliding {
  int64_t batch = 0, groups = 1, inputs = 0, outputs = 0;  // inputs (I) and outputs (O) of a group
  Window window;                                           // with as many axes as the node has

  // REQUIRES: sizes that inference accepted, pads resolved, at most 3 spatial axes.
  static ConvShape Of(const Dims& x, const Dims& w, const Dims& y, Window window) {
    ConvShape s;
    static_cast<Sliding&>(s) = Sliding::Of(SpatialDims(x), SpatialDims(y), window);
    s.batch = x[0];
    s.inputs = w[1];
    s.groups = s.inputs == 0 ? 1 : x[1] / s.inputs;
    s.outputs = s.groups == 0 ? 0 : w[0] / s.groups;
    s.window = std::move(window);
    return s;
  }
};

}  // namespace graphrun
