// Operators of domain com.microsoft that optimised transformer exports contain: Gelu and its forms,
// LayerNormalization's forms, EmbedLayerNormalization. All are function bodies.
//
// Source: github.com/microsoft/onnxruntime, docs/ContribOperators.md. Element types: floats.
// SimplifiedLayerNormalization, and LayerNormalization before version 17, also stand in the ONNX
// domain, where exporters write them.
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kMicrosoft[] = "com.microsoft";

absl::Status InferBroadcast2(InferContext& c) {
  GR_ASSIGN_OR_RETURN(Shape shape, c.BroadcastInputs(0, 1));
  c.set_output(0, c.input_dtype(0), std::move(shape));
  return absl::OkStatus();
}

OpDef Pointwise1(const char* name) {
  return OpDef(name, 1, kMicrosoft)
      .Input("X", "T")
      .Output("Y", "T")
      .Types("T", kFloats)
      .Infer(SameAsInput);
}

// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
Expr TanhGelu(Expr x) { return x.builder()->Op("Gelu", {x}, {{"approximate", "tanh"}}); }

// Y like the input; statistics in f32; the sum of inputs like the input.
absl::Status InferSkip(InferContext& c) {
  const Shape& x = c.input_shape(0);
  c.set_output_type(0, c.input_type(0));
  Shape reduced = x;
  if (x.has_rank() && x.rank() > 0) reduced[x.rank() - 1] = Dim(1);
  c.set_output(1, DType::kFloat32, reduced);
  c.set_output(2, DType::kFloat32, reduced);
  c.set_output_type(3, c.input_type(0));
  return absl::OkStatus();
}

// What follows the factors in both operators that normalise a sum.
OpDef Skip(OpDef def) {
  return def.Input("bias", "T", Arity::kOptional)
      .Output("output", "T")
      .Output("mean", "U", Arity::kOptional)
      .Output("inv_std_var", "U", Arity::kOptional)
      .Output("input_skip_bias_sum", "T", Arity::kOptional)
      .Types("T", kFloats)
      .Types("U", kFloats)
      .Attr("epsilon", 1e-12f)
      .Infer(InferSkip);
}

absl::Status InferNorm(InferContext& c) {
  const Shape& x = c.input_shape(0);
  c.set_output_type(0, c.input_type(0));
  Shape reduced = x;
  if (x.has_rank()) {
    GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis", -1), x.rank()));
    for (int a = axis; a < x.rank(); ++a) reduced[a] = Dim(1);
  }
  c.set_output(1, DType::kFloat32, reduced);
  c.set_output(2, DType::kFloat32, reduced);
  return absl::OkStatus();
}

// 1 / sqrt(mean of squares + epsilon) over the axes from `axis` on, in f32.
Expr InverseRoot(Expr x, int64_t axis, float epsilon) {
  if (axis >= 0) axis -= x.shape().rank();
  std::vector<int64_t> axes;
  for (int64_t a = axis; a < 0; ++a) axes.push_back(a);
  Expr wide = Cast(x, DType::kFloat32);
  return Reciprocal(Sqrt(ReduceMean(wide * wide, axes, true) + double{epsilon}));
}

