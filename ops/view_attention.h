// ai.graphrun.ViewAttention: y = softmax(scale * Q K^T + mask) V, where Q, K and V are views of
// tensors that may lie anywhere in them, so that the transposes and splits around an attention need
// not run.
//
// Attributes: `sizes` B, H, L, S, D, Dv. `q_view`, `k_view`, `v_view`: the place of element (0, 0,
// 0, 0), then the steps over B, H and L (or S), in elements; the last axis has step 1. `mask_view`:
// input 3, its place and its steps over B, H and L. `merged` 0: y is [B, H, L, Dv]; 1: [B, L, H,
// Dv]; 2, with one head: [B, L, Dv].
#pragma once

#include "runtime/op/infer_context.h"
#include "runtime/op/kernel.h"
#include "runtime/op/op_def.h"

namespace graphrun {

struct ViewAttentionCase {
  struct View {
    int64_t offset = 0, batch = 0, head = 0, row = 0;
  };
  int64_t batch = 0, heads = 0, queries = 0, keys = 0, width = 0, value_width = 0;
  View q, k, v, mask;
  bool merged = false;
  float scale = 1;

  // Nothing where the attributes have the wrong lengths or lead out of their tensors.
  static absl::optional<ViewAttentionCase> Of(const NodeContext& c);
  void SetOn(AttrMap* attrs) const;
  bool Fits(const View& view, int64_t rows, int64_t columns, int64_t elements) const;
};

// The kernel for f32 and bf16: rows of scores in a cache-sized buffer, over packed K and V. Null
// where the processor's vectors are too narrow or (bf16) it has no products of bf16.
absl::StatusOr<std::unique_ptr<Kernel>> ViewAttentionKernel(PrepareContext& c);

}  // namespace graphrun
