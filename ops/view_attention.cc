#include "ops/view_attention.h"

#include <algorithm>

#include "ops/panel_product.h"
#include "ops/softmax_rows.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

using View = ViewAttentionCase::View;

constexpr int64_t kRows = 24;  // queries that are worked on together

std::vector<int64_t> ToInts(const View& v) { return {v.offset, v.batch, v.head, v.row}; }

class PanelAttention : public Kernel {
 public:
  PanelAttention(const ViewAttentionCase& a, int64_t parts, int slots)
      : a_(a), parts_(parts), slots_(slots) {}

  // K in panels of keys, V in panels of columns, scores, a block of the result.
  static int64_t SlotFloats(const ViewAttentionCase& a) {
    return (Panels(a.keys) * a.width + Panels(a.value_width) * a.keys +
            kRows * (Panels(a.keys) + 1)) *
           kPanel;
  }
  static int64_t Panels(int64_t n) { return (n + kPanel - 1) / kPanel; }

  absl::Status Run(RunContext& r) const override {
    const int64_t tasks = a_.batch * a_.heads * parts_;
    ParallelFor(slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        float* room = static_cast<float*>(r.scratch()) + slot * SlotFloats(a_);
        for (int64_t task = slot * tasks / slots_; task < (slot + 1) * tasks / slots_; ++task)
          Part(r, task, room);
      }
    });
    return absl::OkStatus();
  }

 private:
  void Part(RunContext& r, int64_t task, float* room) const {
    const int64_t part = task % parts_, h = task / parts_ % a_.heads, b = task / parts_ / a_.heads;
    const auto at = [&](int i, const View& v) {
      return r.input(i).data<float>() + v.offset + b * v.batch + h * v.head;
    };
    const float *q = at(0, a_.q), *k = at(1, a_.k), *v = at(2, a_.v);
    const float* mask = r.has_input(3) ? at(3, a_.mask) : nullptr;
    const int64_t key_panels = Panels(a_.keys), value_panels = Panels(a_.value_width);
    float *ks = room, *vs = ks + key_panels * a_.width * kPanel,
          *scores = vs + value_panels * a_.keys * kPanel,
          *out = scores + kRows * key_panels * kPanel;
    for (int64_t p = 0; p < key_panels; ++p) {
      const int64_t n = std::min(kPanel, a_.keys - p * kPanel);
      float* to = ks + p * a_.width * kPanel;
      if (n < kPanel) std::fill(to, to + a_.width * kPanel, 0.f);
      PackTransposed(k + p * kPanel * a_.k.row, a_.k.row, n, a_.width, 0, to);
    }
    for (int64_t p = 0; p < value_panels; ++p) {
      PackPanel(v + p * kPanel, a_.v.row, std::min(kPanel, a_.value_width - p * kPanel), a_.keys,
                vs + p * a_.keys * kPanel);
    }
    const int64_t end = a_.queries * (part + 1) / parts_, ld = key_panels * kPanel;
    for (int64_t row = a_.queries * part / parts_; row < end; row += kRows) {
      const int64_t count = std::min(kRows, end - row);
      for (int64_t p = 0; p < key_panels; ++p) {
        PanelProduct(count, {{q + row * a_.q.row, a_.q.row, a_.width}}, ks + p * a_.width * kPanel,
                     nullptr, 0, scores + p * kPanel, ld);
      }
      float inverse[kRows];
      for (int64_t i = 0; i < count; ++i) {
        float* s = scores + i * ld;
        for (int64_t j = 0; j < a_.keys; ++j) s[j] *= a_.scale;
        if (mask != nullptr) {
          const float* m = mask + (row + i) * a_.mask.row;
          for (int64_t j = 0; j < a_.keys; ++j) s[j] += m[j];
        }
        inverse[i] = 1.f / RowExp(s, RowMax(s, a_.keys), s, a_.keys);
      }
      float* y = r.output(0).mutable_data<float>();
      for (int64_t p = 0; p < value_panels; ++p) {
        PanelProduct(count, {{scores, ld, a_.keys}}, vs + p * a_.keys * kPanel, nullptr, 0, out,
                     kPanel);
        const int64_t n = std::min(kPanel, a_.value_width - p * kPanel);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t l = row + i;
          const int64_t place =
              a_.merged ? (b * a_.queries + l) * a_.heads + h : (b * a_.heads + h) * a_.queries + l;
          float* to = y + place * a_.value_width + p * kPanel;
          for (int64_t j = 0; j < n; ++j) to[j] = out[i * kPanel + j] * inverse[i];
        }
      }
    }
  }

  ViewAttentionCase a_;
  int64_t parts_;  // of the queries of one head
  int slots_;
};

}  // namespace

