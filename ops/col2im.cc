// Col2Im: columns of blocks summed into an image; ai.graphrun.Im2Col: its transpose.
//
// Source: https://onnx.ai/onnx/operators/onnx__Col2Im.html (18). Any number of spatial axes.
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// The spatial side of the operator. L blocks; the element k of block l lies at place[k * L + l] of
// the image, -1 in the padding.
struct Blocks {
  Dims image, block, counts;
  int64_t per_block = 1, per_image = 1, blocks = 1;
  std::vector<int64_t> place;
};

absl::StatusOr<Blocks> BlocksOf(const Dims& image, const Dims& block, Dims strides, Dims dilations,
                                Dims pads) {
  Blocks b;
  b.image = image;
  b.block = block;
  const size_t n = image.size();
  if (strides.empty()) strides.assign(n, 1);
  if (dilations.empty()) dilations.assign(n, 1);
  if (pads.empty()) pads.assign(2 * n, 0);
  if (block.size() != n || strides.size() != n || dilations.size() != n || pads.size() != 2 * n) {
    return ModelError("image_shape has ", n, " axes but block_shape, strides, dilations and pads ",
                      "have ", block.size(), ", ", strides.size(), ", ", dilations.size(), " and ",
                      pads.size(), " elements");
  }
  for (size_t i = 0; i < n; ++i) {
    if (image[i] < 0 || block[i] < 1 || strides[i] < 1 || dilations[i] < 1 || pads[i] < 0 ||
        pads[i + n] < 0) {
      return ModelError("axis ", i, " has size ", image[i], ", block ", block[i], ", stride ",
                        strides[i], ", dilation ", dilations[i], ": none may be below 1");
    }
    const auto reach = CheckedMul(dilations[i], block[i] - 1);
    const __int128 room =
        static_cast<__int128>(image[i]) + pads[i] + pads[i + n] - reach.value_or(INT64_MAX) - 1;
    b.counts.push_back(room < 0 ? 0 : static_cast<int64_t>(room / strides[i]) + 1);
  }
  GR_ASSIGN_OR_RETURN(b.per_block, NumElements(block));
  GR_ASSIGN_OR_RETURN(b.per_image, NumElements(image));
  GR_ASSIGN_OR_RETURN(b.blocks, NumElements(b.counts));
  const auto entries = CheckedMul(b.per_block, b.blocks);
  if (!entries || *entries > (int64_t{1} << 32)) {
    return LimitError(b.blocks, " blocks of ", b.per_block, " elements are too many");
  }
  const Dims image_strides = RowMajorStrides(image);
  b.place.resize(static_cast<size_t>(*entries));
  for (int64_t k = 0; k < b.per_block; ++k) {
    for (int64_t l = 0; l < b.blocks; ++l) {
      int64_t at = 0, rest_k = k, rest_l = l;
      for (size_t i = n; i-- > 0;) {
        const int64_t x =
            rest_l % b.counts[i] * strides[i] + rest_k % block[i] * dilations[i] - pads[i];
        rest_l /= b.counts[i];
        rest_k /= block[i];
        at = x < 0 || x >= image[i] || at < 0 ? -1 : at + x * image_strides[i];
      }
      b.place[static_cast<size_t>(k * b.blocks + l)] = at;
    }
  }
  return b;
}

absl::StatusOr<Blocks> KnownBlocks(const InferContext& c, bool* known) {
  const auto image = c.ints(1), block = c.ints(2);
  *known = image && block;
  if (!*known) return Blocks();
  auto b = BlocksOf(*image, *block, c.Ints("strides"), c.Ints("dilations"), c.Ints("pads"));
  if (!b.ok()) return Annotate(b.status(), c.node().Describe());
  return b;
}

