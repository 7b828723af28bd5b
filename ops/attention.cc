// Attention: softmax(scale Q K^T + bias) V over heads, with caches, masks and windows.
//
// Source: https://onnx.ai/onnx/operators (Attention 25); Vaswani et al. (2017), arXiv:1706.03762.
// Opset history: 24 added nonpad_kv_seqlen and the offset of the causal frontier, 25 the windows.
// Element types: floats. A query without any key gives 0. `fast` serves f32 where nothing but Y and
// the caches is asked for; everything else, and the gradient, goes through the body.
//
// Letters: Q [B, H, L, D], K [B, Hkv, S, D], V [B, Hkv, S, Dv]; S counts the cache in.
#include "ops/attention_kernel.h"
#include "ops/multiply_adds.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr int kMask = 3, kPastKey = 4, kPastValue = 5, kValid = 6;

// Heads, length and width of an input of 3 or 4 axes.
struct Sizes {
  Dim batch, heads, length, width;
};

Sizes SizesOf(const Shape& s, int64_t heads) {
  if (!s.has_rank()) return {};
  if (s.rank() == 4) return {s[0], s[1], s[2], s[3]};
  Dim width;
  if (heads > 0 && s[2].is_number()) width = Dim(s[2].value() / heads);
  return {s[0], heads > 0 ? Dim(heads) : Dim(), s[1], width};
}

Dim Plus(const Dim& a, const Dim& b) {
  return a.is_number() && b.is_number() ? Dim(a.value() + b.value()) : Dim();
}

absl::Status InferAttention(InferContext& c) {
  const int64_t q_heads = c.Int("q_num_heads"), kv_heads = c.Int("kv_num_heads");
  const DType dtype = c.input_dtype(0);
  const Shape &q = c.input_shape(0), &k = c.input_shape(1), &v = c.input_shape(2);
  if (c.has_input(kPastKey) != c.has_input(kPastValue))
    return c.Error("past_key and past_value must be given together");
  if (c.has_input(kValid) && c.has_input(kPastKey))
    return c.Error("nonpad_kv_seqlen does not go with past_key and past_value");
  for (const char* side : {"left_window_size", "right_window_size"}) {
    if (c.Int(side, -1) < -1) {
      return c.Error(side, " is ", c.Int(side, -1), " but must be -1 or a number of positions");
    }
  }
  if (!q.has_rank()) {
    for (int o = 0; o < 4; ++o) c.set_output(o, o == 2 ? c.input_dtype(2) : dtype, Shape());
    return absl::OkStatus();
  }
  for (const Shape* s : {&q, &k, &v}) {
    if (!s->has_rank()) continue;
    if (s->rank() != q.rank() || (s->rank() != 3 && s->rank() != 4)) {
      return c.Error("Q, K and V must all have 3 or all have 4 axes but are ", q.ToString(), ", ",
                     k.ToString(), ", ", v.ToString());
    }
  }
  if (q.rank() == 3) {
    if (q_heads <= 0 || kv_heads <= 0)
      return c.Error("q_num_heads and kv_num_heads are required where Q has 3 axes");
    const std::pair<const Shape*, int64_t> inputs[] = {
        {&q, q_heads}, {&k, kv_heads}, {&v, kv_heads}};
    for (const auto& [s, heads] : inputs) {
      if (s->has_rank() && (*s)[2].is_number() && (*s)[2].value() % heads != 0)
        return c.Error("the width ", (*s)[2].value(), " does not divide into ", heads, " heads");
    }
  }
  const Sizes qs = SizesOf(q, q_heads), ks = SizesOf(k, kv_heads), vs = SizesOf(v, kv_heads);
  if (qs.heads.is_number() && ks.heads.is_number() &&
      (ks.heads.value() == 0 || qs.heads.value() % ks.heads.value() != 0)) {
    return c.Error("the ", qs.heads.value(), " heads of Q are no multiple of the ",
                   ks.heads.value(), " heads of K");
  }
  if (qs.width.is_number() && ks.width.is_number() && qs.width.value() != ks.width.value())
    return c.Error("Q has heads of size ", qs.width.value(), " but K of size ", ks.width.value());
  if (ks.length.is_number() && vs.length.is_number() && ks.length.value() != vs.length.value()) {
    return c.Error("K has ", ks.length.value(), " positions but V has ", vs.length.value());
  }
  Dim total = ks.length;
  if (c.has_input(kPastKey)) {
    const Shape& past = c.input_shape(kPastKey);
    total = past.has_rank() && past.rank() == 4 ? Plus(past[2], ks.length) : Dim();
  }
  if (q.rank() == 4) {
    c.set_output(0, dtype, Shape(std::vector<Dim>{qs.batch, qs.heads, qs.length, vs.width}));
  } else {
    const Dim width = vs.width.is_number() ? Dim(q_heads * vs.width.value()) : Dim();
    c.set_output(0, dtype, Shape(std::vector<Dim>{qs.batch, qs.length, width}));
  }
  c.set_output(1, dtype, Shape(std::vector<Dim>{qs.batch, ks.heads, total, ks.width}));
  c.set_output(2, c.input_dtype(2), Shape(std::vector<Dim>{qs.batch, ks.heads, total, vs.width}));
  c.set_output(3, dtype, Shape(std::vector<Dim>{qs.batch, qs.heads, qs.length, total}));
  return absl::OkStatus();
}

