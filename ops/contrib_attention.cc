// Attention, QAttention and MultiHeadAttention of domain com.microsoft, as bodies over ONNX's
// Attention.
//
// Source: github.com/microsoft/onnxruntime, docs/ContribOperators.md. Element types: floats. Masks
// add mask_filter_value where they hide a key: raw masks of 2 to 4 axes, lengths [B], ends and
// starts [2 B], and [3 B + 2] that begins with lengths. do_rotary turns halves of the first
// rotary_embedding_dim elements of a head, with base 10000 and positions that count from the past.
//
// Letters: input [B, L, I], heads N of size D.
#include <cmath>

#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kMicrosoft[] = "com.microsoft";

Expr Plus(Expr a, Expr b) { return a.is_defined() ? (b.is_defined() ? a + b : a) : b; }

// [B, L, N * D] as [B, N, L, D].
Expr SplitHeads(Expr x, int64_t heads) {
  return Transpose(Reshape(x, {0, 0, heads, -1}), {0, 2, 1, 3});
}

Expr JoinHeads(Expr y) { return Reshape(Transpose(y, {0, 2, 1, 3}), {0, 0, -1}); }

Dim BatchOf(Expr x) { return x.shape().has_rank() ? x.shape()[0] : Dim(); }

// A mask of keys (1: seen) as a bias that broadcasts to [B, N, L, S]; `keys` is S as a 1-D tensor.
Expr MaskBias(BodyContext& b, Expr mask, Expr keys, DType dtype, const Dim& batch) {
  Builder& e = b.builder();
  const int rank = mask.shape().rank();
  Expr seen;
  if (rank == 1) {
    Expr at =
        e.Op("Range", {e.Scalar(DType::kInt64, 0), Squeeze(keys, {0}), e.Scalar(DType::kInt64, 1)});
    at = Reshape(at, {1, 1, 1, -1});
    mask = Reshape(Cast(mask, DType::kInt64), {-1, 1, 1, 1});
    const Dim& n = mask.shape()[0];
    const bool several =
        n.is_number() && batch.is_number() && batch.value() > 0 && n.value() > batch.value();
    if (several) {
      const int64_t rows = batch.value();
      seen = at < Slice(mask, {0}, {rows}, {0});
      if (n.value() == 2 * rows) seen = And(seen, at >= Slice(mask, {rows}, {2 * rows}, {0}));
    } else {
      seen = at < mask;
    }
  } else {
    seen = Not(Equal(mask, 0));
    if (rank == 2) seen = Unsqueeze(seen, {1, 2});
    if (rank == 3) seen = Unsqueeze(seen, {1});
  }
  Expr hidden = e.Scalar(dtype, double{b.Float("mask_filter_value", -10000.f)});
  return Where(seen, e.Scalar(dtype, 0), hidden);
}

// x [B, N, L, D] turned by its positions, which begin at `first` (1-D, one element).
Expr Rotated(BodyContext& b, Expr x, Expr first) {
  Builder& e = b.builder();
  const Shape& s = x.shape();
  int64_t size = b.Int("rotary_embedding_dim");
  if (size == 0 && s[3].is_number()) size = s[3].value();
  Tensor turns(DType::kFloat32, {1, size / 2});
  for (int64_t i = 0; i < size / 2; ++i) {
    turns.mutable_data<float>()[i] = static_cast<float>(
        std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(size)));
  }
  const Expr begin = Squeeze(first, {0}), end = Squeeze(first + DimOf(x, 2), {0});
  const Expr at = e.Op("Range", {begin, end, e.Scalar(DType::kInt64, 1)});
  const Expr angles = Unsqueeze(Cast(at, DType::kFloat32), {1}) * e.Constant(std::move(turns));
  const Expr all = ConcatAll({DimOf(x, 0), ShapeOf(angles)}, 0);
  return e.Op(
      "RotaryEmbedding",
      {x, Cast(Expand(Cos(angles), all), x.dtype()), Cast(Expand(Sin(angles), all), x.dtype())},
      {{"rotary_embedding_dim", size}});
}