absl::Status InferCol2Im(InferContext& c) {
  const Shape& x = c.input_shape(0);
  bool known;
  GR_ASSIGN_OR_RETURN(const Blocks b, KnownBlocks(c, &known));
  if (x.has_rank() && x.rank() != 3) {
    return c.Error("the input has shape ", x.ToString(), " but must be [N, C * block, L]");
  }
  std::vector<Dim> dims(2);
  if (x.has_rank()) dims[0] = x[0];
  if (!known) {
    const auto sizes = c.sizes(1);
    if (sizes) dims.insert(dims.end(), sizes->begin(), sizes->end());
    c.set_output(0, c.input_dtype(0), sizes ? Shape(std::move(dims)) : Shape());
    return absl::OkStatus();
  }
  if (x.has_rank() && x[1].is_number()) {
    if (x[1].value() % b.per_block != 0) {
      return c.Error("the input of shape ", x.ToString(), " has ", x[1].value(),
                     " rows, which do not divide by the block's ", b.per_block, " elements");
    }
    dims[1] = Dim(x[1].value() / b.per_block);
  }
  if (x.has_rank() && x[2].is_number() && x[2].value() != b.blocks) {
    return c.Error("the input of shape ", x.ToString(), " has ", x[2].value(),
                   " blocks but the image holds ", b.blocks);
  }
  for (const int64_t d : b.image) dims.push_back(Dim(d));
  c.set_output(0, c.input_dtype(0), Shape(std::move(dims)));
  return absl::OkStatus();
}

absl::Status InferIm2Col(InferContext& c) {
  const Shape& x = c.input_shape(0);
  bool known;
  GR_ASSIGN_OR_RETURN(const Blocks b, KnownBlocks(c, &known));
  Shape y = Shape::UnknownOfRank(3);
  if (x.has_rank() && x.rank() > 2) {
    y[0] = x[0];
    if (known && x[1].is_number()) y[1] = Dim(CheckedMul(x[1].value(), b.per_block).value_or(-1));
  }
  if (known) y[2] = Dim(b.blocks);
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

template <bool kForward>
absl::StatusOr<std::unique_ptr<Kernel>> MakeKernelOf(PrepareContext& c) {
  const Dims strides = c.Ints("strides"), dilations = c.Ints("dilations"), pads = c.Ints("pads");
  const auto make = [strides, dilations, pads](const InputValues& v) {
    return BlocksOf(v.ints(1), v.ints(2), strides, dilations, pads);
  };
  absl::StatusOr<std::unique_ptr<Kernel>> kernel = std::unique_ptr<Kernel>();
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = KernelByValues(c, {1, 2}, make, [](const Blocks& b, RunContext& r) -> absl::Status {
      const Tensor& in = r.input(0);
      const int64_t batch = in.dim(0);
      const int64_t channels = kForward ? in.dim(1) / b.per_block : in.dim(1);
      Dims out = {batch, kForward ? channels : channels * b.per_block};
      if (kForward) {
        if (in.dim(1) != channels * b.per_block || in.dim(2) != b.blocks) {
          return ModelError("the input of shape ", DimsToString(in.dims()), " does not hold ",
                            b.blocks, " blocks of ", b.per_block, " elements");
        }
        out.insert(out.end(), b.image.begin(), b.image.end());
      } else {
        out.push_back(b.blocks);
        if (Product(in.dims()) != batch * channels * b.per_image)
          return ModelError("the input of shape ", DimsToString(in.dims()), " is not the image");
      }
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, in.dtype(), out));
      const T* x = in.data<T>();
      T* y = r.output(0).mutable_data<T>();
      const auto entries = static_cast<int64_t>(b.place.size());
      using C = Compute<T>;
      ParallelFor(batch * channels, std::max<int64_t>(16384 / std::max<int64_t>(entries, 1), 1),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) {
                      const T* column = x + i * (kForward ? entries : b.per_image);
                      T* to = y + i * (kForward ? b.per_image : entries);
                      if (kForward) std::fill(to, to + b.per_image, T(Compute<T>(0)));
                      for (int64_t e = 0; e < entries; ++e) {
                        const int64_t at = b.place[static_cast<size_t>(e)];
                        if (!kForward) {
                          to[e] = at < 0 ? T(Compute<T>(0)) : column[at];
                        } else if (at >= 0) {
                          to[at] = T(static_cast<C>(to[at]) + static_cast<C>(column[e]));
                        }
                      }
                    }
                  });
      return absl::OkStatus();
    });
  });
  return kernel;
}

