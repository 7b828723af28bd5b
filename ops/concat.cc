// Concat: tensors joined along an axis.
//
// Source: https://onnx.ai/onnx/operators/onnx__Concat.html (1, 4, 11, 13; every element type).
// Until version 3 axis has the default 1.
#include "ops/joined_channels.h"
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferConcat(InferContext& c) {
  Shape joined;
  for (int i = 0; i < c.num_inputs(); ++i) {
    if (c.input_shape(i).has_rank()) joined = Shape::UnknownOfRank(c.input_shape(i).rank());
  }
  if (!joined.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const int axis, c.Axis(c.Int("axis", 1), joined.rank()));
  int64_t total = 0;
  int symbols = 0;
  Dim symbol;
  for (int i = 0; i < c.num_inputs(); ++i) {
    const Shape& x = c.input_shape(i);
    if (!c.has_input(i)) return c.Error("input ", i, " is left out; Concat needs every input");
    if (!x.has_rank()) {
      ++symbols;
      symbol = Dim();
      continue;
    }
    if (x.rank() != joined.rank()) {
      return c.Error("input ", i, " has shape ", x.ToString(), " but another has rank ",
                     joined.rank(), ": all must have the same rank");
    }
    for (int a = 0; a < x.rank(); ++a) {
      if (a == axis) continue;
      if (joined[a].is_number() && x[a].is_number() && joined[a].value() != x[a].value()) {
        return c.Error("input ", i, " has shape ", x.ToString(), " but the inputs before it give ",
                       joined.ToString(), ": only axis ", axis, " may differ");
      }
      if (joined[a].is_unknown() || x[a].is_number()) joined[a] = x[a];
    }
    if (x[axis].is_number()) {
      if (x[axis].value() > INT64_MAX - total)
        return c.Error("the sizes along axis ", axis, " overflow");
      total += x[axis].value();
    } else {
      ++symbols;
      symbol = x[axis];
    }
  }
  joined[axis] = symbols == 0 ? Dim(total) : symbols == 1 && total == 0 ? symbol : Dim();
  std::vector<Dim> sizes;
  bool known = joined.rank() == 1 && joined[0].is_number() && joined[0].value() <= 64;
  for (int i = 0; i < c.num_inputs() && known; ++i) {
    const auto part = c.sizes(i);
    const auto length = static_cast<size_t>(c.input_shape(i)[0].value());
    known = IsInteger(c.input_dtype(0)) && (!part || part->size() == length);
    const std::vector<Dim> own = part ? *part : std::vector<Dim>(length);
    sizes.insert(sizes.end(), own.begin(), own.end());
  }
  c.set_output(0, c.input_dtype(0), std::move(joined));
  if (known) c.set_sizes(0, std::move(sizes));
  return absl::OkStatus();
}

// Where the parts lie in memory: in the layout that most of their elements have already.
JoinedRows RowsOf(const PrepareContext& c, const std::vector<Dims>& parts, int axis) {
  const Dims whole = c.output_dims(0);
  JoinedRows best = JoinedRows::RowMajor(parts, axis);
  if (axis != 1) return best;
  const auto elements_in = [&](const JoinedRows& rows) {
    int64_t n = 0;
    for (size_t i = 0; i < parts.size(); ++i)
      n += c.input_layout(static_cast<int>(i)) == rows.layouts[i] ? Product(parts[i]) : 0;
    return n;
  };
  int64_t most = elements_in(best);
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto rows = JoinedRows::Of(parts, whole, parts[i], c.input_layout(static_cast<int>(i)));
    const int64_t n = rows ? elements_in(*rows) : -1;
    if (n > most) {
      most = n;
      best = *rows;
    }
  }
  return best;
}

