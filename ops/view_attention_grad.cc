#include "ops/view_attention_grad.h"

#include <algorithm>

#include "ops/panel_product.h"
#include "ops/softmax_rows.h"
#include "ops/vector_math.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

using View = ViewAttentionCase::View;

constexpr int64_t kRows = 64;  // queries that are worked on together

int64_t Panels(int64_t n) { return (n + kPanel - 1) / kPanel; }

// s, e^(a row of scores - their largest), becomes P = s / sum(s); dp becomes dS = P (dP - sum(P
// dP)) scale.
void SoftmaxBack(float sum, int64_t n, float scale, float* s, float* dp) {
  const float inverse = 1.f / sum;
  const float dot = RowSum(n, [=](int64_t i) { return s[i] * dp[i]; }) * inverse;
  GR_INDEPENDENT
  for (int64_t j = 0; j < n; ++j) {
    s[j] *= inverse;
    dp[j] = s[j] * (dp[j] - dot) * scale;
  }
}

// What one head is worked on in: floats from `base`, or their number.
struct Room {
  float *keys, *values;        // K and V transposed, in panels of keys
  float* key_columns;          // K in panels of columns
  float *queries, *gradients;  // a block of Q and of dY in panels of columns
  float *p, *dp;               // [kRows, keys rounded up]
  float *dk, *dv;              // in panels of columns
  float* tile;                 // [kRows, 64]
  int64_t size = 0;

  Room(const ViewAttentionCase& a, float* base) {
    const auto take = [&](int64_t panels, int64_t rows) {
      float* at = base == nullptr ? nullptr : base + size;
      size += panels * rows * kPanel;
      return at;
    };
    const int64_t keys_wide = Panels(a.keys), wide = Panels(a.width),
                  v_wide = Panels(a.value_width);
    keys = take(keys_wide, a.width), values = take(keys_wide, a.value_width);
    key_columns = take(wide, a.keys);
    queries = take(wide, kRows), gradients = take(v_wide, kRows);
    p = take(keys_wide, kRows), dp = take(keys_wide, kRows);
    dk = take(wide, a.keys), dv = take(v_wide, a.keys);
    tile = take(1, kRows);
  }
};

class PanelAttentionGrad : public Kernel {
 public:
  PanelAttentionGrad(ViewAttentionGradCase g, int slots) : g_(std::move(g)), slots_(slots) {}

