#include "ops/attention_kernel.h"

#include <cmath>
#include <cstring>

#include "ops/recurrent_math.h"
#include "ops/softmax_rows.h"

namespace graphrun {
namespace {

constexpr int kMask = 3, kPastKey = 4, kPastValue = 5, kValid = 6;
constexpr int64_t kQueries = 64;  // rows of scores that are worked on together

// One of Q, K, V in memory: element (b, h, l, d) is at b * batch + h * head + l * row + d.
struct Heads {
  int64_t batch = 0, head = 0, row = 0, width = 0;
};

Heads HeadsOf(const Dims& dims, int64_t heads) {
  if (dims.size() == 4) return {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], dims[3]};
  const int64_t width = dims[2] / heads;
  return {dims[1] * dims[2], width, dims[2], width};
}

struct AttentionCase {
  int64_t batch, q_heads, kv_heads, queries, keys, past = 0;
  Heads q, k, v, y;
  float scale, softcap;
  bool causal, has_past, has_valid;
  int64_t left, right;
  bool has_mask = false;
  Dims mask_strides;      // over B, H, L; 0 where the mask broadcasts
  int64_t mask_keys = 0;  // the mask's last axis

  int64_t total() const { return past + keys; }
};

absl::optional<AttentionCase> CaseOf(PrepareContext& c) {
  AttentionCase a;
  const Dims q = c.input_dims(0), k = c.input_dims(1), v = c.input_dims(2);
  const bool packed = q.size() == 3;
  a.q_heads = packed ? c.Int("q_num_heads") : q[1];
  a.kv_heads = packed ? c.Int("kv_num_heads") : k[1];
  a.batch = q[0];
  a.queries = packed ? q[1] : q[2];
  a.keys = packed ? k[1] : k[2];
  a.q = HeadsOf(q, a.q_heads), a.k = HeadsOf(k, a.kv_heads), a.v = HeadsOf(v, a.kv_heads);
  a.y = HeadsOf(c.output_dims(0), a.q_heads);
  a.has_past = c.has_input(kPastKey), a.has_valid = c.has_input(kValid);
  if (a.has_past) a.past = c.input_dims(kPastKey)[2];
  a.scale = c.Float("scale", 1.f / std::sqrt(static_cast<float>(std::max<int64_t>(a.q.width, 1))));
  a.softcap = c.Float("softcap", 0);
  a.causal = c.Int("is_causal") != 0;
  a.left = c.Int("left_window_size", -1), a.right = c.Int("right_window_size", -1);
  if (c.has_input(kMask)) {
    a.has_mask = true;
    const Dims own = c.input_dims(kMask), steps = RowMajorStrides(own);
    if (own.empty() || own.size() > 4) return absl::nullopt;
    a.mask_keys = own.back();
    if (a.mask_keys > a.total()) return absl::nullopt;
    const Dims whole = {a.batch, a.q_heads, a.queries};
    a.mask_strides.assign(3, 0);
    const size_t leading = own.size() - 1;
    for (size_t i = 0; i < leading; ++i) {
      const size_t axis = 3 - leading + i;
      if (own[i] != 1 && own[i] != whole[axis]) return absl::nullopt;
      a.mask_strides[axis] = own[i] == 1 ? 0 : steps[i];
    }
  }
  return a;
}

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Adds the bias of query row `l` to its scores; true where some key is left.
bool AddBias(const AttentionCase& a, const Tensor* mask, const int64_t* valid, int64_t b, int64_t h,
             int64_t l, float* scores) {
  int64_t first = 0, last = a.total();
  if (valid != nullptr) last = std::min(last, std::max<int64_t>(valid[b], 0));
  const int64_t at = l + (a.has_past ? a.past : valid != nullptr ? valid[b] - a.queries : 0);
  if (a.causal) last = std::min(last, at + 1);
  if (a.right >= 0 && a.right < a.total()) last = std::min(last, at + a.right + 1);
  if (a.left >= 0 && a.left < a.total() + a.queries) first = std::max(first, at - a.left);
  if (a.has_mask) last = std::min(last, a.mask_keys);
  last = std::max(last, int64_t{0});
  first = std::min(first, last);
  std::fill(scores, scores + first, kNever);
  std::fill(scores + last, scores + a.total(), kNever);
  if (first == last) return false;
  if (!a.has_mask) return true;
  const int64_t offset = b * a.mask_strides[0] + h * a.mask_strides[1] + l * a.mask_strides[2];
  bool any = false;
  if (mask->dtype() == DType::kBool) {
    const bool* m = mask->data<bool>() + offset;
    for (int64_t s = first; s < last; ++s) {
      scores[s] = m[s] ? scores[s] : kNever;
      any |= m[s];
    }
  } else {
    const float* m = mask->data<float>() + offset;
    for (int64_t s = first; s < last; ++s) {
      scores[s] += m[s];
      any |= m[s] != kNever;
    }
  }
  return any;
}

// Copies the cache and the new positions of K or V to `to` [B, Hkv, S, D].
void Append(const AttentionCase& a, const Heads& from, const float* fresh, const float* past,
            float* to) {
  const int64_t width = from.width;
  ParallelFor(
      a.batch * a.kv_heads, std::max<int64_t>(16384 / std::max<int64_t>(a.total() * width, 1), 1),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          float* out = to + i * a.total() * width;
          if (past != nullptr) std::copy_n(past + i * a.past * width, a.past * width, out);
          const float* in = fresh + i / a.kv_heads * from.batch + i % a.kv_heads * from.head;
          for (int64_t l = 0; l < a.keys; ++l)
            std::copy_n(in + l * from.row, width, out + (a.past + l) * width);
        }
      });
}