// ---- body

// [B, L, H * D] as [B, H, L, D]; an input of 4 axes as it is.
Expr SplitHeads(Expr x, int64_t heads) {
  if (x.shape().rank() == 4) return x;
  return Transpose(Reshape(x, {0, 0, heads, -1}), {0, 2, 1, 3});
}

// Each head of [B, Hkv, S, D] `times` in a row.
Expr RepeatHeads(Expr x, int64_t times) {
  if (times == 1) return x;
  Builder& b = *x.builder();
  Expr spread = ConcatAll({DimOf(x, 0), DimOf(x, 1), b.Ints({times}), DimOf(x, 2), DimOf(x, 3)}, 0);
  Expr many = Expand(Unsqueeze(x, {2}), spread);
  Expr heads = DimOf(x, 1) * b.Ints({times});
  return Reshape(many, ConcatAll({DimOf(x, 0), heads, DimOf(x, 2), DimOf(x, 3)}, 0));
}

Expr Positions(Expr length, std::vector<int64_t> shape) {
  Builder& b = *length.builder();
  Expr range =
      b.Op("Range", {b.Scalar(DType::kInt64, 0), Squeeze(length, {0}), b.Scalar(DType::kInt64, 1)});
  return Reshape(range, std::move(shape));
}

// What is added to the scores; undefined where nothing is.
class Bias {
 public:
  Bias(BodyContext& b, Expr q, Expr k, DType dtype) : b_(b), dtype_(dtype) {
    Builder& e = b.builder();
    Expr length = DimOf(q, 2), total = DimOf(k, 2);
    const int64_t left = b.Int("left_window_size", -1), right = b.Int("right_window_size", -1);
    const bool causal = b.Int("is_causal") != 0;
    if (b.has_input(kMask)) AddMask(b.x(kMask), k);
    Expr keys = Positions(total, {1, -1});
    if (causal || left >= 0 || right >= 0) {
      Expr at = Positions(length, {-1, 1});
      if (b.has_input(kPastKey)) {
        at = at + DimOf(b.x(kPastKey), 2);
      } else if (b.has_input(kValid)) {
        at = at + Reshape(b.x(kValid), {-1, 1, 1, 1}) - length;
      }
      if (causal) Allow(keys <= at);
      if (left >= 0) Allow(at <= keys + e.Ints({left}));
      if (right >= 0) Allow(keys <= at + e.Ints({right}));
      may_be_empty_ |= b.has_input(kValid) || left >= 0 || right >= 0;
    }
    if (b.has_input(kValid)) {
      Allow(keys < Reshape(b.x(kValid), {-1, 1, 1, 1}));
      may_be_empty_ = true;
    }
    if (allowed_.is_defined()) {
      Expr choice = Where(allowed_, e.Scalar(dtype, 0), Never());
      value = value.is_defined() ? value + choice : choice;
    }
    if (value.is_defined() && may_be_empty_) {
      empty = ReduceMax(value, {-1}, true) <= Never();
    }
  }
  Expr value;  // broadcasts to [B, H, L, S]
  Expr empty;  // bool: queries without a key; undefined: there are none

