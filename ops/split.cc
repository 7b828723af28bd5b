// Split: a tensor cut along an axis.
//
// Source: https://onnx.ai/onnx/operators/onnx__Split.html (1, 2, 11, 13, 18; every element type).
// Until version 11 the sizes are an attribute, from 13 an input; 18 adds num_outputs. Without sizes
// the pieces are equal, the last one smaller where the axis does not divide (the standard says so
// from 18 on).
#include "ops/joined_channels.h"
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<std::vector<Dim>> PieceSizes(const Dim& whole, int pieces,
                                            const absl::optional<std::vector<Dim>>& sizes,
                                            bool given) {
  if (given && !sizes) return std::vector<Dim>(static_cast<size_t>(pieces));
  if (given) {
    if (static_cast<int>(sizes->size()) != pieces) {
      return ModelError("split has ", sizes->size(), " sizes but there are ", pieces, " outputs");
    }
    int64_t sum = 0;
    for (const Dim& d : *sizes) {
      if (!d.is_number()) return *sizes;
      if (d.value() > INT64_MAX - sum) return ModelError("the sizes in split overflow");
      sum += d.value();
    }
    if (whole.is_number() && sum != whole.value()) {
      return ModelError("the sizes in split add up to ", sum, " but the axis has size ",
                        whole.value());
    }
    return *sizes;
  }
  std::vector<Dim> equal(static_cast<size_t>(pieces));
  if (!whole.is_number()) return equal;
  const int64_t size = (whole.value() + pieces - 1) / pieces;
  int64_t rest = whole.value();
  for (Dim& d : equal) {
    d = Dim(std::min(size, rest));
    rest -= d.value();
  }
  return equal;
}