class Fast : public Kernel {
 public:
  Fast(AttentionCase a, int slots) : a_(std::move(a)), slots_(slots) {}

  // Scratch: scores for each slot [kQueries, S]; then the joined K and V where there is a cache.
  static int64_t ScratchFloats(const AttentionCase& a, int slots) {
    int64_t floats = slots * kQueries * a.total();
    if (a.has_past) floats += a.batch * a.kv_heads * a.total() * (a.k.width + a.v.width);
    return floats;
  }

  absl::Status Run(RunContext& r) const override {
    const AttentionCase& a = a_;
    const float* q = r.input(0).data<float>();
    const float* k = r.input(1).data<float>();
    const float* v = r.input(2).data<float>();
    const Tensor* mask = a.has_mask ? &r.input(kMask) : nullptr;
    const int64_t* valid = a.has_valid ? r.input(kValid).data<int64_t>() : nullptr;
    float* y = r.output(0).mutable_data<float>();
    float* scores = static_cast<float*>(r.scratch());
    float* room = scores + slots_ * kQueries * a.total();
    Heads ks = a.k, vs = a.v;
    const bool wants_key = r.has_output(1), wants_value = r.has_output(2);
    if (a.has_past || wants_key) {
      float* to = wants_key ? r.output(1).mutable_data<float>() : room;
      Append(a, a.k, k, a.has_past ? r.input(kPastKey).data<float>() : nullptr, to);
      k = to;
      const int64_t n = a.total() * ks.width;
      ks = {a.kv_heads * n, n, ks.width, ks.width};
    }
    if (a.has_past || wants_value) {
      float* to = wants_value ? r.output(2).mutable_data<float>()
                              : room + a.batch * a.kv_heads * a.total() * a.k.width;
      Append(a, a.v, v, a.has_past ? r.input(kPastValue).data<float>() : nullptr, to);
      v = to;
      const int64_t n = a.total() * vs.width;
      vs = {a.kv_heads * n, n, vs.width, vs.width};
    }
    const int64_t blocks = (a.queries + kQueries - 1) / kQueries;
    const int64_t tasks = a.batch * a.q_heads * blocks;
    const int64_t group = a.q_heads / std::max<int64_t>(a.kv_heads, 1);
    const int64_t total = a.total();
    // Each slot takes every slots_-th task, so that a slot's buffer has one user.
    ParallelFor(slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        float* s = scores + slot * kQueries * total;
        for (int64_t task = slot; task < tasks; task += slots_) {
          const int64_t block = task % blocks, h = task / blocks % a.q_heads,
                        b = task / blocks / a.q_heads;
          const int64_t first = block * kQueries, count = std::min(kQueries, a.queries - first);
          float* out = y + b * a.y.batch + h * a.y.head + first * a.y.row;
          Gemm(false, true, count, total, a.q.width,
               q + b * a.q.batch + h * a.q.head + first * a.q.row, a.q.row,
               k + b * ks.batch + h / group * ks.head, ks.row, 0.f, s, total);
          for (int64_t i = 0; i < count; ++i) Weigh(mask, valid, b, h, first + i, s + i * total);
          Gemm(false, false, count, a.v.width, total, s, total,
               v + b * vs.batch + h / group * vs.head, vs.row, 0.f, out, a.y.row);
        }
      }
    });
    return absl::OkStatus();
  }

 private:
  // One row of scores to weights.
  void Weigh(const Tensor* mask, const int64_t* valid, int64_t b, int64_t h, int64_t l,
             float* s) const {
    const int64_t n = a_.total();
    for (int64_t i = 0; i < n; ++i) s[i] *= a_.scale;
    if (a_.softcap > 0) {
      const float cap = a_.softcap, inverse = 1.f / cap;
      for (int64_t i = 0; i < n; ++i) s[i] = vm::Tanh(s[i] * inverse) * cap;
    }
    if (!AddBias(a_, mask, valid, b, h, l, s)) {
      std::fill(s, s + n, 0.f);
      return;
    }
    const float inverse = 1.f / RowExp(s, RowMax(s, n), s, n);
    for (int64_t i = 0; i < n; ++i) s[i] *= inverse;
  }

  AttentionCase a_;
  int slots_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Kernel>> AttentionKernel(PrepareContext& c) {
  std::unique_ptr<Kernel> none;
  for (int i = 0; i < 3; ++i) {
    if (c.input_dtype(i) != DType::kFloat32) return none;
  }
  const DType precise = static_cast<DType>(c.Int("softmax_precision", 1));
  if (precise != DType::kFloat32 || c.has_output(3)) return none;
  if (c.has_input(kMask) && c.input_dtype(kMask) != DType::kBool &&
      c.input_dtype(kMask) != DType::kFloat32) {
    return none;
  }
  const absl::optional<AttentionCase> a = CaseOf(c);
  if (!a) return none;
  const int64_t tasks = a->batch * a->q_heads * ((a->queries + kQueries - 1) / kQueries);
  const int slots = static_cast<int>(std::max<int64_t>(std::min<int64_t>(tasks, c.threads()), 1));
  c.Scratch(Fast::ScratchFloats(*a, slots) * int64_t{sizeof(float)});
  return std::unique_ptr<Kernel>(std::make_unique<Fast>(*a, slots));
}

}  // namespace graphrun