  absl::Status Run(RunContext& r) const override {
    const ViewAttentionCase& a = g_.forward;
    const int64_t tasks = a.batch * a.heads, floats = Room(a, nullptr).size;
    ParallelFor(slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        const Room room(a, static_cast<float*>(r.scratch()) + slot * floats);
        for (int64_t i = slot * tasks / slots_; i < (slot + 1) * tasks / slots_; ++i)
          Head(r, i / a.heads, i % a.heads, room);
      }
    });
    return absl::OkStatus();
  }

 private:
  static int64_t At(const View& v, int64_t b, int64_t h) {
    return v.offset + b * v.batch + h * v.head;
  }
  // [n, columns] in panels of columns; its rows are `ld` apart.
  static void PackColumns(const float* from, int64_t ld, int64_t n, int64_t columns, float* to) {
    for (int64_t c = 0; c < columns; c += kPanel)
      PackPanel(from + c, ld, std::min(kPanel, columns - c), n, to + c * n);
  }
  // Its transpose in panels of rows.
  static void PackRows(const float* from, int64_t ld, int64_t n, int64_t columns, float* to) {
    for (int64_t row = 0; row < n; row += kPanel) {
      const int64_t count = std::min(kPanel, n - row);
      float* panel = to + row * columns;
      if (count < kPanel) std::fill(panel, panel + columns * kPanel, 0.f);
      PackTransposed(from + row * ld, ld, count, columns, 0, panel);
    }
  }
  // The first `columns` of a panel of n rows, which will be `ld` apart.
  static void Unpack(const float* panel, int64_t n, int64_t columns, float* to, int64_t ld) {
    for (int64_t i = 0; i < n; ++i)
      std::copy(panel + i * kPanel, panel + i * kPanel + columns, to + i * ld);
  }

  void Head(RunContext& r, int64_t b, int64_t h, const Room& m) const {
    const ViewAttentionCase& a = g_.forward;
    const auto in = [&](int i, const View& v) { return r.input(i).data<float>() + At(v, b, h); };
    const auto out = [&](int i, const View& v) {
      return r.output(g_.joined.empty() ? i : 0).mutable_data<float>() + At(v, b, h);
    };
    const float *q = in(0, a.q), *k = in(1, a.k), *v = in(2, a.v);
    const float* mask = r.has_input(3) ? in(3, a.mask) : nullptr;
    const float* dy = in(ViewAttentionGradCase::kDy, g_.dy);
    PackRows(k, a.k.row, a.keys, a.width, m.keys);
    PackRows(v, a.v.row, a.keys, a.value_width, m.values);
    PackColumns(k, a.k.row, a.keys, a.width, m.key_columns);
    const int64_t ld = Panels(a.keys) * kPanel;
    for (int64_t row = 0; row < a.queries; row += kRows) {
      const int64_t count = std::min(kRows, a.queries - row);
      const float *rows = q + row * a.q.row, *gradients = dy + row * g_.dy.row;
      for (int64_t c = 0; c < ld; c += kPanel) {
        PanelProduct(count, {{rows, a.q.row, a.width}}, m.keys + c * a.width, nullptr, 0, m.p + c,
                     ld);
        PanelProduct(count, {{gradients, g_.dy.row, a.value_width}}, m.values + c * a.value_width,
                     nullptr, 0, m.dp + c, ld);
      }
      for (int64_t i = 0; i < count; ++i) {
        float* s = m.p + i * ld;
        const float* add = mask == nullptr ? nullptr : mask + (row + i) * a.mask.row;
        const float most = RowScaleMax(s, a.keys, a.scale, add);
        SoftmaxBack(RowExp(s, most, s, a.keys), a.keys, a.scale, s, m.dp + i * ld);
      }
      PackColumns(rows, a.q.row, count, a.width, m.queries);
      PackColumns(gradients, g_.dy.row, count, a.value_width, m.gradients);
      // dK and dV grow by this block's share, the last one where they belong; dQ is whole.
      const bool last = row + count == a.queries;
      const auto add = [&](const float* left, const float* panels, int64_t columns, float* sum,
                           float* end, int64_t end_ld) {
        for (int64_t c = 0; c < columns; c += kPanel) {
          float* panel = sum + c * a.keys;
          const float* start = row > 0 ? panel : nullptr;
          const PanelFactor factor{left, 1, count, ld};
          if (last && columns - c >= kPanel) {
            PanelProduct(a.keys, {factor}, panels + c * count, start, kPanel, end + c, end_ld);
            continue;
          }
          PanelProduct(a.keys, {factor}, panels + c * count, start, kPanel, panel, kPanel);
          if (last) Unpack(panel, a.keys, columns - c, end + c, end_ld);
        }
      };
      add(m.dp, m.queries, a.width, m.dk, out(1, g_.dk), g_.dk.row);
      add(m.p, m.gradients, a.value_width, m.dv, out(2, g_.dv), g_.dv.row);
      float* dq = out(0, g_.dq) + row * g_.dq.row;
      for (int64_t c = 0; c < a.width; c += kPanel) {
        const PanelFactor factor{m.dp, ld, a.keys};
        const float* panel = m.key_columns + c * a.keys;
        if (a.width - c >= kPanel) {
          PanelProduct(count, {factor}, panel, nullptr, 0, dq + c, g_.dq.row);
          continue;
        }
        PanelProduct(count, {factor}, panel, nullptr, 0, m.tile, kPanel);
        Unpack(m.tile, count, a.width - c, dq + c, g_.dq.row);
      }
    }
  }

  ViewAttentionGradCase g_;
  int slots_;
};

absl::optional<View> ViewAttr(const NodeContext& c, const char* name) {
  const std::vector<int64_t> v = c.Ints(name);
  if (v.size() != 4) return absl::nullopt;
  return View{v[0], v[1], v[2], v[3]};
}

std::vector<int64_t> ToInts(const View& v) { return {v.offset, v.batch, v.head, v.row}; }

}  // namespace