 private:
  Expr Never() { return b_.builder().Scalar(dtype_, -std::numeric_limits<double>::infinity()); }
  void Allow(Expr condition) {
    allowed_ = allowed_.is_defined() ? And(allowed_, condition) : condition;
  }
  void AddMask(Expr mask, Expr k) {
    may_be_empty_ = true;
    value = mask.dtype() == DType::kBool ? Where(mask, b_.builder().Scalar(dtype_, 0), Never())
                                         : Cast(mask, dtype_);
    const Shape& s = mask.shape();
    if (!s.has_rank() || s.rank() == 0) return;
    const Dim &own = s[s.rank() - 1], &total = k.shape()[2];
    if (own.SurelyEquals(total)) return;
    // Keys behind the mask's end are out.
    const int last = s.rank() - 1;
    Expr missing = DimOf(k, 2) - DimOf(mask, last);
    std::vector<int64_t> zeros(static_cast<size_t>(2 * s.rank() - 1), 0);
    value = b_.Op("Pad", {value, ConcatAll({b_.builder().Ints(zeros), missing}, 0), Never()});
  }

  BodyContext& b_;
  DType dtype_;
  bool may_be_empty_ = false;
  Expr allowed_;
};

void AttentionBody(BodyContext& b) {
  Builder& e = b.builder();
  for (int i = 0; i < 3; ++i) {
    if (!b.x(i).shape().has_rank()) return b.Refuse(b.Error("the rank of an input is unknown"));
  }
  const bool packed = b.x(0).shape().rank() == 3;
  const DType dtype = b.x(0).dtype();
  Expr q = SplitHeads(b.x(0), b.Int("q_num_heads"));
  Expr k = SplitHeads(b.x(1), b.Int("kv_num_heads"));
  Expr v = SplitHeads(b.x(2), b.Int("kv_num_heads"));
  for (const Expr& x : {q, k, v}) {
    if (!x.shape().has_rank() || x.shape().rank() != 4)
      return b.Refuse(b.Error("the heads are unknown"));
  }
  const Dim &q_heads = q.shape()[1], &kv_heads = k.shape()[1];
  if (!(q_heads.is_number() && kv_heads.is_number()) && !q_heads.SurelyEquals(kv_heads))
    return b.Refuse(b.Error("the number of heads is unknown"));
  if (b.has_input(kPastKey)) {
    k = ConcatAll({b.x(kPastKey), k}, 2);
    v = ConcatAll({b.x(kPastValue), v}, 2);
  }
  const int64_t repeat =
      q_heads.is_number() ? q_heads.value() / std::max<int64_t>(kv_heads.value(), 1) : 1;
  Expr root;
  if (b.has_attr("scale")) {
    root = e.Scalar(dtype, std::sqrt(double{b.Float("scale")}));
  } else if (q.shape()[3].is_number()) {
    const double width = static_cast<double>(std::max<int64_t>(q.shape()[3].value(), 1));
    root = e.Scalar(dtype, 1 / std::sqrt(std::sqrt(width)));
  } else {
    root = Reciprocal(Sqrt(Sqrt(Cast(Squeeze(DimOf(q, 3), {0}), dtype))));
  }
  Expr scores = MatMul(q * root, Transpose(RepeatHeads(k, repeat) * root, {0, 1, 3, 2}));
  const int64_t mode = b.Int("qk_matmul_output_mode");
  Expr shown = scores;
  const double cap = b.Float("softcap", 0);
  if (cap > 0) scores = Tanh(scores / cap) * cap;
  if (mode == 1) shown = scores;
  const Bias bias(b, q, k, dtype);
  if (mode == 2) shown = bias.value.is_defined() ? scores + bias.value : scores;
  if (bias.value.is_defined()) {
    // A query without a key sees everything here, and is set to 0 below: no NaN, not even in the
    // gradient.
    Expr finite =
        bias.empty.is_defined() ? Where(bias.empty, e.Scalar(dtype, 0), bias.value) : bias.value;
    scores = scores + finite;
  }
  const DType precise = static_cast<DType>(b.Int("softmax_precision", static_cast<int>(dtype)));
  Expr weights = Cast(b.Op("Softmax", {Cast(scores, precise)}, {{"axis", -1}}), dtype);
  if (bias.empty.is_defined()) weights = Where(bias.empty, e.Scalar(dtype, 0), weights);
  if (mode == 3) shown = weights;
  Expr y = MatMul(weights, Cast(RepeatHeads(v, repeat), dtype));
  if (packed) {
    const Shape& s = y.shape();
    const bool known = s.has_rank() && s[1].is_number() && s[3].is_number();
    Expr sizes = known ? e.Ints({0, 0, s[1].value() * s[3].value()}) : e.Ints({0, 0, -1});
    y = Reshape(Transpose(y, {0, 2, 1, 3}), sizes);
  }
  const auto own = [](Expr made, Expr input) {
    return made.value() == input.value() ? Identity(made) : made;
  };
  std::vector<Expr> outputs = {y, own(k, b.x(1)), own(v, b.x(2)), shown};
  outputs.resize(static_cast<size_t>(b.num_outputs()));
  b.Return(outputs);
}