// ONNX's Attention on heads, with what it needs; outputs Y [B, N, L, Dv], K and V with their past.
std::vector<Expr> Attend(BodyContext& b, Expr q, Expr k, Expr v, Expr bias, Expr past_k,
                         Expr past_v) {
  AttrMap attrs = {{"is_causal", b.Int("unidirectional")}};
  if (b.Float("scale", 0) != 0) attrs.emplace("scale", b.Float("scale"));
  return b.builder().Ops("Attention", {q, k, v, bias, past_k, past_v}, 3, attrs);
}

// Attention over Q, K and V that lie behind each other in `all` [B, L, sum of sizes].
void AttendPacked(BodyContext& b, Expr all, const std::vector<int64_t>& sizes, Expr mask, Expr past,
                  Expr attention_bias) {
  Builder& e = b.builder();
  const int64_t heads = b.Int("num_heads");
  Expr heads_of[3];
  int64_t at = 0;
  for (size_t i = 0; i < 3; ++i) {
    heads_of[i] = SplitHeads(Slice(all, {at}, {at + sizes[i]}, {2}), heads);
    at += sizes[i];
  }
  Expr past_k, past_v;
  Expr keys = DimOf(all, 1);
  if (past.is_defined()) {
    past_k = Gather(past, e.Scalar(DType::kInt64, 0), 0);
    past_v = Gather(past, e.Scalar(DType::kInt64, 1), 0);
    keys = keys + DimOf(past_k, 2);
  }
  if (b.Int("do_rotary") != 0) {
    const Shape& s = heads_of[0].shape();
    const int64_t size = b.Int("rotary_embedding_dim");
    if (!s.has_rank() || !s[3].is_number() || size < 0 || size > s[3].value() ||
        (size == 0 ? s[3].value() : size) % 2 != 0) {
      return b.Refuse(b.Error("do_rotary with rotary_embedding_dim ", size, " and heads ",
                              s.ToString(), ": it must be even and at most the size of a head"));
    }
    const Expr first = past.is_defined() ? DimOf(past_k, 2) : e.Ints({0});
    for (int i = 0; i < 2; ++i) heads_of[i] = Rotated(b, heads_of[i], first);
  }
  Expr bias;
  if (mask.is_defined()) {
    if (!mask.shape().has_rank()) return b.Refuse(b.Error("the rank of mask_index is unknown"));
    bias = MaskBias(b, mask, keys, all.dtype(), BatchOf(all));
  }
  const std::vector<Expr> y =
      Attend(b, heads_of[0], heads_of[1], heads_of[2], Plus(bias, attention_bias), past_k, past_v);
  std::vector<Expr> outputs = {JoinHeads(y[0])};
  if (b.num_outputs() > 1) {
    outputs.push_back(ConcatAll({Unsqueeze(y[1], {0}), Unsqueeze(y[2], {0})}, 0));
  }
  b.Return(outputs);
}

// ---- Attention: input, weights, bias, mask_index, past, attention_bias

absl::Status InferAttention(InferContext& c) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(1), &past = c.input_shape(4);
  const int64_t heads = c.Int("num_heads");
  if (heads <= 0) return c.Error("num_heads is ", heads, " but must be positive");
  const std::vector<int64_t> sizes = c.Ints("qkv_hidden_sizes");
  Dim width, head;
  if (sizes.size() == 3) {
    width = Dim(sizes[2]);
  } else if (w.has_rank() && w.rank() == 2 && w[1].is_number()) {
    width = Dim(w[1].value() / 3);
  }
  if (width.is_number()) head = Dim(width.value() / heads);
  if (!x.has_rank() || x.rank() != 3) {
    c.set_output(0, c.input_dtype(0), Shape::UnknownOfRank(3));
    c.set_output(1, c.input_dtype(0), Shape::UnknownOfRank(5));
    return absl::OkStatus();
  }
  Dim total = c.has_input(4) ? Dim() : x[1];
  if (past.has_rank() && past.rank() == 5 && past[3].is_number() && x[1].is_number())
    total = Dim(past[3].value() + x[1].value());
  c.set_output(0, c.input_dtype(0), Shape(std::vector<Dim>{x[0], x[1], width}));
  c.set_output(1, c.input_dtype(0), Shape(std::vector<Dim>{Dim(2), x[0], Dim(heads), total, head}));
  return absl::OkStatus();
}

