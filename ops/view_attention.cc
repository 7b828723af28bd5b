#include "ops/view_attention.h"

#include <algorithm>

#include "ops/pair_panel.h"
#include "ops/panel_product.h"
#include "ops/softmax_rows.h"
#include "ops/vector_math.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

using View = ViewAttentionCase::View;

constexpr int64_t kRows = 24;  // queries that are worked on together

std::vector<int64_t> ToInts(const View& v) { return {v.offset, v.batch, v.head, v.row}; }

// Panels of K and V, and the weights, in f32.
struct FloatPanels {
  using Element = float;
  static int64_t Size(int64_t k) { return k * kPanel; }
  static void PackTransposed(const float* rows, int64_t ld, int64_t n, int64_t k, float* panel) {
    graphrun::PackTransposed(rows, ld, n, k, 0, panel);
  }
  static void Pack(const float* from, int64_t ld, int64_t n, int64_t k, float* panel) {
    PackPanel(from, ld, n, k, panel);
  }
  static void Multiply(int64_t rows, const float* a, int64_t ld, int64_t k, const float* panel,
                       float* c, int64_t ldc) {
    PanelProduct(rows, {{a, ld, k}}, panel, nullptr, 0, c, ldc);
  }
};

// The same in bf16; scores, sums and the softmax are f32.
struct PairPanels {
  using Element = BFloat16;
  static int64_t Size(int64_t k) { return PairPanelSize(k); }
  static void PackTransposed(const BFloat16* rows, int64_t ld, int64_t n, int64_t k,
                             BFloat16* panel) {
    PackPairsTransposed(rows, ld, n, k, 0, panel);
  }
  static void Pack(const BFloat16* from, int64_t ld, int64_t n, int64_t k, BFloat16* panel) {
    PackPairs(from, ld, n, k, panel);
  }
  static void Multiply(int64_t rows, const BFloat16* a, int64_t ld, int64_t k,
                       const BFloat16* panel, float* c, int64_t ldc) {
    PairPanelProduct(rows, {{a, ld, k}}, panel, nullptr, 0, c, ldc);
  }
};

template <typename P>
class PanelAttention : public Kernel {
 public:
  using T = typename P::Element;

  PanelAttention(const ViewAttentionCase& a, int64_t parts, int slots)
      : a_(a), parts_(parts), slots_(slots) {}

  // A slot's memory: scores and a block of the result in f32; K in panels of keys, V in panels of
  // columns, and weights where they are no f32.
  static int64_t SlotBytes(const ViewAttentionCase& a) {
    return FloatsOf(a) * int64_t{sizeof(float)} + ElementsOf(a) * int64_t{sizeof(T)};
  }
  static int64_t Panels(int64_t n) { return (n + kPanel - 1) / kPanel; }

