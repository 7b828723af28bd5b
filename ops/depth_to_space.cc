// DepthToSpace, SpaceToDepth, ReverseSequence, CenterCropPad: elements rearranged by blocks,
// sequences and centres.
//
// Source: https://onnx.ai/onnx/operators (DepthToSpace 1, 11, 13; SpaceToDepth 1, 13;
// ReverseSequence 10; CenterCropPad 18; every element type).
#include "ops/move.h"
#include "ops/permute.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<int64_t> Block(const NodeContext& c, const Shape& x) {
  const int64_t block = c.Int("blocksize");
  if (block < 1 || block > (1 << 20)) {
    return c.Error("blocksize is ", block, " but must be at least 1");
  }
  if (x.has_rank() && x.rank() != 4) {
    return c.Error("the input has shape ", x.ToString(), " but must be [N, C, H, W]");
  }
  return block;
}

absl::Status InferDepthToSpace(InferContext& c) {
  const Shape& x = c.input_shape(0);
  GR_ASSIGN_OR_RETURN(const int64_t block, Block(c, x));
  const std::string mode = c.String("mode", "DCR");
  if (mode != "DCR" && mode != "CRD")
    return c.Error("mode is \"", mode, "\" but must be DCR or CRD");
  Shape y = Shape::UnknownOfRank(4);
  if (x.has_rank()) {
    y[0] = x[0];
    if (x[1].is_number()) {
      if (x[1].value() % (block * block) != 0) {
        return c.Error("the input of shape ", x.ToString(), " has ", x[1].value(),
                       " channels, which do not divide by blocksize squared, ", block * block);
      }
      y[1] = Dim(x[1].value() / block / block);
    }
    for (int i = 2; i < 4; ++i) {
      if (x[i].is_number()) y[i] = Dim(CheckedMul(x[i].value(), block).value_or(-1));
      if (block == 1) y[i] = x[i];
    }
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::Status InferSpaceToDepth(InferContext& c) {
  const Shape& x = c.input_shape(0);
  GR_ASSIGN_OR_RETURN(const int64_t block, Block(c, x));
  Shape y = Shape::UnknownOfRank(4);
  if (x.has_rank()) {
    y[0] = x[0];
    if (x[1].is_number()) {
      y[1] = Dim(CheckedMul(x[1].value(), block * block).value_or(-1));
    }
    for (int i = 2; i < 4; ++i) {
      if (!x[i].is_number()) continue;
      if (x[i].value() % block != 0) {
        return c.Error("the input has shape ", x.ToString(), " but its height and width must ",
                       "divide by blocksize ", block);
      }
      y[i] = Dim(x[i].value() / block);
    }
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

std::unique_ptr<Kernel> PermuteKernel(const Dims& dims, const Dims& perm) {
  const Permute permute(dims, perm);
  return MakeKernel(
      [permute](RunContext& r) {
        permute.Run(r.input(0).dtype(), r.input(0).raw(), r.output(0).mutable_raw());
        return absl::OkStatus();
      },
      permute.info());
}

absl::StatusOr<std::unique_ptr<Kernel>> DepthToSpaceKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  const int64_t b = c.Int("blocksize"), depth = x[1] / b / b;
  if (c.String("mode") == "CRD")
    return PermuteKernel({x[0], depth, b, b, x[2], x[3]}, {0, 1, 4, 2, 5, 3});
  return PermuteKernel({x[0], b, b, depth, x[2], x[3]}, {0, 3, 4, 1, 5, 2});
}

absl::StatusOr<std::unique_ptr<Kernel>> SpaceToDepthKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  const int64_t b = c.Int("blocksize");
  return PermuteKernel({x[0], x[1], x[2] / b, b, x[3] / b, b}, {0, 3, 5, 1, 2, 4});
}

void DepthToSpaceGradient(GradContext& g) {
  Builder& e = g.builder();
  const int64_t b = g.Int("blocksize");
  if (g.String("mode", "DCR") == "DCR")
    return g.dx(0, e.Op("SpaceToDepth", {g.dy()}, {{"blocksize", b}}));
  Expr x = g.x(0), dy = g.dy();
  Expr blocks = Reshape(
      dy, ConcatAll(
              {DimOf(dy, 0), DimOf(dy, 1), DimOf(x, 2), e.Ints({b}), DimOf(x, 3), e.Ints({b})}, 0));
  g.dx(0, Reshape(Transpose(blocks, {0, 1, 3, 5, 2, 4}), ShapeOf(x)));
}

absl::Status InferReverseSequence(InferContext& c) {
  const Shape &x = c.input_shape(0), &lengths = c.input_shape(1);
  const int64_t time = c.Int("time_axis"), batch = c.Int("batch_axis");
  if (time < 0 || time > 1 || batch < 0 || batch > 1 || time == batch) {
    return c.Error("time_axis and batch_axis are ", time, " and ", batch,
                   " but must be 0 and 1 or 1 and 0");
  }
  if (x.has_rank() && x.rank() < 2) {
    return c.Error("the input has shape ", x.ToString(), " but must have at least two axes");
  }
  if (lengths.has_rank() && lengths.rank() != 1) {
    return c.Error("sequence_lens has shape ", lengths.ToString(), " but must have one axis");
  }
  if (x.has_rank() && lengths.has_rank() && lengths[0].is_number()) {
    const Dim& n = x[static_cast<int>(batch)];
    if (n.is_number() && n.value() != lengths[0].value()) {
      return c.Error("sequence_lens has ", lengths[0].value(), " elements but the batch has ",
                     n.value());
    }
  }
  return SameAsInput(c);
}

absl::StatusOr<std::unique_ptr<Kernel>> ReverseSequenceKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  const auto time = static_cast<size_t>(c.Int("time_axis"));
  const int64_t steps = x[time], batch = x[1 - time];
  const int64_t inner = Product(absl::MakeConstSpan(x).subspan(2));
  return MakeKernel([time, steps, batch, inner](RunContext& r) -> absl::Status {
    const int64_t* lengths = r.input(1).data<int64_t>();
    for (int64_t n = 0; n < batch; ++n) {
      if (lengths[n] < 0 || lengths[n] > steps) {
        return ModelError("element ", n, " of sequence_lens is ", lengths[n],
                          " but the time axis has ", steps, " steps");
      }
    }
    const int64_t step = time == 0 ? batch * inner : inner,
                  item = time == 0 ? inner : steps * inner;
    DispatchRows(r.input(0).dtype(), [&]<typename W>(int64_t scale) {
      const W* from = static_cast<const W*>(r.input(0).raw());
      W* to = static_cast<W*>(r.output(0).mutable_raw());
      const int64_t row = inner * scale;
      ParallelFor(batch, RowGrain(row * steps), [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          for (int64_t t = 0; t < steps; ++t) {
            const int64_t source = t < lengths[n] ? lengths[n] - 1 - t : t;
            CopyRow(from + (n * item + source * step) * scale, to + (n * item + t * step) * scale,
                    row);
          }
        }
      });
    });
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<int>> CroppedAxes(const NodeContext& c, int rank) {
  std::vector<int> axes;
  if (!c.has_attr("axes")) {
    for (int i = 0; i < rank; ++i) axes.push_back(i);
  }
  for (const int64_t a : c.Ints("axes")) {
    const auto axis = NormalizeAxis(a, rank);
    if (!axis.ok()) return Annotate(axis.status(), c.node().Describe());
    axes.push_back(*axis);
  }
  return axes;
}

absl::Status InferCenterCropPad(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const std::vector<int> axes, CroppedAxes(c, x.rank()));
  if (const auto numbers = c.ints(1)) {
    for (const int64_t n : *numbers) {
      if (n < 0) return c.Error("shape has the negative size ", n);
    }
  }
  const auto sizes = c.sizes(1);
  if (sizes && sizes->size() != axes.size()) {
    return c.Error("shape has ", sizes->size(), " elements but ", axes.size(), " axes are named");
  }
  Shape y = x;
  for (size_t i = 0; i < axes.size(); ++i) y[axes[i]] = sizes ? (*sizes)[i] : Dim();
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

// Half of what is missing goes to each side, the odd one behind; a negative margin crops.
void CenterCropPadBody(BodyContext& b) {
  Builder& e = b.builder();
  if (!b.x(0).shape().has_rank())
    return b.Refuse(ModelError("the rank of the input must be known"));
  const auto axes = CroppedAxes(b, b.x(0).shape().rank());
  if (!axes.ok()) return b.Refuse(axes.status());
  Expr named = e.Ints(std::vector<int64_t>(axes->begin(), axes->end()));
  Expr missing = Cast(b.x(1), DType::kInt64) - Gather(ShapeOf(b.x(0)), named, 0);
  Expr before = missing / 2.0;
  Expr pads = ConcatAll({before, missing - before}, 0);
  b.Return(e.Op("Pad", {b.x(0), pads, Expr(), named}));
}

}  // namespace

void RegisterDepthToSpaceOps(OpRegistry& ops) {
  ops.Add(OpDef("DepthToSpace", 1)
              .Versions({1, 11, 13})
              .Input("input", "T")
              .Output("output", "T")
              .RequiredAttr("blocksize", Attr::Kind::kInt)
              .Attr("mode", "DCR")
              .Types("T", kAnyType)
              .Infer(InferDepthToSpace)
              .Kernel("native", DepthToSpaceKernel)
              .Gradient(DepthToSpaceGradient)
              .Try(Sample().In({2, 8, 2, 3}).Attr("blocksize", 2))
              .Try(Sample().In({2, 8, 2, 3}).Attr("blocksize", 2).Attr("mode", "CRD"))
              .Try(Sample().In({1, 2, 0, 3}).Attr("blocksize", 1))
              .Try(Sample().In({1, 6, 2, 2}).Attr("blocksize", 2).Refused("do not divide"))
              .Try(Sample().In({1, 4, 2, 2}).Attr("blocksize", 0).Refused("at least 1")));
  ops.Add(
      OpDef("SpaceToDepth", 1)
          .Versions({1, 13})
          .Input("input", "T")
          .Output("output", "T")
          .RequiredAttr("blocksize", Attr::Kind::kInt)
          .Types("T", kAnyType)
          .Infer(InferSpaceToDepth)
          .Kernel("native", SpaceToDepthKernel)
          // dx = dy put back
          .Gradient([](GradContext& g) {
            g.dx(0, g.builder().Op("DepthToSpace", {g.dy()}, {{"blocksize", g.Int("blocksize")}}));
          })
          .Try(Sample().In({2, 2, 4, 6}).Attr("blocksize", 2))
          .Try(Sample().In({1, 2, 3, 4}).Attr("blocksize", 2).Refused("must divide")));
  ops.Add(OpDef("ReverseSequence", 10)
              .Input("input", "T")
              .Input("sequence_lens", "int64")
              .Output("Y", "T")
              .Attr("batch_axis", 1)
              .Attr("time_axis", 0)
              .Types("T", kAnyType)
              .Infer(InferReverseSequence)
              .NoGradientFor({1})
              .Kernel("native", ReverseSequenceKernel)
              // dx = dy reversed alike
              .Gradient([](GradContext& g) {
                g.dx(0, g.builder().Op("ReverseSequence", {g.dy(), g.x(1)}, g.node().attrs()));
              })
              .Try(Sample().In({4, 3, 2}).In(Tensor::Int64s({4, 1, 2})))
              .Try(Sample()
                       .In({3, 4})
                       .In(Tensor::Int64s({0, 4, 3}))
                       .Attr("batch_axis", 0)
                       .Attr("time_axis", 1))
              .Try(Sample().In({2, 1}).In(Tensor::Int64s({3})).Refused("has 2 steps"))
              .Try(Sample().In({2, 2}).In(Tensor::Int64s({1})).Refused("the batch has 2")));
  ops.Add(OpDef("CenterCropPad", 18)
              .Input("input_data", "T")
              .Input("shape", "Tind")
              .Output("output_data", "T")
              .Attr("axes", Attr::Kind::kInts)
              .Types("T", kAnyType)
              .Types("Tind", kIndices)
              .Infer(InferCenterCropPad)
              .NoGradientFor({1})
              .Body(CenterCropPadBody)
              .Try(Sample().In({5, 2}).In(Tensor::Int64s({2, 5})))
              .Try(Sample()
                       .In({4, 7, 3})
                       .In(Tensor::Of<int32_t>({1}, {4}))
                       .Attr("axes", std::vector<int64_t>{-2}))
              .Try(Sample().In({4, 3}).In(Tensor::Int64s({7})).Refused("2 axes are named")));
}

}  // namespace graphrun