// RMS normalisation of x. `sum`: given where outputs are Y, mean, inverse, sum; else Y, inverse.
void SimplifiedBody(BodyContext& b, Expr x, Expr scale, Expr sum, float epsilon) {
  const int64_t axis = b.Int("axis", -1);
  std::vector<Expr> outputs = {
      b.Op("RMSNormalization", {x, scale}, {{"axis", axis}, {"epsilon", epsilon}})};
  const int place = sum.is_defined() ? 2 : 1;
  for (int o = 1; o < b.num_outputs(); ++o) {
    if (axis >= 0 && !x.shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
    if (o == 3) {
      outputs.push_back(sum);
    } else {
      Expr inverse = InverseRoot(x, axis, epsilon);
      outputs.push_back(o == place ? inverse : ZerosLike(inverse));
    }
  }
  b.Return(outputs);
}

OpDef Simplified(const char* domain) {
  return OpDef("SimplifiedLayerNormalization", 1, domain)
      .Input("X", "T")
      .Input("scale", "T")
      .Output("Y", "T")
      .Output("inv_std_var", "U", Arity::kOptional)
      .Types("T", kFloats)
      .Types("U", kFloats)
      .Attr("axis", -1)
      .Attr("epsilon", 1e-5f)
      .Attr("stash_type", 1)
      .Infer(InferNorm)
      .Body([](BodyContext& b) {
        SimplifiedBody(b, b.x(0), b.x(1), Expr(), b.Float("epsilon", 1e-5f));
      })
      .Try(Sample().In({2, 3, 4}).In({4}))
      .Try(Sample()
               .In({2, 3})
               .In({3})
               .Attr("epsilon", 0.1f)
               .Outputs(2)
               .NoGradient("f32 statistics"));
}

OpDef OldLayerNormalization(const char* domain) {
  return OpDef("LayerNormalization", 1, domain)
      .Input("X", "T")
      .Input("Scale", "V")
      .Input("B", "V", Arity::kOptional)
      .Output("Y", "T")
      .Output("Mean", "U", Arity::kOptional)
      .Output("InvStdDev", "U", Arity::kOptional)
      .Types("T", kFloats)
      .Types("V", kFloats)
      .Types("U", kFloats)
      .Attr("axis", -1)
      .Attr("epsilon", 1e-5f)
      .Attr("stash_type", 1)
      .Infer(InferNorm)
      .Body([](BodyContext& b) {
        b.Return(b.builder().Ops("LayerNormalization", b.xs(), b.num_outputs(), b.node().attrs()));
      })
      .Try(Sample().In({2, 3, 4}).In({4}).In({4}))
      .Try(Sample().In({2, 3}).In({3}).Outputs(3).NoGradient("f32 statistics"));
}

// input_ids, segment_ids, word, position and segment embeddings, gamma, beta, mask, position_ids
absl::Status InferEmbed(InferContext& c) {
  const Shape &ids = c.input_shape(0), &word = c.input_shape(2);
  Dim batch, length, width;
  if (ids.has_rank() && ids.rank() != 2)
    return c.Error("input_ids has shape ", ids.ToString(), " but must be [batch, length]");
  if (ids.has_rank()) batch = ids[0], length = ids[1];
  if (word.has_rank() && word.rank() == 2) width = word[1];
  const Shape whole(std::vector<Dim>{batch, length, width});
  c.set_output(0, c.input_dtype(2), whole);
  c.set_output(1, DType::kInt32, Shape(std::vector<Dim>{batch}));
  c.set_output(2, c.input_dtype(2), whole);
  return absl::OkStatus();
}

void EmbedBody(BodyContext& b) {
  Builder& e = b.builder();
  Expr ids = b.x(0);
  Expr sum = Gather(b.x(2), ids, 0);
  if (b.has_input(8)) {
    sum = sum + Gather(b.x(3), b.x(8), 0);
  } else {
    Expr length = Squeeze(DimOf(ids, 1), {0});
    Expr range = e.Op("Range", {e.Scalar(DType::kInt64, 0), length, e.Scalar(DType::kInt64, 1)});
    sum = sum + Gather(b.x(3), range, 0);
  }
  if (b.has_input(1) && b.has_input(4)) sum = sum + Gather(b.x(4), b.x(1), 0);
  Expr y = b.Op("LayerNormalization", {sum, b.x(5), b.x(6)},
                {{"axis", -1}, {"epsilon", b.Float("epsilon", 1e-12f)}});
  std::vector<Expr> outputs = {y};
  if (b.num_outputs() > 1) {
    outputs.push_back(
        b.has_input(7)
            ? Cast(ReduceSum(Cast(b.x(7), DType::kInt64), {1}, false), DType::kInt32)
            : e.Op("ConstantOfShape", {DimOf(ids, 0)}, {{"value", Tensor::Of<int32_t>({1}, {0})}}));
  }
  if (b.num_outputs() > 2) outputs.push_back(sum);
  b.Return(outputs);
}

}  // namespace

