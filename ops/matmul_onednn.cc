#include "ops/matmul_onednn.h"

#include "ops/onednn.h"

namespace graphrun {
namespace {

using onednn::Md;

// Sizes [batch..., rows, columns] of an operand as it enters the product.
Dims MatrixDims(const Dims& batch, int64_t rows, int64_t columns) {
  Dims dims = batch;
  dims.push_back(rows);
  dims.push_back(columns);
  return dims;
}

// A row-major operand, transposed in storage where asked.
Md Operand(DType dtype, const Dims& batch, int64_t rows, int64_t columns, bool transposed) {
  const Dims dims = MatrixDims(batch, rows, columns);
  if (!transposed) return onednn::RowMajor(dtype, dims);
  Dims strides = RowMajorStrides(dims);
  strides[dims.size() - 2] = 1;
  strides[dims.size() - 1] = rows;
  return onednn::Strided(dtype, dims, strides);
}

// What a's own layout is as a matrix, where a is one and its neighbour made it a permuted one.
absl::optional<Md> ArrivingMatrix(const PrepareContext& c, int input, bool transposed) {
  const Layout layout = c.input_layout(input);
  const Dims dims = c.input_dims(input);
  if (dims.size() != 2 || !layout.is_blocked() || !layout.blocks().empty() ||
      layout.HasPadding(dims)) {
    return absl::nullopt;
  }
  const auto md = onednn::Describe(c.input_dtype(input), dims, layout);
  if (!md || !transposed) return md;
  return md->permute_axes({1, 0});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Kernel>> OneDnnMatMul(PrepareContext& c,
                                                     const MatMulRequest& request) {
  const DType dtype = c.input_dtype(0);
  if (dtype != DType::kFloat32 && dtype != DType::kBFloat16 && dtype != DType::kFloat16) {
    return nullptr;
  }
  const MatMulShape s = request.shape.Simplified();
  if (s.is_empty() || s.k == 0) return nullptr;
  const Dims y_dims = MatrixDims(s.batch, s.m, s.n);
  for (const Dims& dims :
       {MatrixDims(s.a_batch, s.m, s.k), MatrixDims(s.b_batch, s.k, s.n), y_dims}) {
    if (!onednn::IsSound(dtype, dims)) return nullptr;
  }
  Md a = Operand(dtype, s.a_batch, s.m, s.k, s.trans_a);
  Md b = Operand(dtype, s.b_batch, s.k, s.n, s.trans_b);
  const Md y = onednn::RowMajor(c.output_dtype(0), y_dims);
  bool a_arrives = false, b_arrives = false;
  if (s.batch.empty() && request.shape.batch.empty()) {
    if (const auto md = ArrivingMatrix(c, 0, s.trans_a)) a = *md, a_arrives = true;
    if (const auto md = ArrivingMatrix(c, 1, s.trans_b)) b = *md, b_arrives = true;
  }

  // oneDNN 2.6 confuses the factors of two linear post-ops, so c is added as it is or not here.
  if (request.c >= 0 && request.beta != 1) return nullptr;
  Md bias, added;
  dnnl::post_ops post_ops;
  int added_at = -1;
  if (request.c >= 0) {
    Dims dims = c.input_dims(request.c);
    dims.insert(dims.begin(), 2 - dims.size(), 1);
    if (request.alpha == 1 && dims[0] == 1 && dims[1] == s.n) {
      bias = onednn::RowMajor(c.input_dtype(request.c), dims);
    } else {
      added = onednn::RowMajor(c.input_dtype(request.c), dims);
    }
  }
  if (request.bias >= 0) {
    if (request.alpha != 1) return nullptr;
    Dims dims(y_dims.size(), 1);
    dims.back() = s.n;
    bias = onednn::RowMajor(c.input_dtype(request.bias), dims);
  }
  if (request.alpha != 1)
    onednn::AppendEltwise(post_ops, dnnl::algorithm::eltwise_linear, request.alpha, 0);
  if (!onednn::DimsOf(added).empty()) {
    added_at = post_ops.len();
    post_ops.append_binary(dnnl::algorithm::binary_add, added);
  }
  if (request.added >= 0) post_ops.append_sum(1.0f);
  if (request.activation != nullptr) onednn::AppendEltwises(*request.activation, post_ops);

  const auto attributes = onednn::Attributes(post_ops);
  onednn::Pd<dnnl::matmul> pd;
  // Packed weights: what they look like must be the graph's matrix, so only for two axes.
  if (c.constant(1) != nullptr && s.batch.empty() && c.input_dims(1).size() == 2) {
    pd = onednn::MatMul(a, onednn::Any(dtype, {s.k, s.n}), bias, y, attributes);
    if (pd && onednn::IsReference(*pd)) pd = absl::nullopt;
    if (pd) {
      const Md packed = pd->weights_desc();
      const auto layout = onednn::LayoutOf(s.trans_b ? packed.permute_axes({1, 0}) : packed);
      if (layout) {
        c.Want(1, *layout);
        b_arrives = false;
        b = packed;
      } else {
        pd = absl::nullopt;
      }
    }
  }
  if (!pd) pd = onednn::MatMul(a, b, bias, y, attributes);
  if (!pd || onednn::IsReference(*pd)) return nullptr;
  if (a_arrives) c.Want(0, c.input_layout(0));
  if (b_arrives) c.Want(1, c.input_layout(1));

  onednn::Program program;
  std::vector<onednn::Program::Argument> arguments = {
      {DNNL_ARG_SRC, pd->src_desc(), onednn::In(0)},
      {DNNL_ARG_WEIGHTS, pd->weights_desc(), onednn::In(1)},
      {DNNL_ARG_DST, pd->dst_desc(), onednn::Out(0)}};
  if (!onednn::DimsOf(bias).empty()) {
    arguments.push_back(
        {DNNL_ARG_BIAS, bias, onednn::In(request.bias >= 0 ? request.bias : request.c)});
  }
  if (!onednn::DimsOf(added).empty()) {
    arguments.push_back(
        {DNNL_ARG_ATTR_MULTIPLE_POST_OP(added_at) | DNNL_ARG_SRC_1, added, onednn::In(request.c)});
  }
  program.Add(dnnl::matmul(*pd), *pd, std::move(arguments));
  return onednn::MakeProgramKernel(c, std::move(program), request.added);
}

}  // namespace graphrun