  absl::Status Run(RunContext& r) const override {
    const int64_t tasks = a_.batch * a_.heads * parts_;
    ParallelFor(slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        char* room = static_cast<char*>(r.scratch()) + slot * SlotBytes(a_);
        for (int64_t task = slot * tasks / slots_; task < (slot + 1) * tasks / slots_; ++task)
          Part(r, task, room);
      }
    });
    return absl::OkStatus();
  }

 private:
  static int64_t FloatsOf(const ViewAttentionCase& a) {
    return kRows * (Panels(a.keys) + 1) * kPanel;
  }
  static int64_t ElementsOf(const ViewAttentionCase& a) {
    const int64_t weights = sizeof(T) < sizeof(float) ? kRows * Panels(a.keys) * kPanel : 0;
    return Panels(a.keys) * P::Size(a.width) + Panels(a.value_width) * P::Size(a.keys) + weights;
  }

  void Part(RunContext& r, int64_t task, char* room) const {
    const int64_t part = task % parts_, h = task / parts_ % a_.heads, b = task / parts_ / a_.heads;
    const auto at = [&](int i, const View& v) {
      return r.input(i).data<T>() + v.offset + b * v.batch + h * v.head;
    };
    const T *q = at(0, a_.q), *k = at(1, a_.k), *v = at(2, a_.v);
    const int64_t key_panels = Panels(a_.keys), value_panels = Panels(a_.value_width);
    const int64_t key_size = P::Size(a_.width), value_size = P::Size(a_.keys);
    float *scores = reinterpret_cast<float*>(room), *out = scores + kRows * key_panels * kPanel;
    T *ks = reinterpret_cast<T*>(out + kRows * kPanel), *vs = ks + key_panels * key_size,
      *weights = vs + value_panels * value_size;
    if constexpr (std::is_same_v<T, float>) weights = scores;
    for (int64_t p = 0; p < key_panels; ++p) {
      const int64_t n = std::min(kPanel, a_.keys - p * kPanel);
      T* to = ks + p * key_size;
      if (n < kPanel) std::fill(to, to + key_size, T());
      P::PackTransposed(k + p * kPanel * a_.k.row, a_.k.row, n, a_.width, to);
    }
    for (int64_t p = 0; p < value_panels; ++p) {
      P::Pack(v + p * kPanel, a_.v.row, std::min(kPanel, a_.value_width - p * kPanel), a_.keys,
              vs + p * value_size);
    }
    const int64_t end = a_.queries * (part + 1) / parts_, ld = key_panels * kPanel;
    for (int64_t row = a_.queries * part / parts_; row < end; row += kRows) {
      const int64_t count = std::min(kRows, end - row);
      for (int64_t p = 0; p < key_panels; ++p) {
        P::Multiply(count, q + row * a_.q.row, a_.q.row, a_.width, ks + p * key_size,
                    scores + p * kPanel, ld);
      }
      float inverse[kRows];
      for (int64_t i = 0; i < count; ++i) {
        float* s = scores + i * ld;
        inverse[i] = 1.f / RowExp(s, ScaleMax(r, b, h, row + i, s), s, a_.keys);
        if constexpr (!std::is_same_v<T, float>) RoundRow(s, a_.keys, weights + i * ld);
      }
      T* y = r.output(0).mutable_data<T>();
      for (int64_t p = 0; p < value_panels; ++p) {
        P::Multiply(count, weights, ld, a_.keys, vs + p * value_size, out, kPanel);
        const int64_t n = std::min(kPanel, a_.value_width - p * kPanel);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t l = row + i;
          const int64_t place =
              a_.merged ? (b * a_.queries + l) * a_.heads + h : (b * a_.heads + h) * a_.queries + l;
          T* to = y + place * a_.value_width + p * kPanel;
          const float* from = out + i * kPanel;
          const float share = inverse[i];
          GR_INDEPENDENT
          for (int64_t j = 0; j < n; ++j) to[j] = T(from[j] * share);
        }
      }
    }
  }

  // Scales the scores of query l of head h of sample b and adds the mask's row; their largest.
  float ScaleMax(RunContext& r, int64_t b, int64_t h, int64_t l, float* s) const {
    if (!r.has_input(3)) return RowScaleMax(s, a_.keys, a_.scale, nullptr);
    const int64_t at = a_.mask.offset + b * a_.mask.batch + h * a_.mask.head + l * a_.mask.row;
    if (r.input(3).dtype() == DType::kFloat32)
      return RowScaleMax(s, a_.keys, a_.scale, r.input(3).data<float>() + at);
    const BFloat16* mask = r.input(3).data<BFloat16>() + at;
    for (int64_t j = 0; j < a_.keys; ++j) s[j] = s[j] * a_.scale + static_cast<float>(mask[j]);
    return RowMax(s, a_.keys);
  }

  ViewAttentionCase a_;
  int64_t parts_;  // of the queries of one head
  int slots_;
};

template <typename P>
std::unique_ptr<Kernel> MakeAttention(PrepareContext& c, const ViewAttentionCase& a) {
  const int64_t heads = a.batch * a.heads, threads = std::max(c.threads(), 1);
  const int64_t blocks = (a.queries + kRows - 1) / kRows;
  const int64_t parts =
      heads >= 2 * threads ? 1 : std::min(blocks, (2 * threads + heads - 1) / heads);
  const int64_t work = heads * a.queries * a.keys * (a.width + a.value_width);
  const int slots = static_cast<int>(work < 100000 ? 1 : std::min<int64_t>(threads, heads * parts));
  c.Scratch(slots * PanelAttention<P>::SlotBytes(a));
  return std::make_unique<PanelAttention<P>>(a, parts, slots);
}

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
  const DType dtype = c.input_dtype(0);
  const bool small = dtype == DType::kBFloat16;
  if (small ? !HasPairPanels() : dtype != DType::kFloat32 || !HasPanelProducts()) return none;
  if (c.has_input(3) && c.input_dtype(3) != DType::kFloat32 && c.input_dtype(3) != dtype)
    return none;
  const absl::optional<ViewAttentionCase> a = ViewAttentionCase::Of(c);
  if (!a) return none;
  return small ? MakeAttention<PairPanels>(c, *a) : MakeAttention<FloatPanels>(c, *a);
}

}  // namespace graphrun