void AttentionBody(BodyContext& b) {
  std::vector<int64_t> sizes = b.Ints("qkv_hidden_sizes");
  if (sizes.size() != 3) {
    const Shape& w = b.x(1).shape();
    if (!w.has_rank() || w.rank() != 2 || !w[1].is_number())
      return b.Refuse(b.Error("the sizes of the weights are unknown"));
    sizes.assign(3, w[1].value() / 3);
  }
  AttendPacked(b, Plus(MatMul(b.x(0), b.x(1)), b.x(2)), sizes, b.x(3), b.x(4), b.x(5));
}

// ---- QAttention: input, weight, bias, input_scale, weight_scale, mask_index, input_zero_point,
// weight_zero_point, past

absl::Status InferQuantized(InferContext& c) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(1), &past = c.input_shape(8);
  const int64_t heads = c.Int("num_heads");
  if (heads <= 0) return c.Error("num_heads is ", heads, " but must be positive");
  Dim batch, length, width, head, total;
  if (x.has_rank() && x.rank() == 3) batch = x[0], length = x[1];
  if (w.has_rank() && w.rank() == 2 && w[1].is_number()) {
    width = Dim(w[1].value() / 3);
    head = Dim(width.value() / heads);
  }
  if (!c.has_input(8)) total = length;
  if (past.has_rank() && past.rank() == 5 && past[3].is_number() && length.is_number())
    total = Dim(past[3].value() + length.value());
  const DType dtype = c.input_dtype(2);
  c.set_output(0, dtype, Shape(std::vector<Dim>{batch, length, width}));
  c.set_output(1, dtype, Shape(std::vector<Dim>{Dim(2), batch, Dim(heads), total, head}));
  return absl::OkStatus();
}

void QuantizedBody(BodyContext& b) {
  const Shape& w = b.x(1).shape();
  if (!w.has_rank() || w.rank() != 2 || !w[1].is_number())
    return b.Refuse(b.Error("the sizes of the weights are unknown"));
  Expr product = b.Op("MatMulInteger", {b.x(0), b.x(1), b.x(6), b.x(7)});
  Expr all = Cast(product, b.x(2).dtype()) * (b.x(3) * b.x(4)) + b.x(2);
  AttendPacked(b, all, std::vector<int64_t>(3, w[1].value() / 3), b.x(5), b.x(8), Expr());
}

// ---- MultiHeadAttention: query, key, value, bias, key_padding_mask, attention_bias, past_key,
// past_value, past_sequence_length, cache_indirection. Where past_sequence_length is given, the
// pasts are buffers with that many keys in them, and the presents the same buffers with the new
// ones.

absl::Status InferMultiHead(InferContext& c) {
  const Shape &q = c.input_shape(0), &k = c.input_shape(1), &v = c.input_shape(2);
  const int64_t heads = c.Int("num_heads");
  if (heads <= 0) return c.Error("num_heads is ", heads, " but must be positive");
  Dim batch, length, width, total, head, value_head;
  if (q.has_rank() && q.rank() >= 3) batch = q[0], length = q[1];
  if (q.has_rank() && q.rank() == 3 && q[2].is_number()) head = Dim(q[2].value() / heads);
  if (q.has_rank() && q.rank() == 5) head = q[4], value_head = q[4], total = length;
  if (k.has_rank() && k.rank() == 5) value_head = k[4], total = k[1];
  if (k.has_rank() && k.rank() == 4) total = k[2];
  if (k.has_rank() && k.rank() == 3) total = k[1];
  if (v.has_rank() && v.rank() == 3 && v[2].is_number()) value_head = Dim(v[2].value() / heads);
  if (v.has_rank() && v.rank() == 4) value_head = v[3];
  if (value_head.is_number()) width = Dim(value_head.value() * heads);
  if (c.has_input(9))
    return c.Error("cache_indirection, the order of a beam search, is not supported: leave it out");
  if (c.has_input(8) && !(c.has_input(6) && c.has_input(7)))
    return c.Error("past_sequence_length is given without past_key and past_value");
  if (c.has_input(8)) {
    const Shape& past = c.input_shape(6);
    total = past.has_rank() && past.rank() == 4 ? past[2] : Dim();
  } else if (c.has_input(6)) {
    const Shape& past = c.input_shape(6);
    total = past.has_rank() && past.rank() == 4 && past[2].is_number() && total.is_number()
                ? Dim(past[2].value() + total.value())
                : Dim();
  }
  const DType dtype = c.input_dtype(0);
  c.set_output(0, dtype, Shape(std::vector<Dim>{batch, length, width}));
  c.set_output(1, dtype, Shape(std::vector<Dim>{batch, Dim(heads), total, head}));
  c.set_output(2, dtype, Shape(std::vector<Dim>{batch, Dim(heads), total, value_head}));
  return absl::OkStatus();
}

