// Tensors [N, C_i, spatial...] that lie one behind the other along the channels of a whole one, in
// layouts whose rows then follow each other in memory: row-major, channels last, and blocks of
// channels that divide every C_i.
#pragma once

#include <vector>

#include "ops/channel_runs.h"

namespace graphrun {

// `outer` rows of the whole, each made of parts[0], parts[1], ... elements.
struct JoinedRows {
  int64_t outer = 0;
  std::vector<int64_t> parts;
  Layout whole;
  std::vector<Layout> layouts;  // of the parts

  // Row-major tensors along any axis.
  static JoinedRows RowMajor(const std::vector<Dims>& parts, int axis) {
    JoinedRows j;
    j.outer = Product(absl::MakeConstSpan(parts[0]).subspan(0, static_cast<size_t>(axis)));
    for (const Dims& d : parts)
      j.parts.push_back(Product(absl::MakeConstSpan(d).subspan(static_cast<size_t>(axis))));
    j.layouts.resize(parts.size());
    return j;
  }

  // Along axis 1 as `layout` says, which is that of a tensor with sizes `dims` and may be that of
  // the whole or of a part. Nothing where the parts do not lie in rows then.
  static absl::optional<JoinedRows> Of(const std::vector<Dims>& parts, const Dims& whole,
                                       const Dims& dims, const Layout& layout) {
    if (!layout.is_blocked() || dims.size() < 3 || dims[1] == 0) return absl::nullopt;
    const auto like = ChannelRuns::Of(dims, layout);
    if (!like || like->run == 1) return absl::nullopt;
    // one block of all channels is channels last, unless it is a block of a common size
    const bool last = like->blocks == 1 && !like->named_block;
    if (like->blocks == 1 && like->named_block && like->run != 16 && like->run != 8)
      return absl::nullopt;
    const auto of = [&](const Dims& d) -> absl::optional<Layout> {
      ChannelRuns r = *like;
      r.run = last ? d[1] : like->run;
      if (r.run == 0 || d[1] % r.run != 0) return absl::nullopt;
      r.blocks = d[1] / r.run;
      r.named_block = !last && r.blocks == 1;
      return r.LayoutOf(d);
    };
    JoinedRows j;
    const int64_t positions = Product(absl::MakeConstSpan(whole).subspan(2));
    j.outer = last ? whole[0] * positions : whole[0];
    const auto joined = of(whole);
    if (!joined) return absl::nullopt;
    j.whole = *joined;
    for (const Dims& d : parts) {
      const auto part = of(d);
      if (!part) return absl::nullopt;
      j.layouts.push_back(*part);
      j.parts.push_back(last ? d[1] : d[1] * positions);
    }
    return j;
  }
};

}  // namespace graphrun