OpDef Like(OpDef def) {
  return def.Input("input", "T")
      .Input("image_shape", "int64")
      .Input("block_shape", "int64")
      .Output("output", "T")
      .Attr("dilations", Attr::Kind::kInts)
      .Attr("pads", Attr::Kind::kInts)
      .Attr("strides", Attr::Kind::kInts)
      .Types("T", kNumeric)
      .NoGradientFor({1, 2});
}

// The elements' numbers taken through the same blocks say where each column element comes from.
void Im2ColBody(BodyContext& b) {
  Builder& e = b.builder();
  for (const int i : {1, 2}) {
    if (!b.node().input(i)->is_constant())
      return b.Refuse(ModelError("image_shape and block_shape must be constant"));
  }
  const auto blocks = BlocksOf(b.node().input(1)->initializer().AsInt64s(),
                               b.node().input(2)->initializer().AsInt64s(), b.Ints("strides"),
                               b.Ints("dilations"), b.Ints("pads"));
  if (!blocks.ok()) return b.Refuse(blocks.status());
  // Index 0 is a zero in front of the image.
  std::vector<int64_t> places = blocks->place;
  for (int64_t& p : places) ++p;
  Expr flat = Reshape(b.x(0), {0, 0, -1});
  Expr padded = e.Op("Pad", {flat, e.Ints({0, 0, 1, 0, 0, 0})});
  Expr columns = Gather(padded, e.Ints(places), 2);
  Expr rows = ConcatAll({DimOf(b.x(0), 0), e.Ints({-1, blocks->blocks})}, 0);
  b.Return(Reshape(columns, rows));
}

}  // namespace

void RegisterCol2imOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  ops.Add(Like(OpDef("Col2Im", 18))
              .Infer(InferCol2Im)
              .Kernel("native", MakeKernelOf<true>)
              // dx = the blocks of dy
              .Gradient([](GradContext& g) {
                g.dx(0, g.builder().Op("Im2Col", {g.dy(), g.x(1), g.x(2)}, g.node().attrs(),
                                       kGraphrunDomain));
              })
              .Try(Sample().In({1, 5, 5}).In(Tensor::Int64s({5, 5})).In(Tensor::Int64s({1, 5})))
              .Try(Sample().In({2, 8, 9}).In(Tensor::Int64s({4, 4})).In(Tensor::Int64s({2, 2})))
              .Try(Sample()
                       .In({1, 4, 12})
                       .In(Tensor::Int64s({4, 5}))
                       .In(Tensor::Int64s({2, 2}))
                       .Attr("dilations", Ints{2, 1})
                       .Attr("strides", Ints{1, 2})
                       .Attr("pads", Ints{1, 1, 0, 2}))
              .Try(Sample()
                       .In({1, 5, 4})
                       .In(Tensor::Int64s({5, 5}))
                       .In(Tensor::Int64s({1, 5}))
                       .Refused("holds 5")));
  ops.Add(Like(OpDef("Im2Col", 1, kGraphrunDomain))
              .Infer(InferIm2Col)
              .Kernel("native", MakeKernelOf<false>)
              .Body(Im2ColBody)
              // d(dy) = the columns of the incoming gradient summed
              .Gradient([](GradContext& g) {
                g.dx(0, g.builder().Op("Col2Im", {g.dy(), g.x(1), g.x(2)}, g.node().attrs()));
              })
              .Try(Sample()
                       .In({1, 2, 3, 3})
                       .In(Tensor::Int64s({3, 3}))
                       .In(Tensor::Int64s({2, 2}))
                       .Attr("pads", Ints{1, 0, 0, 0})));
}

}  // namespace graphrun