Sample Packed(int64_t q_heads, int64_t kv_heads, int64_t d, int64_t dv) {
  return Sample()
      .In({2, 3, q_heads * d})
      .In({2, 4, kv_heads * d})
      .In({2, 4, kv_heads * dv})
      .Attr("q_num_heads", q_heads)
      .Attr("kv_num_heads", kv_heads);
}

Sample Heads(int64_t length, int64_t total) {
  return Sample().In({2, 2, length, 4}).In({2, 2, total, 4}).In({2, 2, total, 5});
}

}  // namespace

void RegisterAttentionOps(OpRegistry& ops) {
  ops.Add(
      OpDef("Attention", 23)
          .Versions({23, 24, 25})
          .Input("Q", "T1")
          .Input("K", "T1")
          .Input("V", "T2")
          .Input("attn_mask", "U", Arity::kOptional)
          .Input("past_key", "T1", Arity::kOptional)
          .Input("past_value", "T2", Arity::kOptional)
          .Input("nonpad_kv_seqlen", "int64", Arity::kOptional)
          .Output("Y", "T1")
          .Output("present_key", "T1", Arity::kOptional)
          .Output("present_value", "T2", Arity::kOptional)
          .Output("qk_matmul_output", "T1", Arity::kOptional)
          .Types("T1", kFloats)
          .Types("T2", kFloats)
          .Types("U", kFloats | kIntegers | kBools)
          .Attr("is_causal", 0)
          .Attr("q_num_heads", Attr::Kind::kInt)
          .Attr("kv_num_heads", Attr::Kind::kInt)
          .Attr("left_window_size", -1)
          .Attr("right_window_size", -1)
          .Attr("qk_matmul_output_mode", 0)
          .Attr("scale", Attr::Kind::kFloat)
          .Attr("softcap", 0.f)
          .Attr("softmax_precision", Attr::Kind::kInt)
          .Infer(InferAttention)
          .MultiplyAdds(AttentionMultiplyAdds)
          .Kernel("fast", AttentionKernel)
          .Body(AttentionBody)
          .Try(Heads(3, 4))
          .Try(Packed(2, 2, 4, 5))
          .Try(Packed(4, 2, 4, 3).Attr("is_causal", 1).Attr("scale", 0.3f))
          .Try(Heads(3, 3).Attr("is_causal", 1).Attr("softcap", 2.f))
          .Try(Heads(3, 4).In({3, 4}))
          .Try(Heads(3, 4).In({2, 1, 3, 4}))
          .Try(Heads(2, 4).In(Tensor::Of<bool>({2, 3}, {true, false, true, false, false, false})))
          .Try(Heads(3, 4).None().In({2, 2, 2, 4}).In({2, 2, 2, 5}).Attr("is_causal", 1).Outputs(3))
          .Try(Heads(3, 6)
                   .None()
                   .None()
                   .None()
                   .In(Tensor::Of<int64_t>({2}, {2, 5}))
                   .Variable()
                   .Attr("is_causal", 1)
                   .NoGradient("a query without a key"))
          .Try(Heads(3, 6).Attr("left_window_size", 1).Attr("right_window_size", 2))
          .Try(Heads(3, 4)
                   .In({3, 4})
                   .Attr("softcap", 3.f)
                   .Attr("qk_matmul_output_mode", 2)
                   .Outputs(4))
          .Try(Heads(3, 4).Attr("qk_matmul_output_mode", 3).Outputs(4))
          .Try(Sample().In({2, 3, 8}).In({2, 4, 8}).In({2, 4, 8}).Refused("are required"))
          .Try(Sample().In({2, 3, 2, 4}).In({2, 2, 2, 4}).In({2, 2, 2, 4}).Refused("no multiple")));
}

}  // namespace graphrun