void MultiHeadBody(BodyContext& b) {
  Builder& e = b.builder();
  const int64_t heads = b.Int("num_heads");
  for (int i = 0; i < 3; ++i) {
    if (b.has_input(i) && !b.x(i).shape().has_rank())
      return b.Refuse(b.Error("the rank of an input is unknown"));
  }
  const auto pick = [&](Expr packed, int64_t i) {  // [B, L, N, parts, D] -> [B, N, L, D]
    return Transpose(Gather(packed, e.Scalar(DType::kInt64, static_cast<double>(i)), 3),
                     {0, 2, 1, 3});
  };
  Expr q = b.x(0), k = b.x(1), v = b.x(2);
  if (q.shape().rank() == 5) {
    Expr packed = q;
    q = pick(packed, 0), k = pick(packed, 1), v = pick(packed, 2);
  } else {
    Expr parts[3];
    if (b.has_input(3)) {
      const Shape& s = q.shape();
      if (!s[2].is_number()) return b.Refuse(b.Error("the width of the query is unknown"));
      const int64_t width = s[2].value();
      parts[0] = Slice(b.x(3), {0}, {width}, {0});
      parts[1] = Slice(b.x(3), {width}, {2 * width}, {0});
      parts[2] = Slice(b.x(3), {2 * width}, {INT64_MAX}, {0});
    }
    q = SplitHeads(Plus(q, parts[0]), heads);
    if (!k.is_defined()) return b.Refuse(b.Error("key is missing"));
    if (k.shape().rank() == 5) {
      Expr packed = k;
      k = pick(packed, 0), v = pick(packed, 1);
    } else if (k.shape().rank() == 3) {
      k = SplitHeads(Plus(k, parts[1]), heads);
      v = SplitHeads(Plus(v, parts[2]), heads);
    }
  }
  Expr past_k = b.x(6), past_v = b.x(7), past_length;
  if (b.has_input(8)) {
    past_length = Reshape(Cast(b.x(8), DType::kInt64), {1});
    past_k = b.Op("Slice", {past_k, e.Ints({0}), past_length, e.Ints({2})});
    past_v = b.Op("Slice", {past_v, e.Ints({0}), past_length, e.Ints({2})});
  }
  Expr keys = DimOf(k, 2);
  if (b.has_input(6)) keys = keys + DimOf(past_k, 2);
  Expr bias;
  if (b.has_input(4)) {
    if (!b.x(4).shape().has_rank() || b.x(4).shape().rank() > 3)
      return b.Refuse(b.Error("key_padding_mask must have 1 to 3 axes"));
    bias = MaskBias(b, b.x(4), keys, q.dtype(), BatchOf(q));
  }
  bias = Plus(bias, b.x(5));
  const std::vector<Expr> y = Attend(b, q, k, v, bias, past_k, past_v);
  std::vector<Expr> outputs = {JoinHeads(y[0]), y[1], y[2]};
  if (past_length.is_defined()) {
    // what the buffers have behind the keys stays
    for (int i = 0; i < 2; ++i) {
      Expr rest = b.Op("Slice", {b.x(6 + i), keys, e.Ints({INT64_MAX}), e.Ints({2})});
      Expr& present = outputs[static_cast<size_t>(1 + i)];
      present = ConcatAll({present, rest}, 2);
    }
  }
  outputs.resize(static_cast<size_t>(b.num_outputs()));
  b.Return(outputs);
}

