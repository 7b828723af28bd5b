// MatMulNBits of domain com.microsoft: a product with weights of 2, 4 or 8 bits in blocks. A
// function body; a constant weight is unpacked once, when the plan is made.
//
// Source: github.com/microsoft/onnxruntime, docs/ContribOperators.md.
//
// Letters: A [..., K], weights N rows of K in blocks of `block_size`, `bits` each, low bits first.
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Codes packed along the last axis of the bytes `packed` [..., n], as [..., n * 8 / bits] of f32.
Expr Unpack(BodyContext& b, Expr packed, int64_t bits, std::vector<int64_t> shape) {
  Builder& e = b.builder();
  if (bits == 8) return Reshape(Cast(packed, DType::kFloat32), std::move(shape));
  std::vector<Expr> parts;
  for (int64_t at = 0; at < 8; at += bits) {
    Expr low = e.Op("BitShift", {packed, e.Scalar(DType::kUInt8, static_cast<double>(at))},
                    {{"direction", "RIGHT"}});
    Expr code =
        e.Op("BitwiseAnd", {low, e.Scalar(DType::kUInt8, static_cast<double>((1 << bits) - 1))});
    parts.push_back(Unsqueeze(code, {-1}));
  }
  return Reshape(Cast(ConcatAll(std::move(parts), -1), DType::kFloat32), std::move(shape));
}

void Body(BodyContext& b) {
  const int64_t k = b.Int("K"), n = b.Int("N"), bits = b.Int("bits"), size = b.Int("block_size");
  const int64_t blocks = (k + size - 1) / size;
  Builder& e = b.builder();
  Expr zero = e.Scalar(DType::kFloat32, static_cast<double>(1 << (bits - 1)));
  if (b.has_input(3)) {
    if (b.x(3).dtype() == DType::kUInt8) {
      const int64_t bytes = (blocks * bits + 7) / 8;
      Expr rows = Unpack(b, Reshape(b.x(3), {n, bytes}), bits, {n, bytes * 8 / bits});
      zero = Unsqueeze(Slice(rows, {0}, {blocks}, {1}), {2});
    } else {
      zero = Reshape(Cast(b.x(3), DType::kFloat32), {n, blocks, 1});
    }
  }
  Expr scale = Reshape(Cast(b.x(2), DType::kFloat32), {n, blocks, 1});
  Expr w = Unpack(b, b.x(1), bits, {n, blocks, size});
  if (b.has_input(4)) {
    // each column has the scale and zero point of the block that it names
    const Expr groups = Slice(b.x(4), {0}, {k}, {0});
    const auto spread = [&](Expr x) { return Gather(Reshape(x, {n, blocks}), groups, 1); };
    if (b.has_input(3)) zero = spread(zero);
    w = Slice(Reshape(w, {n, blocks * size}), {0}, {k}, {1});
    w = (w - zero) * spread(scale);
  } else {
    w = (w - zero) * scale;
    w = Slice(Reshape(w, {n, blocks * size}), {0}, {k}, {1});
  }
  Expr y = MatMul(b.x(0), Cast(Transpose(w, {1, 0}), b.x(0).dtype()));
  b.Return(b.has_input(5) ? y + b.x(5) : y);
}

absl::Status Infer(InferContext& c) {
  const int64_t k = c.Int("K"), n = c.Int("N"), bits = c.Int("bits"), size = c.Int("block_size");
  if (bits != 2 && bits != 4 && bits != 8)
    return c.Error("attribute bits is ", bits, " but must be 2, 4 or 8");
  if (k < 1 || n < 1 || size < 8 || size > (int64_t{1} << 30) || k > (int64_t{1} << 40) ||
      n > (int64_t{1} << 40) || size % 8 != 0) {
    return c.Error("attributes K = ", k, ", N = ", n, ", block_size = ", size,
                   ": all must be positive, and block_size a multiple of 8");
  }
  const Shape &a = c.input_shape(0), &w = c.input_shape(1), &groups = c.input_shape(4);
  if (groups.is_concrete() && (groups.rank() != 1 || groups[0].value() < k))
    return c.Error("g_idx has shape ", groups.ToString(),
                   " but must name a block for each of K = ", k, " columns");
  const Dims packed = {n, (k + size - 1) / size, size * bits / 8};
  if (w.is_concrete() && Product(w.ToDims()) != Product(packed))
    return c.Error("B has shape ", w.ToString(), " but must be ", Shape::Of(packed).ToString());
  if (!a.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  if (a.rank() == 0 || (a[a.rank() - 1].is_number() && a[a.rank() - 1].value() != k))
    return c.Error("A has shape ", a.ToString(), " but its last axis must be K = ", k);
  std::vector<Dim> y = a.dims();
  y.back() = Dim(n);
  c.set_output(0, c.input_dtype(0), Shape(std::move(y)));
  return absl::OkStatus();
}

Sample Weights(Tensor bytes, int64_t bits) {
  return Sample()
      .In(Tensor::Of<float>({1, 2}, {1, 10}))
      .In(std::move(bytes))
      .In(Tensor::Of<float>({2}, {1, 0.5f}))
      .Constant()
      .Attr("K", 2)
      .Attr("N", 2)
      .Attr("bits", bits)
      .Attr("block_size", 8);
}

}  // namespace

