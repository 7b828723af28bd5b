// Transpose: the axes in another order.
//
// Source: https://onnx.ai/onnx/operators/onnx__Transpose.html (1, 13; every element type). Without
// perm the axes are reversed.
#include "ops/permute.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<Dims> Permutation(const NodeContext& c, int rank) {
  Dims perm = c.Ints("perm");
  if (!c.has_attr("perm")) {
    for (int i = rank; i-- > 0;) perm.push_back(i);
  }
  if (static_cast<int>(perm.size()) != rank) {
    return c.Error("perm is ", DimsToString(perm), " but the input has ", rank,
                   " axes: it must name each once");
  }
  const Dims asked = perm;
  std::vector<bool> seen(static_cast<size_t>(rank), false);
  for (int64_t& axis : perm) {
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank || seen[static_cast<size_t>(axis)]) {
      return c.Error("perm is ", DimsToString(asked), ", which is no order of ", rank, " axes");
    }
    seen[static_cast<size_t>(axis)] = true;
  }
  return perm;
}

absl::Status InferTranspose(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank()) {
    const auto rank = static_cast<int>(c.Ints("perm").size());
    c.set_output(0, c.input_dtype(0), c.has_attr("perm") ? Shape::UnknownOfRank(rank) : Shape());
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const Dims perm, Permutation(c, x.rank()));
  std::vector<Dim> dims;
  for (const int64_t axis : perm) dims.push_back(x[static_cast<int>(axis)]);
  c.set_output(0, c.input_dtype(0), Shape(std::move(dims)));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> TransposeKernel(PrepareContext& c) {
  const Dims dims = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const Dims perm, Permutation(c, static_cast<int>(dims.size())));
  const Permute permute(dims, perm);
  return MakeKernel(
      [permute](RunContext& r) {
        permute.Run(r.input(0).dtype(), r.input(0).raw(), r.output(0).mutable_raw());
        return absl::OkStatus();
      },
      permute.info());
}

}  // namespace

void RegisterTransposeOps(OpRegistry& ops) {
  using Perm = std::vector<int64_t>;
  ops.Add(OpDef("Transpose", 1)
              .Versions({1, 13, 21, 23, 24, 25})
              .Input("data", "T")
              .Output("transposed", "T")
              .Attr("perm", Attr::Kind::kInts)
              .Types("T", kAnyType)
              .Infer(InferTranspose)
              .NoOp([](const NodeContext& c) {
                const Perm perm = c.Ints("perm");
                for (size_t i = 0; i < perm.size(); ++i) {
                  if (perm[i] != static_cast<int64_t>(i)) return -1;
                }
                return c.has_attr("perm") ? 0 : -1;
              })
              .Kernel("native", TransposeKernel)
              // dx = dy with its axes back in their places
              .Gradient([](GradContext& g) {
                const Perm perm = g.Ints("perm");
                if (!g.has_attr("perm")) return g.dx(0, g.builder().Op("Transpose", {g.dy()}));
                const auto rank = static_cast<int64_t>(perm.size());
                Perm inverse(perm.size());
                for (size_t i = 0; i < perm.size(); ++i) {
                  const int64_t axis = perm[i] < 0 ? perm[i] + rank : perm[i];
                  inverse[static_cast<size_t>(axis)] = static_cast<int64_t>(i);
                }
                g.dx(0, Transpose(g.dy(), inverse));
              })
              .Try(Sample().In({2, 3}))
              .Try(Sample().In({41, 71}))
              .Try(Sample().In({2, 3, 4}).Attr("perm", Perm{0, 2, 1}))
              .Try(Sample().In({2, 3, 4}).Attr("perm", Perm{1, 0, 2}))
              .Try(Sample().In({2, 3, 4}).Attr("perm", Perm{2, 0, 1}))
              .Try(Sample().In({2, 3, 4, 5}).Attr("perm", Perm{3, 1, 2, 0}))
              .Try(Sample().In({2, 17, 3, 9}).Attr("perm", Perm{0, 3, 2, 1}))
              .Try(Sample().In({2, 1, 3}).Attr("perm", Perm{1, 0, 2}))
              .Try(Sample().In({2, 0, 3}).Attr("perm", Perm{2, 0, 1}))
              .Try(Sample().In(Dims{}))
              .Try(Sample()
                       .In(Tensor::Of<std::string>({1, 2}, {"a", "b"}))
                       .Gives(Tensor::Of<std::string>({2, 1}, {"a", "b"})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2, 2}, {1, 2, 3, 4}))
                       .Gives(Tensor::Of<int64_t>({2, 2}, {1, 3, 2, 4})))
              .Try(Sample().In({2, 3}).Attr("perm", Perm{0, 0}).Refused("no order of 2 axes"))
              .Try(Sample().In({2, 3}).Attr("perm", Perm{1}).Refused("each once")));
}

}  // namespace graphrun
