// ai.graphrun.ViewAttentionGrad: the gradients of ViewAttention (ops/view_attention.h) by Q, K and
// V. Inputs: q, k, v, mask (may be left out), dy. The weights are computed again from Q and K.
//
// Attributes: those of ViewAttention but `merged`, and `dy_view` like them. Without `joined` the
// outputs are dQ [B, H, L, D], dK [B, H, S, D] and dV [B, H, S, Dv] (without axis H where `flat` is
// 1). With it there is one output of those sizes, which dQ, dK and dV fill, each where `dq_view`,
// `dk_view`, `dv_view` say.
#pragma once

#include "ops/view_attention.h"

namespace graphrun {

struct ViewAttentionGradCase {
  using View = ViewAttentionCase::View;
  static constexpr int kDy = 4;  // the number of that input
  ViewAttentionCase forward;
  View dy, dq, dk, dv;
  bool flat = false;
  Dims joined;  // empty: three outputs

  // Nothing where the attributes have the wrong lengths or lead out of their tensors.
  static absl::optional<ViewAttentionGradCase> Of(const NodeContext& c);
  void SetOn(AttrMap* attrs) const;
  // Sizes of output o: 0 dQ (or all), 1 dK, 2 dV.
  Dims OutputDims(int o) const;
};

// The f32 kernel: blocks of rows of weights and of their gradients in the second-level cache. Null
// where vector registers are too narrow for it.
absl::StatusOr<std::unique_ptr<Kernel>> ViewAttentionGradKernel(PrepareContext& c);

}  // namespace graphrun