void RegisterContribNbitsOps(OpRegistry& ops) {
  ops.Add(OpDef("MatMulNBits", 1, "com.microsoft")
              .Input("A", "T1")
              .Input("B", "T2")
              .Input("scales", "T1")
              .Input("zero_points", "T3", Arity::kOptional)
              .Input("g_idx", "T4", Arity::kOptional)
              .Input("bias", "T1", Arity::kOptional)
              .Output("Y", "T1")
              .Types("T1", kFloats)
              .Types("T2", {DType::kUInt8})
              .Types("T3", kFloats | DTypeSet{DType::kUInt8})
              .Types("T4", {DType::kInt32})
              .RequiredAttr("K", Attr::Kind::kInt)
              .RequiredAttr("N", Attr::Kind::kInt)
              .RequiredAttr("block_size", Attr::Kind::kInt)
              .Attr("bits", 4)
              .Attr("accuracy_level", 0)
              .NoGradientFor({1, 2, 3, 4})
              .Infer(Infer)
              .Body(Body)
              // rows (9, 10) and (7, 8), less 8
              .Try(Weights(Tensor::Of<uint8_t>({2, 1, 4}, {0xA9, 0, 0, 0, 0x87, 0, 0, 0}), 4)
                       .Gives(Tensor::Of<float>({1, 2}, {21, -0.5f})))
              // rows (9, 10) less 1 and (7, 8) less 2
              .Try(Weights(Tensor::Of<uint8_t>({2, 1, 4}, {0xA9, 0, 0, 0, 0x87, 0, 0, 0}), 4)
                       .In(Tensor::Of<uint8_t>({2}, {0xF1, 0xF2}))
                       .Gives(Tensor::Of<float>({1, 2}, {98, 32.5f})))
              // the columns' blocks the other way round: rows (9 - 1, 10 - 8), times (2, 1)
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 9}, {0, 0, 0, 0, 0, 0, 0, 1, 10}))
                       .In(Tensor::Of<uint8_t>({1, 2, 4}, {0, 0, 0, 0x90, 0x0A, 0, 0, 0}))
                       .In(Tensor::Of<float>({2}, {1, 2}))
                       .Constant()
                       .In(Tensor::Of<uint8_t>({1}, {0x18}))
                       .In(Tensor::Of<int32_t>({9}, {1, 1, 1, 1, 1, 1, 1, 1, 0}))
                       .Attr("K", 9)
                       .Attr("N", 1)
                       .Attr("bits", 4)
                       .Attr("block_size", 8)
                       .Gives(Tensor::Of<float>({1, 1}, {36})))
              .Try(Weights(Tensor::Of<uint8_t>({2, 1, 4}, {0, 0, 0, 0, 0, 0, 0, 0}), 4)
                       .None()
                       .In(Tensor::Of<int32_t>({1}, {0}))
                       .Refused("a block for each"))
              // rows (1, 2) and (3, 0), less 2
              .Try(Weights(Tensor::Of<uint8_t>({2, 1, 2}, {0b1001, 0, 0b0011, 0}), 2)
                       .Gives(Tensor::Of<float>({1, 2}, {-1, -9.5f})))
              // rows (130, 127) and (128, 129), less 128
              .Try(Weights(Tensor::Of<uint8_t>({2, 1, 8}, {130, 127, 0, 0, 0, 0, 0, 0,  //
                                                           128, 129, 0, 0, 0, 0, 0, 0}),
                           8)
                       .None()
                       .None()
                       .In(Tensor::Of<float>({2}, {1, 1}))
                       .Gives(Tensor::Of<float>({1, 2}, {-7, 6})))
              .Try(Weights(Tensor::Of<uint8_t>({2, 1, 4}, {0, 0, 0, 0, 0, 0, 0, 0}), 3)
                       .Refused("must be 2, 4 or 8")));
}

}  // namespace graphrun