absl::Status InferSplitBy(InferContext& c, absl::optional<std::vector<Dim>> sizes, bool given) {
  const Shape& x = c.input_shape(0);
  const int n = c.num_outputs();
  if (c.has_attr("num_outputs") && c.Int("num_outputs") != n) {
    return c.Error("num_outputs is ", c.Int("num_outputs"), " but the node has ", n, " outputs");
  }
  if (!x.has_rank()) {
    for (int i = 0; i < n; ++i) c.set_output(i, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis"), x.rank()));
  auto pieces = PieceSizes(x[axis], n, sizes, given);
  if (!pieces.ok()) return Annotate(pieces.status(), c.node().Describe());
  const auto elements = c.sizes(0);
  size_t at = 0;
  for (int i = 0; i < n; ++i) {
    const Dim& size = (*pieces)[static_cast<size_t>(i)];
    Shape part = x;
    part[axis] = size;
    c.set_output(i, c.input_dtype(0), std::move(part));
    if (!elements || x.rank() != 1 || !size.is_number()) continue;
    const auto from = elements->begin() + static_cast<std::ptrdiff_t>(at);
    at += static_cast<size_t>(size.value());
    if (at > elements->size()) break;
    c.set_sizes(i, std::vector<Dim>(from, from + size.value()));
  }
  return absl::OkStatus();
}

absl::Status InferSplit(InferContext& c) {
  if (const auto numbers = c.ints(1)) {
    for (const int64_t n : *numbers) {
      if (n < 0) return c.Error("split has the negative size ", n);
    }
  }
  return InferSplitBy(c, c.sizes(1), c.has_input(1));
}
absl::Status InferSplit2(InferContext& c) {
  const auto ints = c.Ints("split");
  if (c.has_input(1)) return c.Error("sizes given as an input are not supported in version 1");
  return InferSplitBy(c, std::vector<Dim>(ints.begin(), ints.end()), !ints.empty());
}

// Pieces of the channels where the input lies in blocks of them or channels last; null where they
// do not lie so, or their sizes are not known yet.
absl::StatusOr<std::unique_ptr<Kernel>> SplitChannels(PrepareContext& c, int axis) {
  const Dims x = c.input_dims(0);
  if (axis != 1 || !c.input_layout(0).is_blocked() || Product(x) == 0) return nullptr;
  std::vector<Dims> parts;
  for (int i = 0; i < c.num_outputs(); ++i) {
    if (!c.has_output(i) || c.output_is_dynamic(i)) return nullptr;
    parts.push_back(c.output_dims(i));
  }
  const auto joined = JoinedRows::Of(parts, x, x, c.input_layout(0));
  if (!joined) return nullptr;
  c.Want(0, joined->whole);
  for (int i = 0; i < c.num_outputs(); ++i) c.Make(i, joined->layouts[static_cast<size_t>(i)]);
  return MakeKernel([rows = joined->parts, outer = joined->outer,
                     whole = Product(x) / joined->outer](RunContext& r) {
    DispatchRows(r.input(0).dtype(), [&]<typename W>(int64_t scale) {
      const W* from = static_cast<const W*>(r.input(0).raw());
      for (size_t i = 0; i < rows.size(); ++i) {
        const int64_t row = rows[i] * scale;
        W* to = static_cast<W*>(r.output(static_cast<int>(i)).mutable_raw());
        ParallelFor(outer, RowGrain(row), [&](int64_t begin, int64_t end) {
          for (int64_t o = begin; o < end; ++o)
            CopyRow(from + o * whole * scale, to + o * row, row);
        });
        from += row;
      }
    });
    return absl::OkStatus();
  });
}

absl::StatusOr<std::unique_ptr<Kernel>> SplitKernel(PrepareContext& c) {
  const Dims x = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(c.Int("axis"), static_cast<int>(x.size())));
  GR_ASSIGN_OR_RETURN(auto channels, SplitChannels(c, axis));
  if (channels != nullptr) return channels;
  const int n = c.num_outputs();
  return KernelByValues(
      c, {1},
      [x, axis, n](const InputValues& v) -> absl::StatusOr<Dims> {
        absl::optional<std::vector<Dim>> sizes;
        if (v[1] != nullptr) {
          const auto numbers = v.ints(1);
          for (const int64_t s : numbers) {
            if (s < 0) return ModelError("split has the negative size ", s);
          }
          sizes = std::vector<Dim>(numbers.begin(), numbers.end());
        }
        GR_ASSIGN_OR_RETURN(
            const std::vector<Dim> pieces,
            PieceSizes(Dim(x[static_cast<size_t>(axis)]), n, sizes, v[1] != nullptr));
        return Shape(pieces).ToDims();
      },
      [x, axis](const Dims& pieces, RunContext& r) -> absl::Status {
        const auto dims = absl::MakeConstSpan(x);
        const int64_t outer = Product(dims.subspan(0, static_cast<size_t>(axis)));
        const int64_t inner = Product(dims.subspan(static_cast<size_t>(axis) + 1));
        const int64_t whole = x[static_cast<size_t>(axis)] * inner;
        int64_t at = 0;
        for (size_t i = 0; i < pieces.size(); ++i) {
          const int64_t start = at, piece = pieces[i] * inner;
          at += piece;
          const int o = static_cast<int>(i);
          if (!r.has_output(o)) continue;
          Dims part = x;
          part[static_cast<size_t>(axis)] = pieces[i];
          GR_RETURN_IF_ERROR(r.ResizeOutput(o, r.input(0).dtype(), std::move(part)));
          DispatchRows(r.input(0).dtype(), [&]<typename W>(int64_t scale) {
            const W* from = static_cast<const W*>(r.input(0).raw()) + start * scale;
            W* to = static_cast<W*>(r.output(o).mutable_raw());
            const int64_t row = piece * scale;
            if (outer == 1) {
              ParallelFor(row, 1 << 20, [&](int64_t begin, int64_t end) {
                CopyRow(from + begin, to + begin, end - begin);
              });
              return;
            }
            ParallelFor(outer, RowGrain(row), [&](int64_t begin, int64_t end) {
              for (int64_t k = begin; k < end; ++k)
                CopyRow(from + k * whole * scale, to + k * row, row);
            });
          });
        }
        return absl::OkStatus();
      });
}

// dx = the pieces of dy joined
void SplitGradient(GradContext& g) {
  std::vector<Expr> parts;
  std::vector<Expr> again;
  for (int i = 0; i < g.num_outputs(); ++i) {
    if (!g.has_output(i) && again.empty()) {
      again = g.builder().Ops("Split", {g.x(0), g.x(1)}, g.num_outputs(), g.node().attrs());
    }
    parts.push_back(g.has_output(i) ? g.dy(i) : ZerosLike(again[static_cast<size_t>(i)]));
  }
  g.dx(0, ConcatAll(parts, g.Int("axis")));
}

// The newest form, with the attribute as an input.
void SplitByAttribute(BodyContext& b) {
  AttrMap attrs = {{"axis", b.Int("axis")}};
  Expr split;
  if (b.Ints("split").empty()) {
    attrs.insert_or_assign("num_outputs", b.num_outputs());
  } else {
    split = b.builder().Ints(b.Ints("split"));
  }
  b.Return(b.builder().Ops("Split", {b.x(0), split}, b.num_outputs(), attrs));
}

}  // namespace