void RegisterContribLayersOps(OpRegistry& ops) {
  ops.Add(Pointwise1("Gelu")
              .Body([](BodyContext& b) { b.Return(b.Op("Gelu", {b.x()})); })
              .Try(Sample().In({2, 3})));
  ops.Add(Pointwise1("QuickGelu")
              .Attr("alpha", 1.702f)
              .Body([](BodyContext& b) {
                b.Return(b.x() * Sigmoid(b.x() * double{b.Float("alpha", 1.702f)}));
              })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({2, 3}).Attr("alpha", 0.5f)));
  ops.Add(OpDef("BiasGelu", 1, kMicrosoft)
              .Input("A", "T")
              .Input("B", "T")
              .Output("C", "T")
              .Types("T", kFloats)
              .Infer(InferBroadcast2)
              .Body([](BodyContext& b) { b.Return(b.Op("Gelu", {b.x(0) + b.x(1)})); })
              .Try(Sample().In({2, 3}).In({3})));
  ops.Add(OpDef("FastGelu", 1, kMicrosoft)
              .Input("X", "T")
              .Input("bias", "T", Arity::kOptional)
              .Output("Y", "T")
              .Types("T", kFloats)
              .Infer(SameAsInput)
              .Body([](BodyContext& b) {
                b.Return(TanhGelu(b.has_input(1) ? b.x(0) + b.x(1) : b.x(0)));
              })
              .Try(Sample().In({2, 3}).In({3}))
              .Try(Sample().In({2, 3})));
  ops.Add(
      Skip(OpDef("SkipLayerNormalization", 1, kMicrosoft)
               .Input("input", "T")
               .Input("skip", "T")
               .Input("gamma", "T")
               .Input("beta", "T", Arity::kOptional))
          .Body([](BodyContext& b) {
            Expr sum = b.x(0) + b.x(1);
            if (b.has_input(4)) sum = sum + b.x(4);
            const int statistics = std::min(b.num_outputs(), 3);
            std::vector<Expr> y =
                b.builder().Ops("LayerNormalization", {sum, b.x(2), b.x(3)}, statistics,
                                {{"axis", -1}, {"epsilon", b.Float("epsilon", 1e-12f)}});
            if (b.num_outputs() > 3) y.push_back(sum);
            b.Return(y);
          })
          .Try(Sample().In({2, 3, 4}).In({2, 3, 4}).In({4}).In({4}).In({4}))
          .Try(Sample().In({2, 3, 4}).In({3, 4}).In({4}).Outputs(4).NoGradient("f32 statistics")));
  ops.Add(
      Skip(OpDef("SkipSimplifiedLayerNormalization", 1, kMicrosoft)
               .Input("input", "T")
               .Input("skip", "T")
               .Input("gamma", "T"))
          .Body([](BodyContext& b) {
            Expr sum = b.x(0) + b.x(1);
            if (b.has_input(3)) sum = sum + b.x(3);
            SimplifiedBody(b, sum, b.x(2), sum, b.Float("epsilon", 1e-12f));
          })
          .Try(Sample().In({2, 3, 4}).In({2, 3, 4}).In({4}).In({4}))
          .Try(Sample().In({2, 3, 4}).In({3, 4}).In({4}).Outputs(4).NoGradient("f32 statistics")));
  ops.Add(Simplified(kMicrosoft));
  ops.Add(Simplified(""));
  ops.Add(OldLayerNormalization(kMicrosoft));
  ops.Add(OldLayerNormalization(""));
  const Tensor ids = Tensor::Of<int32_t>({2, 3}, {1, 0, 2, 2, 2, 1});
  const Tensor segments = Tensor::Of<int32_t>({2, 3}, {0, 0, 1, 0, 1, 1});
  ops.Add(OpDef("EmbedLayerNormalization", 1, kMicrosoft)
              .Input("input_ids", "T1")
              .Input("segment_ids", "T1", Arity::kOptional)
              .Input("word_embedding", "T")
              .Input("position_embedding", "T")
              .Input("segment_embedding", "T", Arity::kOptional)
              .Input("gamma", "T")
              .Input("beta", "T")
              .Input("mask", "T1", Arity::kOptional)
              .Input("position_ids", "T1", Arity::kOptional)
              .Output("output", "T")
              .Output("mask_index", "int32", Arity::kOptional)
              .Output("embedding_sum", "T", Arity::kOptional)
              .Types("T1", kIndices)
              .Types("T", kFloats)
              .Attr("epsilon", 1e-12f)
              .Attr("mask_index_type", 0)
              .Infer(InferEmbed)
              .NoGradientFor({0, 1, 7, 8})
              .Body(EmbedBody)
              .Try(Sample().In(ids).In(segments).In({4, 5}).In({6, 5}).In({2, 5}).In({5}).In({5}))
              .Try(Sample()
                       .In(ids)
                       .None()
                       .In({4, 5})
                       .In({6, 5})
                       .None()
                       .In({5})
                       .In({5})
                       .In(Tensor::Of<int32_t>({2, 3}, {1, 1, 0, 1, 1, 1}))
                       .In(Tensor::Of<int32_t>({2, 3}, {0, 1, 2, 2, 1, 0}))
                       .Outputs(3)));
}

}  // namespace graphrun