OpDef Common(OpDef def) {
  return def.Types("T", kFloats)
      .Types("M", {DType::kInt32})
      .RequiredAttr("num_heads", Attr::Kind::kInt)
      .Attr("mask_filter_value", -10000.f)
      .Attr("scale", 0.f)
      .Attr("unidirectional", 0);
}

}  // namespace

void RegisterContribAttentionOps(OpRegistry& ops) {
  const Tensor lengths = Tensor::Of<int32_t>({2}, {3, 2});
  const Tensor mask = Tensor::Of<int32_t>({2, 3}, {1, 1, 1, 1, 1, 0});
  ops.Add(Common(OpDef("Attention", 1, kMicrosoft)
                     .Input("input", "T")
                     .Input("weights", "T")
                     .Input("bias", "T", Arity::kOptional)
                     .Input("mask_index", "M", Arity::kOptional)
                     .Input("past", "T", Arity::kOptional)
                     .Input("attention_bias", "T", Arity::kOptional)
                     .Input("past_sequence_length", "M", Arity::kOptional)
                     .Output("output", "T")
                     .Output("present", "T", Arity::kOptional))
              .Attr("qkv_hidden_sizes", Attr::Kind::kInts)
              .Attr("do_rotary", 0)
              .Attr("rotary_embedding_dim", 0)
              .Attr("past_present_share_buffer", 0)
              .Infer(InferAttention)
              .Body(AttentionBody)
              .Try(Sample().In({2, 3, 4}).In({4, 12}).In({12}).Attr("num_heads", 2))
              .Try(Sample().In({2, 3, 4}).In({4, 12}).In({12}).In(lengths).Attr("num_heads", 2))
              .Try(Sample().In({2, 3, 4}).In({4, 12}).In({12}).In(mask).Attr("num_heads", 2))
              .Try(Sample()
                       .In({2, 3, 4})
                       .In({4, 12})
                       .In({12})
                       .In(Tensor::Of<int32_t>({4}, {3, 2, 1, 0}))
                       .Attr("num_heads", 2))
              .Try(Sample()
                       .In({2, 3, 4})
                       .In({4, 12})
                       .In({12})
                       .In(Tensor::Of<int32_t>({8}, {3, 2, 0, 3, 6, 0, 3, 5}))
                       .Attr("num_heads", 2))
              .Try(Sample()
                       .In({2, 3, 4})
                       .In({4, 24})
                       .In({24})
                       .None()
                       .In({2, 2, 2, 5, 4})
                       .Attr("num_heads", 2)
                       .Attr("do_rotary", 1)
                       .Outputs(2))
              .Try(Sample()
                       .In({2, 3, 4})
                       .In({4, 24})
                       .In({24})
                       .Attr("num_heads", 2)
                       .Attr("do_rotary", 1)
                       .Attr("rotary_embedding_dim", 2))
              .Try(Sample()
                       .In({2, 3, 4})
                       .In({4, 20})
                       .None()
                       .None()
                       .None()
                       .In({2, 2, 3, 3})
                       .Attr("qkv_hidden_sizes", std::vector<int64_t>{6, 6, 8})
                       .Attr("num_heads", 2))
              .Try(Sample()
                       .In({2, 3, 4})
                       .In({4, 12})
                       .In({12})
                       .None()
                       .In({2, 2, 2, 5, 2})
                       .Attr("num_heads", 2)
                       .Attr("unidirectional", 1)
                       .Outputs(2)));
  ops.Add(Common(OpDef("MultiHeadAttention", 1, kMicrosoft)
                     .Input("query", "T")
                     .Input("key", "T", Arity::kOptional)
                     .Input("value", "T", Arity::kOptional)
                     .Input("bias", "T", Arity::kOptional)
                     .Input("key_padding_mask", "M", Arity::kOptional)
                     .Input("attention_bias", "T", Arity::kOptional)
                     .Input("past_key", "T", Arity::kOptional)
                     .Input("past_value", "T", Arity::kOptional)
                     .Input("past_sequence_length", "M", Arity::kOptional)
                     .Input("cache_indirection", "M", Arity::kOptional)
                     .Output("output", "T")
                     .Output("present_key", "T", Arity::kOptional)
                     .Output("present_value", "T", Arity::kOptional))
              .Infer(InferMultiHead)
              .Body(MultiHeadBody)
              .Try(Sample().In({2, 3, 4}).In({2, 5, 4}).In({2, 5, 6}).In({14}).Attr("num_heads", 2))
              .Try(Sample().In({2, 3, 2, 3, 4}).Attr("num_heads", 2))
              .Try(Sample()
                       .In({2, 3, 4})
                       .In({2, 3, 4})
                       .In({2, 3, 4})
                       .None()
                       .In(mask)
                       .In({1, 2, 3, 3})
                       .Attr("num_heads", 2))
              .Try(Sample()
                       .In({2, 1, 4})
                       .In({2, 1, 4})
                       .In({2, 1, 4})
                       .None()
                       .None()
                       .None()
                       .In({2, 2, 3, 2})
                       .In({2, 2, 3, 2})
                       .Attr("num_heads", 2)
                       .Outputs(3))
              .Try(Sample()
                       .In({2, 1, 4})
                       .In({2, 1, 4})
                       .In({2, 1, 4})
                       .None()
                       .None()
                       .None()
                       .In({2, 2, 5, 2})
                       .In({2, 2, 5, 2})
                       .In(Tensor::Of<int32_t>({1}, {3}))
                       .Attr("num_heads", 2)
                       .Outputs(3))
              // one head of size 1 with equal keys: the mean of the values so far, 2 and 4
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 1, 1}, {1}))
                       .In(Tensor::Of<float>({1, 1, 1}, {3}))
                       .In(Tensor::Of<float>({1, 1, 1}, {4}))
                       .None()
                       .None()
                       .None()
                       .In(Tensor::Of<float>({1, 1, 3, 1}, {3, 8, 9}))
                       .In(Tensor::Of<float>({1, 1, 3, 1}, {2, 5, 6}))
                       .In(Tensor::Of<int32_t>({1}, {1}))
                       .Attr("num_heads", 1)
                       .Outputs(3)
                       .Gives(Tensor::Of<float>({1, 1, 1}, {3}))
                       .Gives(Tensor::Of<float>({1, 1, 3, 1}, {3, 3, 9}))
                       .Gives(Tensor::Of<float>({1, 1, 3, 1}, {2, 4, 6}))));
  Tensor bytes(DType::kInt8, {4, 12});
  for (int64_t i = 0; i < bytes.num_elements(); ++i)
    bytes.mutable_data<int8_t>()[i] = static_cast<int8_t>(i * 37 % 101 - 50);
  Tensor words(DType::kUInt8, {2, 3, 4});
  for (int64_t i = 0; i < words.num_elements(); ++i)
    words.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(i * 29 % 251);
  ops.Add(Common(OpDef("QAttention", 1, kMicrosoft)
                     .Input("input", "T1")
                     .Input("weight", "T2")
                     .Input("bias", "T")
                     .Input("input_scale", "T")
                     .Input("weight_scale", "T")
                     .Input("mask_index", "M", Arity::kOptional)
                     .Input("input_zero_point", "T1", Arity::kOptional)
                     .Input("weight_zero_point", "T2", Arity::kOptional)
                     .Input("past", "T", Arity::kOptional)
                     .Output("output", "T")
                     .Output("present", "T", Arity::kOptional))
              .Types("T1", {DType::kInt8, DType::kUInt8})
              .Types("T2", {DType::kInt8, DType::kUInt8})
              .Attr("do_rotary", 0)
              .Attr("rotary_embedding_dim", 0)
              .Attr("past_present_share_buffer", 0)
              .Infer(InferQuantized)
              .NotDifferentiable("quantised")
              .Body(QuantizedBody)
              .Try(Sample()
                       .In(words)
                       .In(bytes)
                       .In({12})
                       .In(Tensor::Scalar(0.01f))
                       .Constant()
                       .In(Tensor::Scalar(0.02f))
                       .Constant()
                       .In(mask)
                       .In(Tensor::Scalar<uint8_t>(128))
                       .In(Tensor::Scalar<int8_t>(1))
                       .Attr("num_heads", 2)
                       .Outputs(2)));
}

}  // namespace graphrun
