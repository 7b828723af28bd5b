// ChannelRuns: a tensor [N, C, spatial...] as runs of neighbouring channels, for kernels that work
// the same on row-major tensors, on channels last and on blocks of channels.
//
// Element (n, c, position) lies at ((n * blocks + c / run) * positions + position) * run + c % run.
#pragma once

#include "absl/types/optional.h"
#include "runtime/op/layout.h"

namespace graphrun {

struct ChannelRuns {
  int64_t batch = 0, blocks = 0, run = 1, positions = 0;
  // Of the two names for one block of all channels, channels last and a block, this is the second.
  bool named_block = false;

  int64_t channels() const { return blocks * run; }
  int64_t outer() const { return batch * blocks; }

  // Nothing where the layout is another one. REQUIRES: at least 2 axes.
  static absl::optional<ChannelRuns> Of(const Dims& dims, const Layout& layout) {
    ChannelRuns r;
    r.batch = dims[0];
    r.blocks = dims[1];
    r.positions = 1;
    for (size_t i = 2; i < dims.size(); ++i) r.positions *= dims[i];
    if (layout.is_row_major() || layout.is_undecided()) return r;
    for (const int64_t run : {dims[1], int64_t{16}, int64_t{8}, int64_t{4}}) {
      if (run == 0 || dims[1] % run != 0) continue;
      ChannelRuns other = r;
      other.blocks = dims[1] / run;
      other.run = run;
      if (other.LayoutOf(dims) == layout) return other;
      other.named_block = true;
      if (other.LayoutOf(dims) == layout) return other;
    }
    return absl::nullopt;
  }
  // The layout of a tensor with these channels and other spatial sizes.
  Layout LayoutOf(const Dims& dims) const {
    if (run == 1) return Layout();
    if (blocks == 1 && !named_block) {
      std::vector<int> order = {0};
      for (size_t i = 2; i < dims.size(); ++i) order.push_back(static_cast<int>(i));
      order.push_back(1);
      return Layout::Permuted(dims, order);
    }
    Dims strides(dims.size());
    int64_t step = run;
    for (size_t i = dims.size(); i-- > 2;) {
      strides[i] = step;
      step *= dims[i];
    }
    strides[1] = step;
    strides[0] = step * blocks;
    return Layout::Blocked(dims, std::move(strides), dims, {{1, run}});
  }
};

}  // namespace graphrun
