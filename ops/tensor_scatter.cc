// TensorScatter: new steps written into a cache of past ones.
//
// Source: https://onnx.ai/onnx/operators/onnx__TensorScatter.html (24).
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<bool> IsCircular(const NodeContext& c) {
  const std::string mode = c.String("mode", "linear");
  if (mode != "linear" && mode != "circular")
    return c.Error("mode is \"", mode, "\" but must be linear or circular");
  return mode == "circular";
}

absl::Status InferTensorScatter(InferContext& c) {
  const Shape &past = c.input_shape(0), &update = c.input_shape(1);
  GR_RETURN_IF_ERROR(IsCircular(c).status());
  if (past.has_rank()) {
    GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis", -2), past.rank()));
    if (axis == 0) return c.Error("axis 0 is the batch and cannot be written along");
    if (update.has_rank() && update.rank() != past.rank()) {
      return c.Error("the cache has shape ", past.ToString(), " and the update ", update.ToString(),
                     ": their ranks must be equal");
    }
    for (int i = 0; update.has_rank() && i < past.rank(); ++i) {
      if (!past[i].is_number() || !update[i].is_number()) continue;
      const bool fits =
          i == axis ? update[i].value() <= past[i].value() : update[i].value() == past[i].value();
      if (!fits) {
        return c.Error("an update of shape ", update.ToString(), " does not fit a cache of shape ",
                       past.ToString(), " along axis ", i);
      }
    }
  }
  return SameAsInput(c);
}

absl::StatusOr<std::unique_ptr<Kernel>> TensorScatterKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const bool circular, IsCircular(c));
  const Dims past = c.input_dims(0), update = c.input_dims(1);
  GR_ASSIGN_OR_RETURN(const int axis,
                      NormalizeAxis(c.Int("axis", -2), static_cast<int>(past.size())));
  const auto a = static_cast<size_t>(axis);
  const int64_t room = past[a], steps = update[a];
  const int64_t inner = Product(absl::MakeConstSpan(past).subspan(a + 1));
  const int64_t per_batch = Product(absl::MakeConstSpan(past).subspan(1, a - 1));
  return MakeKernel([=, batch = past[0]](RunContext& r) -> absl::Status {
    const auto first = [&](int64_t b) {
      return r.has_input(2) ? r.input(2).data<int64_t>()[b] : int64_t{0};
    };
    if (r.has_input(2) && r.input(2).num_elements() != batch)
      return ModelError("write_indices needs one element for each of ", batch, " samples");
    for (int64_t b = 0; b < batch; ++b) {
      if (first(b) < 0 || (!circular && first(b) > room - steps)) {
        return ModelError("sample ", b, " writes ", steps, " steps at ", first(b),
                          " into a cache of ", room);
      }
    }
    CopyAll(r.input(0), r.output(0));
    DispatchRows(r.input(0).dtype(), [&]<typename W>(int64_t scale) {
      const W* from = static_cast<const W*>(r.input(1).raw());
      W* to = static_cast<W*>(r.output(0).mutable_raw());
      const int64_t row = inner * scale;
      ParallelFor(batch * per_batch, RowGrain(row * steps), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t s = 0; s < steps; ++s) {
            const int64_t at = (first(i / per_batch) % room + s) % room;
            CopyRow(from + (i * steps + s) * row, to + (i * room + at) * row, row);
          }
        }
      });
    });
    return absl::OkStatus();
  });
}

// ScatterElements with the step's number in the cache as every element's index.
void TensorScatterBody(BodyContext& b) {
  Builder& e = b.builder();
  Expr past = b.x(0), update = b.x(1);
  if (!past.shape().has_rank()) return b.Refuse(ModelError("the rank of the cache must be known"));
  const int rank = past.shape().rank();
  const int axis =
      static_cast<int>(b.Int("axis", -2) < 0 ? b.Int("axis", -2) + rank : b.Int("axis"));
  std::vector<int64_t> along(static_cast<size_t>(rank), 1), across = along;
  along[static_cast<size_t>(axis)] = -1;
  across[0] = -1;
  Expr steps = e.Op("Range", {e.Scalar(DType::kInt64, 0), Squeeze(DimOf(update, axis), {0}),
                              e.Scalar(DType::kInt64, 1)});
  Expr index = Reshape(steps, along);
  if (b.has_input(2)) index = index + Reshape(b.x(2), across);
  if (b.String("mode", "linear") == "circular") index = e.Op("Mod", {index, DimOf(past, axis)});
  b.Return(
      e.Op("ScatterElements", {past, Expand(index, ShapeOf(update)), update}, {{"axis", axis}}));
}

}  // namespace

void RegisterTensorScatterOps(OpRegistry& ops) {
  ops.Add(OpDef("TensorScatter", 24)
              .Input("past_cache", "T")
              .Input("update", "T")
              .Input("write_indices", "int64", Arity::kOptional)
              .Output("present_cache", "T")
              .Attr("axis", -2)
              .Attr("mode", "linear")
              .Types("T", kAnyType)
              .Infer(InferTensorScatter)
              .InPlace(0, 0)
              .NoGradientFor({2})
              .Kernel("native", TensorScatterKernel)
              .Body(TensorScatterBody)
              .Try(Sample().In({2, 4, 3}).In({2, 1, 3}).In(Tensor::Int64s({1, 3})))
              .Try(Sample()
                       .In({2, 2, 4, 3})
                       .In({2, 2, 2, 3})
                       .In(Tensor::Int64s({1, 3}))
                       .Attr("mode", "circular"))
              .Try(Sample().In({1, 4}).In({1, 2}).Attr("axis", 1))
              .Try(Sample()
                       .In({2, 4, 3})
                       .In({2, 2, 3})
                       .In(Tensor::Int64s({1, 3}))
                       .Refused("sample 1 writes 2"))
              .Try(Sample().In({2, 4, 3}).In({2, 5, 3}).Refused("does not fit")));
}

}  // namespace graphrun