bool ViewAttentionCase::Fits(const View& view, int64_t rows, int64_t columns,
                             int64_t elements) const {
  int64_t last = view.offset;
  const std::pair<int64_t, int64_t> axes[] = {
      {view.batch, batch}, {view.head, heads}, {view.row, rows}, {1, columns}};
  for (const auto& [step, size] : axes) {
    int64_t way;
    if (step < 0 || size < 1 || __builtin_mul_overflow(step, size - 1, &way) ||
        __builtin_add_overflow(last, way, &last)) {
      return false;
    }
  }
  return view.offset >= 0 && last < elements;
}

absl::optional<ViewAttentionCase> ViewAttentionCase::Of(const NodeContext& c) {
  const std::vector<int64_t> sizes = c.Ints("sizes");
  if (sizes.size() != 6) return absl::nullopt;
  ViewAttentionCase a;
  a.batch = sizes[0], a.heads = sizes[1], a.queries = sizes[2], a.keys = sizes[3];
  a.width = sizes[4], a.value_width = sizes[5];
  a.merged = c.Int("merged") != 0;
  a.scale = c.Float("scale", 1);
  const char* names[] = {"q_view", "k_view", "v_view", "mask_view"};
  View* views[] = {&a.q, &a.k, &a.v, &a.mask};
  for (int i = 0; i < 4; ++i) {
    if (i == 3 && !c.has_input(3)) continue;
    const std::vector<int64_t> view = c.Ints(names[i]);
    const Shape& shape = c.node().input(i)->shape();
    if (view.size() != 4 || !shape.is_concrete()) return absl::nullopt;
    *views[i] = {view[0], view[1], view[2], view[3]};
    const bool fits = a.Fits(*views[i], i == 0 || i == 3 ? a.queries : a.keys,
                             i < 2    ? a.width
                             : i == 2 ? a.value_width
                                      : a.keys,
                             Product(shape.ToDims()));
    if (!fits) return absl::nullopt;
  }
  return a;
}

void ViewAttentionCase::SetOn(AttrMap* attrs) const {
  const auto set = [&](const char* name, Attr value) { attrs->insert_or_assign(name, value); };
  set("sizes", std::vector<int64_t>{batch, heads, queries, keys, width, value_width});
  set("q_view", ToInts(q));
  set("k_view", ToInts(k));
  set("v_view", ToInts(v));
  set("mask_view", ToInts(mask));
  set("scale", scale);
  set("merged", merged ? 1 : 0);
}

absl::StatusOr<std::unique_ptr<Kernel>> ViewAttentionKernel(PrepareContext& c) {
  std::unique_ptr<Kernel> none;
  if (!HasPanelProducts() || c.input_dtype(0) != DType::kFloat32) return none;
  const absl::optional<ViewAttentionCase> a = ViewAttentionCase::Of(c);
  if (!a) return none;
  const int64_t heads = a->batch * a->heads, threads = std::max(c.threads(), 1);
  const int64_t blocks = (a->queries + kRows - 1) / kRows;
  const int64_t parts =
      heads >= 2 * threads ? 1 : std::min(blocks, (2 * threads + heads - 1) / heads);
  const int64_t work = heads * a->queries * a->keys * (a->width + a->value_width);
  const int slots = static_cast<int>(work < 100000 ? 1 : std::min<int64_t>(threads, heads * parts));
  c.Scratch(slots * PanelAttention::SlotFloats(*a) * int64_t{sizeof(float)});
  return std::unique_ptr<Kernel>(std::make_unique<PanelAttention>(*a, parts, slots));
}

}  // namespace graphrun