Dims ViewAttentionGradCase::OutputDims(int o) const {
  const ViewAttentionCase& a = forward;
  if (!joined.empty()) return joined;
  const int64_t rows = o == 0 ? a.queries : a.keys, columns = o == 2 ? a.value_width : a.width;
  return flat ? Dims{a.batch, rows, columns} : Dims{a.batch, a.heads, rows, columns};
}

absl::optional<ViewAttentionGradCase> ViewAttentionGradCase::Of(const NodeContext& c) {
  const auto forward = ViewAttentionCase::Of(c);
  const auto dy = ViewAttr(c, "dy_view");
  if (!forward || !dy || !c.has_input(kDy)) return absl::nullopt;
  const ViewAttentionCase& a = *forward;
  const Shape& shape = c.node().input(kDy)->shape();
  if (!shape.is_concrete() || !a.Fits(*dy, a.queries, a.value_width, Product(shape.ToDims()))) {
    return absl::nullopt;
  }
  ViewAttentionGradCase g;
  g.forward = a, g.dy = *dy, g.flat = c.Int("flat") != 0;
  if (g.flat && a.heads != 1) return absl::nullopt;
  const std::vector<int64_t> joined = c.Ints("joined");
  g.joined.assign(joined.begin(), joined.end());
  int64_t elements = 1;
  for (const int64_t d : joined) {
    if (d < 0 || __builtin_mul_overflow(elements, d, &elements)) return absl::nullopt;
  }
  const char* names[] = {"dq_view", "dk_view", "dv_view"};
  View* views[] = {&g.dq, &g.dk, &g.dv};
  int64_t written = 0;  // by the three together
  for (int o = 0; o < 3; ++o) {
    const int64_t rows = o == 0 ? a.queries : a.keys, columns = o == 2 ? a.value_width : a.width;
    int64_t own = a.batch;
    for (const int64_t d : {a.heads, rows, columns}) {
      if (__builtin_mul_overflow(own, d, &own)) return absl::nullopt;
    }
    if (__builtin_add_overflow(written, own, &written)) return absl::nullopt;
    if (joined.empty()) {
      *views[o] = {0, a.heads * rows * columns, rows * columns, columns};
      continue;
    }
    const auto given = ViewAttr(c, names[o]);
    if (!given || !a.Fits(*given, rows, columns, elements)) return absl::nullopt;
    *views[o] = *given;
  }
  if (!joined.empty() && written != elements) return absl::nullopt;
  return g;
}

void ViewAttentionGradCase::SetOn(AttrMap* attrs) const {
  const auto set = [&](const char* name, Attr value) { attrs->insert_or_assign(name, value); };
  forward.SetOn(attrs);
  attrs->erase("merged");
  set("dy_view", ToInts(dy));
  set("flat", flat ? 1 : 0);
  if (joined.empty()) return;
  set("dq_view", ToInts(dq));
  set("dk_view", ToInts(dk));
  set("dv_view", ToInts(dv));
  set("joined", std::vector<int64_t>(joined.begin(), joined.end()));
}

absl::StatusOr<std::unique_ptr<Kernel>> ViewAttentionGradKernel(PrepareContext& c) {
  std::unique_ptr<Kernel> none;
  if (!HasPanelProducts()) return none;
  for (int i = 0; i <= ViewAttentionGradCase::kDy; ++i) {
    if (c.has_input(i) && c.input_dtype(i) != DType::kFloat32) return none;
  }
  auto g = ViewAttentionGradCase::Of(c);
  if (!g || (g->joined.empty() && !(c.has_output(1) && c.has_output(2)))) return none;
  const ViewAttentionCase& a = g->forward;
  const int64_t heads = a.batch * a.heads;
  const int64_t work = heads * a.queries * a.keys * (a.width + a.value_width);
  const int slots =
      static_cast<int>(work < 50000 ? 1 : std::min<int64_t>(std::max(c.threads(), 1), heads));
  c.Scratch(slots * Room(a, nullptr).size * int64_t{sizeof(float)});
  return std::unique_ptr<Kernel>(std::make_unique<PanelAttentionGrad>(*std::move(g), slots));
}

}  // namespace graphrun
