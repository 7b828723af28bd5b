#include "ops/elementwise.h"

namespace graphrun {

void OldBroadcastBody(BodyContext& b) {
  Expr second = b.x(1);
  const int64_t axis = b.Int("axis", -1);
  if (b.Int("broadcast") != 0 && b.has_attr("axis")) {
    if (!b.x(0).shape().has_rank() || !second.shape().has_rank()) {
      b.Refuse(b.Error("the attribute axis needs inputs of known rank"));
      return;
    }
    const int64_t rank = b.x(0).shape().rank(), own = second.shape().rank();
    std::vector<int64_t> axes;
    for (int64_t i = (axis < 0 ? axis + rank : axis) + own; i < rank; ++i) {
      axes.push_back(own + static_cast<int64_t>(axes.size()));
    }
    if (!axes.empty()) second = Unsqueeze(second, axes);
  }
  b.Return(b.Op(b.node().op_type(), {b.x(0), second}));
}

OpDef OldBinaryOp(const char* name, std::vector<int> versions, DTypeSet dtypes, bool bool_result) {
  OpDef def(name, 1);
  def.Versions(std::move(versions))
      .Input("A", "T")
      .Input("B", "T")
      .Output("C", bool_result ? "bool" : "T")
      .Attr("broadcast", 0)
      .Attr("axis", Attr::Kind::kInt)
      .Attr("consumed_inputs", Attr::Kind::kInts)
      .Types("T", dtypes)
      .Infer([bool_result](InferContext& c) -> absl::Status {
        const Shape &a = c.input_shape(0), &b = c.input_shape(1);
        if (c.Int("broadcast") == 0 && a.is_concrete() && b.is_concrete() && !(a == b)) {
          return c.Error("inputs have shapes ", a.ToString(), " and ", b.ToString(),
                         ", which must be equal unless broadcast=1");
        }
        if (a.has_rank() && b.has_rank() && b.rank() > a.rank()) {
          return c.Error("B of shape ", b.ToString(), " does not broadcast to A of shape ",
                         a.ToString());
        }
        c.set_output(0, bool_result ? DType::kBool : c.input_dtype(0), a);
        return absl::OkStatus();
      })
      .Body(OldBroadcastBody);
  if (dtypes.Contains(DType::kFloat32)) {
    def.Try(Sample().In({2, 3}, 0.5, 2).In({2, 3}, 0.5, 2))
        .Try(Sample().In({2, 3, 4}, 0.5, 2).In({3, 4}, 0.5, 2).Attr("broadcast", 1))
        .Try(Sample()
                 .In({2, 3, 4, 5}, 0.5, 1)
                 .In({3, 4}, 0.5, 2)
                 .Attr("broadcast", 1)
                 .Attr("axis", 1))
        .Try(Sample().In({2, 3}).In({3}, 0.5, 2).Refused("broadcast=1"));
  } else {
    def.Try(
        Sample().In(Tensor::Of<bool>({2}, {true, false})).In(Tensor::Of<bool>({2}, {true, true})));
  }
  return def;
}

}  // namespace graphrun