void RegisterSplitOps(OpRegistry& ops) {
  using Sizes = std::vector<int64_t>;
  ops.Add(OpDef("Split", 1)
              .Versions({1, 2, 11})
              .Input("input", "T")
              .Input("split", "T", Arity::kOptional)
              .Output("outputs", "T", Arity::kVariadic)
              .Attr("axis", 0)
              .Attr("split", Attr::Kind::kInts)
              .Types("T", kAnyType)
              .Infer(InferSplit2)
              .Body(SplitByAttribute)
              .Try(Sample().In({5, 2}).Attr("split", Sizes{2, 3}).Outputs(2))
              .Try(Sample().In({2, 4}).Attr("axis", 1).Outputs(2)));
  ops.Add(
      OpDef("Split", 13)
          .Versions({13, 18})
          .Input("input", "T")
          .Input("split", "int64", Arity::kOptional)
          .Output("outputs", "T", Arity::kVariadic)
          .Attr("axis", 0)
          .Attr("num_outputs", Attr::Kind::kInt)
          .Types("T", kAnyType)
          .Infer(InferSplit)
          .NoGradientFor({1})
          .Kernel("native", SplitKernel)
          .Gradient(SplitGradient)
          .Try(Sample().In({5, 2}).In(Tensor::Int64s({2, 3})).Outputs(2))
          .Try(Sample().In({2, 5, 3}).In(Tensor::Int64s({1, 0, 4})).Attr("axis", -2).Outputs(3))
          .Try(Sample().In({2, 5}).In(Tensor::Int64s({1, 4})).Variable().Attr("axis", 1).Outputs(2))
          .Try(Sample().In({7}).Attr("num_outputs", 3).Outputs(3))
          .Try(Sample().In({6, 2}).Outputs(2))
          .Try(Sample().In({0, 2}).In(Tensor::Int64s({0, 0})).Outputs(2))
          .Try(Sample()
                   .In(Tensor::Of<std::string>({2}, {"a", "b"}))
                   .Outputs(2)
                   .Gives(Tensor::Of<std::string>({1}, {"a"}))
                   .Gives(Tensor::Of<std::string>({1}, {"b"})))
          .Try(Sample().In({5}).In(Tensor::Int64s({2, 2})).Outputs(2).Refused("add up to 4"))
          .Try(Sample().In({5}).In(Tensor::Int64s({5})).Outputs(2).Refused("2 outputs"))
          .Try(Sample().In({5}).Attr("num_outputs", 3).Outputs(2).Refused("num_outputs is 3")));
}

}  // namespace graphrun