absl::StatusOr<std::unique_ptr<Kernel>> ConcatKernel(PrepareContext& c) {
  const Dims out = c.output_dims(0);
  GR_ASSIGN_OR_RETURN(const int axis,
                      NormalizeAxis(c.Int("axis", 1), static_cast<int>(out.size())));
  if (Product(out) == 0) return MakeKernel([](RunContext&) { return absl::OkStatus(); });
  std::vector<Dims> parts;
  for (int i = 0; i < c.num_inputs(); ++i) parts.push_back(c.input_dims(i));
  const JoinedRows joined = RowsOf(c, parts, axis);
  for (int i = 0; i < c.num_inputs(); ++i) c.Want(i, joined.layouts[static_cast<size_t>(i)]);
  c.Make(0, joined.whole);
  const int64_t outer = joined.outer, inner = Product(out) / outer;
  const std::vector<int64_t> rows = joined.parts;
  std::vector<int64_t> starts;
  int64_t at = 0;
  for (const int64_t row : rows) {
    starts.push_back(at);
    at += row;
  }
  return MakeKernel([rows, starts, outer, inner](RunContext& r) {
    DispatchRows(r.output(0).dtype(), [&]<typename W>(int64_t scale) {
      W* y = static_cast<W*>(r.output(0).mutable_raw());
      // One long row an input: its bytes are shared out; else the rows are.
      for (size_t i = 0; i < rows.size(); ++i) {
        const W* x = static_cast<const W*>(r.input(static_cast<int>(i)).raw());
        const int64_t row = rows[i] * scale;
        if (outer == 1) {
          W* to = y + starts[i] * scale;
          ParallelFor(row, 1 << 20, [&](int64_t begin, int64_t end) {
            CopyRow(x + begin, to + begin, end - begin);
          });
        }
      }
      if (outer == 1) return;
      ParallelFor(outer, RowGrain(inner * scale), [&](int64_t begin, int64_t end) {
        for (size_t i = 0; i < rows.size(); ++i) {
          const W* x = static_cast<const W*>(r.input(static_cast<int>(i)).raw());
          const int64_t row = rows[i] * scale;
          W* to = y + starts[i] * scale;
          for (int64_t o = begin; o < end; ++o) CopyRow(x + o * row, to + o * inner * scale, row);
        }
      });
    });
    return absl::OkStatus();
  });
}

// dx_i = its part of dy
void ConcatGradient(GradContext& g) {
  Builder& b = g.builder();
  const int n = g.num_inputs();
  if (n == 1) return g.dx(0, g.dy());
  const Shape& y = g.y().shape();
  int64_t axis = g.Int("axis", 1);
  if (axis < 0 && y.has_rank()) axis += y.rank();
  std::vector<Expr> sizes;
  std::vector<int64_t> numbers;
  for (int i = 0; i < n; ++i) {
    const Shape& x = g.x(i).shape();
    sizes.push_back(DimOf(g.x(i), static_cast<int>(axis)));
    if (x.has_rank() && x[static_cast<int>(axis)].is_number())
      numbers.push_back(x[static_cast<int>(axis)].value());
  }
  Expr split = static_cast<int>(numbers.size()) == n ? b.Ints(numbers) : ConcatAll(sizes, 0);
  const std::vector<Expr> parts = b.Ops("Split", {g.dy(), split}, n, {{"axis", axis}});
  for (int i = 0; i < n; ++i) g.dx(i, parts[static_cast<size_t>(i)]);
}

OpDef ConcatSince(int since) {
  return OpDef("Concat", since)
      .Input("inputs", "T", Arity::kVariadic)
      .Output("concat_result", "T")
      .Types("T", kAnyType)
      .Infer(InferConcat)
      .NoOp([](const NodeContext& c) { return c.num_inputs() == 1 ? 0 : -1; })
      .Kernel("native", ConcatKernel)
      .Gradient(ConcatGradient);
}

}  // namespace

void RegisterConcatOps(OpRegistry& ops) {
  ops.Add(ConcatSince(1).Attr("axis", 1).Try(Sample().In({2, 3}).In({2, 1})));
  ops.Add(ConcatSince(4)
              .Versions({4, 11, 13})
              .RequiredAttr("axis", Attr::Kind::kInt)
              .Try(Sample().In({2, 3}).In({4, 3}).Attr("axis", 0))
              .Try(Sample().In({2, 3}).In({2, 1}).In({2, 2}).Attr("axis", -1))
              .Try(Sample().In({2, 3, 2}).In({2, 1, 2}).Attr("axis", 1))
              .Try(Sample().In({2, 3}).Attr("axis", 1))
              .Try(Sample().In({0, 3}).In({2, 3}).Attr("axis", 0))
              .Try(Sample().In({2, 0}).In({2, 0}).Attr("axis", 0))
              .Try(Sample()
                       .In(Tensor::Of<std::string>({1}, {"a"}))
                       .In(Tensor::Of<std::string>({2}, {"b", "c"}))
                       .Attr("axis", 0)
                       .Gives(Tensor::Of<std::string>({3}, {"a", "b", "c"})))
              .Try(Sample().In({2, 3}).In({3, 3}).Attr("axis", 1).Refused("may differ"))
              .Try(Sample().In({2, 3}).In({3}).Attr("axis", 0).Refused("same rank"))
              .Try(Sample().In({2, 3}).Attr("axis", 2).Refused("out of range")));
}

}  // namespace graphrun
