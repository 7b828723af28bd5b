// Einsum: sums of products named by an equation, for any number of operands.
//
// Source: https://onnx.ai/onnx/operators (Einsum 12). Repeated labels take a diagonal, "..." stands
// for axes that broadcast, and without "->" the output has the labels that occur once, in
// alphabetical order, behind the axes of "...". Element types: numbers. One and two operands become
// Transpose, ReduceSum and MatMul nodes; `native` walks any equation.
#include <map>
#include <set>

#include "ops/native.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// An equation with every axis labelled: letters by their code, axes of "..." by negative numbers
// (-1 is the last of them).
struct Equation {
  std::vector<std::vector<int>> terms;
  std::vector<int> output;
};

constexpr int kDots = 0;  // in a parsed term: "..."

absl::StatusOr<std::vector<int>> ParseTerm(const NodeContext& c, absl::string_view text) {
  std::vector<int> labels;
  for (size_t i = 0; i < text.size(); ++i) {
    const char ch = text[i];
    if (ch == ' ') continue;
    if (text.substr(i, 3) == "...") {
      labels.push_back(kDots);
      i += 2;
    } else if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')) {
      labels.push_back(ch);
    } else {
      return c.Error("the equation \"", c.String("equation"), "\" has the character '",
                     std::string(1, ch), "'; use letters, commas, \"...\" and \"->\"");
    }
  }
  if (std::count(labels.begin(), labels.end(), kDots) > 1)
    return c.Error("the equation \"", c.String("equation"), "\" has \"...\" twice in one term");
  return labels;
}

// Ranks of all operands are needed.
absl::StatusOr<Equation> Parse(const NodeContext& c) {
  const std::string text = c.String("equation");
  const size_t arrow = text.find("->");
  std::vector<std::vector<int>> terms;
  const std::string left = text.substr(0, arrow);
  for (size_t begin = 0; begin <= left.size();) {
    const size_t end = std::min(left.find(',', begin), left.size());
    GR_ASSIGN_OR_RETURN(std::vector<int> term,
                        ParseTerm(c, absl::string_view(left).substr(begin, end - begin)));
    terms.push_back(std::move(term));
    begin = end + 1;
  }
  if (static_cast<int>(terms.size()) != c.num_inputs()) {
    return c.Error("the equation \"", text, "\" has ", terms.size(), " terms but there are ",
                   c.num_inputs(), " inputs");
  }
  int most_dots = 0;
  Equation equation;
  std::map<int, int> times;
  for (int i = 0; i < c.num_inputs(); ++i) {
    const std::vector<int>& term = terms[static_cast<size_t>(i)];
    const int rank = c.node().input(i)->shape().rank();
    const bool has_dots = std::count(term.begin(), term.end(), kDots) > 0;
    const int dots = rank - static_cast<int>(term.size()) + (has_dots ? 1 : 0);
    if (dots < 0 || (!has_dots && dots != 0)) {
      return c.Error("term ", i, " of the equation \"", text, "\" has ", term.size(),
                     " labels but the input has ", rank, " axes");
    }
    most_dots = std::max(most_dots, dots);
    std::vector<int> labels;
    for (const int label : term) {
      if (label == kDots) {
        for (int k = dots; k > 0; --k) labels.push_back(-k);
      } else {
        labels.push_back(label);
        ++times[label];
      }
    }
    equation.terms.push_back(std::move(labels));
  }
  std::vector<int> output;
  if (arrow == std::string::npos) {
    if (most_dots > 0) output.push_back(kDots);
    for (const auto& [label, n] : times) {
      if (n == 1) output.push_back(label);
    }
  } else {
    GR_ASSIGN_OR_RETURN(output, ParseTerm(c, absl::string_view(text).substr(arrow + 2)));
  }
  for (const int label : output) {
    if (label == kDots) {
      for (int k = most_dots; k > 0; --k) equation.output.push_back(-k);
    } else if (times.count(label) == 0) {
      return c.Error("the output label '", std::string(1, static_cast<char>(label)),
                     "' of the equation \"", text, "\" is in no term");
    } else {
      equation.output.push_back(label);
    }
  }
  if (std::set<int>(equation.output.begin(), equation.output.end()).size() !=
      equation.output.size()) {
    return c.Error("the output of the equation \"", text, "\" repeats a label");
  }
  return equation;
}

bool RanksKnown(const NodeContext& c) {
  for (int i = 0; i < c.num_inputs(); ++i) {
    if (!c.node().input(i)->shape().has_rank()) return false;
  }
  return true;
}

absl::Status InferEinsum(InferContext& c) {
  if (!RanksKnown(c)) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const Equation equation, Parse(c));
  std::map<int, Dim> sizes;
  for (int i = 0; i < c.num_inputs(); ++i) {
    const std::vector<int>& term = equation.terms[static_cast<size_t>(i)];
    for (size_t a = 0; a < term.size(); ++a) {
      const Dim& own = c.input_shape(i)[static_cast<int>(a)];
      const auto [it, inserted] = sizes.emplace(term[a], own);
      if (inserted) continue;
      Dim& known = it->second;
      const bool one = known.is_number() && known.value() == 1;
      if (known.is_number() && own.is_number() && !one && own.value() != 1 &&
          known.value() != own.value()) {
        return c.Error("axis ", a, " of input ", i, " has size ", own.value(),
                       " but the same label has size ", known.value(), " elsewhere");
      }
      if (one || (!known.is_number() && own.is_number() && own.value() != 1)) known = own;
    }
  }
  Shape shape = Shape::Scalar();
  for (const int label : equation.output) shape.Append(sizes.at(label));
  c.set_output(0, c.input_dtype(0), std::move(shape));
  return absl::OkStatus();
}

// Sizes and strides of all labels: output labels first, then those that are summed.
struct Loops {
  Dims sizes;
  size_t outer = 0;           // labels of the output
  std::vector<Dims> strides;  // of each operand
};

Loops LoopsOf(PrepareContext& c, const Equation& equation) {
  Loops loops;
  std::vector<int> order = equation.output;
  loops.outer = order.size();
  std::map<int, int64_t> sizes;
  for (size_t i = 0; i < equation.terms.size(); ++i) {
    const Dims dims = c.input_dims(static_cast<int>(i));
    for (size_t a = 0; a < dims.size(); ++a) {
      const int label = equation.terms[i][a];
      const auto [it, inserted] = sizes.emplace(label, dims[a]);
      if (!inserted && it->second == 1) it->second = dims[a];
      if (std::count(order.begin(), order.end(), label) == 0) order.push_back(label);
    }
  }
  for (const int label : order) loops.sizes.push_back(sizes.at(label));
  for (size_t i = 0; i < equation.terms.size(); ++i) {
    const Dims dims = c.input_dims(static_cast<int>(i));
    const Dims own = RowMajorStrides(dims);
    Dims strides(order.size(), 0);
    for (size_t a = 0; a < dims.size(); ++a) {
      if (dims[a] == 1) continue;
      for (size_t k = 0; k < order.size(); ++k) {
        if (order[k] == equation.terms[i][a]) strides[k] += own[a];
      }
    }
    loops.strides.push_back(std::move(strides));
  }
  return loops;
}

template <typename T>
void Walk(const Loops& loops, const std::vector<const T*>& x, T* y) {
  using C = std::conditional_t<std::is_same_v<Compute<T>, float>, double, Compute<T>>;
  const size_t rank = loops.sizes.size(), operands = x.size();
  int64_t outputs = 1, terms = 1;
  for (size_t k = 0; k < rank; ++k) (k < loops.outer ? outputs : terms) *= loops.sizes[k];
  ParallelFor(outputs, std::max<int64_t>(4096 / std::max<int64_t>(terms, 1), 1),
              [&](int64_t begin, int64_t end) {
                std::vector<int64_t> base(operands), at(operands), index(rank);
                for (int64_t o = begin; o < end; ++o) {
                  int64_t rest = o;
                  std::fill(base.begin(), base.end(), 0);
                  for (size_t k = loops.outer; k-- > 0;) {
                    const int64_t i = rest % loops.sizes[k];
                    rest /= loops.sizes[k];
                    for (size_t n = 0; n < operands; ++n) base[n] += i * loops.strides[n][k];
                  }
                  at = base;
                  std::fill(index.begin(), index.end(), 0);
                  C sum = 0;
                  for (int64_t t = 0; t < terms; ++t) {
                    C product = static_cast<C>(static_cast<Compute<T>>(x[0][at[0]]));
                    for (size_t n = 1; n < operands; ++n)
                      product *= static_cast<C>(static_cast<Compute<T>>(x[n][at[n]]));
                    sum += product;
                    for (size_t k = rank; k-- > loops.outer;) {
                      for (size_t n = 0; n < operands; ++n) at[n] += loops.strides[n][k];
                      if (++index[k] < loops.sizes[k]) break;
                      for (size_t n = 0; n < operands; ++n)
                        at[n] -= loops.strides[n][k] * loops.sizes[k];
                      index[k] = 0;
                    }
                  }
                  y[o] = T(sum);
                }
              });
}

absl::StatusOr<std::unique_ptr<Kernel>> EinsumKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const Equation equation, Parse(c));
  const Loops loops = LoopsOf(c, equation);
  const int operands = c.num_inputs();
  std::unique_ptr<Kernel> kernel;
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([loops, operands](RunContext& r) {
      std::vector<const T*> x;
      for (int i = 0; i < operands; ++i) x.push_back(r.input(i).data<T>());
      Walk(loops, x, r.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

// An operand of the body, each label once.
struct Operand {
  Expr value;
  std::vector<int> labels;
  bool Has(int label) const { return std::count(labels.begin(), labels.end(), label) > 0; }
};

void Permute(Operand& x, const std::vector<int>& order) {
  std::vector<int64_t> perm;
  bool moves = false;
  for (size_t k = 0; k < order.size(); ++k) {
    const auto at = std::find(x.labels.begin(), x.labels.end(), order[k]) - x.labels.begin();
    perm.push_back(at);
    moves |= at != static_cast<std::ptrdiff_t>(k);
  }
  if (moves) x.value = Transpose(x.value, perm);
  x.labels = order;
}

// Sums away labels that `keep` does not hold.
void SumOut(Operand& x, const std::set<int>& keep) {
  std::vector<int64_t> axes;
  std::vector<int> left;
  for (size_t a = 0; a < x.labels.size(); ++a) {
    if (keep.count(x.labels[a]) > 0) {
      left.push_back(x.labels[a]);
    } else {
      axes.push_back(static_cast<int64_t>(a));
    }
  }
  if (!axes.empty()) x.value = ReduceSum(x.value, axes, false);
  x.labels = left;
}

// Sizes of x's labels as one 1-D tensor; with `merge`, their product.
Expr SizesOf(const Operand& x, const std::vector<int>& labels, bool merge) {
  Builder& b = *x.value.builder();
  Expr all;
  for (const int label : labels) {
    const auto a = std::find(x.labels.begin(), x.labels.end(), label) - x.labels.begin();
    const Dim& known = x.value.shape()[static_cast<int>(a)];
    Expr size = known.is_number() ? b.Ints({known.value()}) : DimOf(x.value, static_cast<int>(a));
    all = !all.is_defined() ? size : merge ? all * size : ConcatAll({all, size}, 0);
  }
  if (!all.is_defined() && merge) return b.Ints({1});
  return all;
}

// x as [batch..., merged rows, merged columns].
Expr AsMatrix(const Operand& x, const std::vector<int>& batch, const std::vector<int>& rows,
              const std::vector<int>& columns) {
  if (rows.size() == 1 && columns.size() == 1) return x.value;
  std::vector<Expr> sizes;
  if (!batch.empty()) sizes.push_back(SizesOf(x, batch, false));
  sizes.push_back(SizesOf(x, rows, true));
  sizes.push_back(SizesOf(x, columns, true));
  return Reshape(x.value, ConcatAll(sizes, 0));
}

// The product of a and b, summed over shared labels that `keep` does not hold.
Operand Contract(Operand a, Operand b, const std::set<int>& keep) {
  std::set<int> for_a = keep, for_b = keep;
  for_a.insert(b.labels.begin(), b.labels.end());
  for_b.insert(a.labels.begin(), a.labels.end());
  SumOut(a, for_a);
  SumOut(b, for_b);
  std::vector<int> batch, inner, rows, columns;
  for (const int label : a.labels) {
    (!b.Has(label) ? rows : keep.count(label) > 0 ? batch : inner).push_back(label);
  }
  for (const int label : b.labels) {
    if (!a.Has(label)) columns.push_back(label);
  }
  const auto join = [](std::vector<int> v, const std::vector<int>& w, const std::vector<int>& z) {
    v.insert(v.end(), w.begin(), w.end());
    v.insert(v.end(), z.begin(), z.end());
    return v;
  };
  Permute(a, join(batch, rows, inner));
  Permute(b, join(batch, inner, columns));
  Operand y;
  y.labels = join(batch, rows, columns);
  if (inner.empty() && rows.empty() && columns.empty()) {
    y.value = a.value * b.value;
    return y;
  }
  y.value = MatMul(AsMatrix(a, batch, rows, inner), AsMatrix(b, batch, inner, columns));
  if (rows.size() == 1 && columns.size() == 1) return y;
  std::vector<Expr> sizes;
  if (!batch.empty()) {
    sizes.push_back(Slice(ShapeOf(y.value), {0}, {static_cast<int64_t>(batch.size())}, {0}));
  }
  if (!rows.empty()) sizes.push_back(SizesOf(a, rows, false));
  if (!columns.empty()) sizes.push_back(SizesOf(b, columns, false));
  y.value = Reshape(y.value, sizes.empty() ? y.value.builder()->Ints({}) : ConcatAll(sizes, 0));
  return y;
}

bool Repeats(const std::vector<int>& labels) {
  return std::set<int>(labels.begin(), labels.end()).size() != labels.size();
}

// x without its repeated labels: multiplied by an identity matrix and summed.
Operand Diagonal(Operand x) {
  while (Repeats(x.labels)) {
    size_t first = 0, second = 0;
    for (size_t i = 0; i < x.labels.size(); ++i) {
      for (size_t j = i + 1; j < x.labels.size(); ++j) {
        if (x.labels[i] == x.labels[j]) first = i, second = j;
      }
    }
    Builder& b = *x.value.builder();
    std::vector<int64_t> others;
    for (size_t a = 0; a < x.labels.size(); ++a) {
      if (a != second) others.push_back(static_cast<int64_t>(a));
    }
    Expr size = Squeeze(DimOf(x.value, static_cast<int>(second)), {0});
    Expr range = b.Op("Range", {b.Scalar(DType::kInt64, 0), size, b.Scalar(DType::kInt64, 1)});
    const auto along = [&](size_t axis) {
      std::vector<int64_t> shape(x.labels.size(), 1);
      shape[axis] = -1;
      return Reshape(range, shape);
    };
    Expr same = Cast(Equal(along(first), along(second)), x.value.dtype());
    x.value = ReduceSum(x.value * same, {static_cast<int64_t>(second)}, false);
    x.labels.erase(x.labels.begin() + static_cast<std::ptrdiff_t>(second));
  }
  return x;
}

void EinsumBody(BodyContext& b) {
  if (!RanksKnown(b)) return b.Refuse(b.Error("the rank of an input is unknown"));
  auto equation = Parse(b);
  if (!equation.ok()) return b.Refuse(equation.status());
  Operand y;
  for (size_t i = 0; i < equation->terms.size(); ++i) {
    Operand x = Diagonal({b.x(static_cast<int>(i)), equation->terms[i]});
    std::set<int> keep(equation->output.begin(), equation->output.end());
    for (size_t k = i + 1; k < equation->terms.size(); ++k)
      keep.insert(equation->terms[k].begin(), equation->terms[k].end());
    if (i == 0) {
      SumOut(x, keep);
      y = x;
    } else {
      y = Contract(y, x, keep);
    }
  }
  SumOut(y, std::set<int>(equation->output.begin(), equation->output.end()));
  Permute(y, equation->output);
  b.Return(y.value.value() == b.x(0).value() ? Identity(y.value) : y.value);
}

// dx[i] = the same equation with the output's gradient in place of input i and x[i]'s labels as
// output; labels that only x[i] has are broadcast.
void EinsumGradient(GradContext& g) {
  if (!RanksKnown(g)) return;
  auto parsed = Parse(g);
  if (!parsed.ok()) return;
  const Equation& equation = *parsed;
  std::map<int, char> letters;
  const auto letter = [&](int label) {
    const auto it = letters.find(label);
    if (it != letters.end()) return it->second;
    const size_t n = letters.size();
    const char c =
        static_cast<char>(n < 26 ? 'a' + static_cast<int>(n) : 'A' + static_cast<int>(n) - 26);
    letters.emplace(label, c);
    return c;
  };
  const auto text = [&](const std::vector<int>& labels) {
    std::string s;
    for (const int label : labels) s.push_back(letter(label));
    return s;
  };
  for (int i = 0; i < g.num_inputs(); ++i) {
    if (!g.needs(i)) continue;
    const std::vector<int>& own = equation.terms[static_cast<size_t>(i)];
    std::vector<Expr> operands = {g.dy()};
    std::string left = text(equation.output);
    std::set<int> there(equation.output.begin(), equation.output.end());
    for (int k = 0; k < g.num_inputs(); ++k) {
      if (k == i) continue;
      const std::vector<int>& term = equation.terms[static_cast<size_t>(k)];
      operands.push_back(g.x(k));
      absl::StrAppend(&left, ",", text(term));
      there.insert(term.begin(), term.end());
    }
    std::vector<int> result;
    std::vector<int64_t> missing;
    std::vector<std::pair<int64_t, int64_t>> diagonals;
    for (size_t a = 0; a < own.size(); ++a) {
      const auto first = std::find(own.begin(), own.end(), own[a]) - own.begin();
      const bool repeated = first < static_cast<std::ptrdiff_t>(a);
      if (repeated) diagonals.emplace_back(first, static_cast<int64_t>(a));
      if (repeated || there.count(own[a]) == 0) {
        missing.push_back(static_cast<int64_t>(a));
      } else {
        result.push_back(own[a]);
      }
    }
    Builder& e = g.builder();
    Expr dx = e.Op("Einsum", operands, {{"equation", left + "->" + text(result)}});
    if (!missing.empty()) {
      dx = Expand(Unsqueeze(dx, missing), ShapeOf(g.x(i)));
    }
    for (const auto& [first, second] : diagonals) {
      Expr size = Squeeze(DimOf(g.x(i), static_cast<int>(first)), {0});
      Expr range = e.Op("Range", {e.Scalar(DType::kInt64, 0), size, e.Scalar(DType::kInt64, 1)});
      std::vector<int64_t> rows(own.size(), 1), columns(own.size(), 1);
      rows[static_cast<size_t>(first)] = columns[static_cast<size_t>(second)] = -1;
      dx = dx * Cast(Equal(Reshape(range, rows), Reshape(range, columns)), dx.dtype());
    }
    g.dx(i, dx);
  }
}

// Einsum nodes of one or two operands become matrix products.
absl::StatusOr<bool> LowerEinsum(Graph& graph, const OpRegistry& registry) {
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    if (node->op_type() != "Einsum" || !node->domain().empty() || !IsFloat(node->input(0)->dtype()))
      continue;
    bool known = true;
    for (const Value* v : node->inputs()) known &= v->shape().has_rank();
    if (known) nodes.push_back(node.get());
  }
  for (Node* node : nodes) GR_RETURN_IF_ERROR(InlineBody(graph, node, registry));
  return !nodes.empty();
}

}  // namespace

void RegisterEinsumOps(OpRegistry& ops) {
  const auto of = [](const char* equation) { return Sample().Attr("equation", equation); };
  ops.Add(OpDef("Einsum", 12)
              .Input("Inputs", "T", Arity::kVariadic)
              .Output("Output", "T")
              .Types("T", kNumeric)
              .RequiredAttr("equation", Attr::Kind::kString)
              .Infer(InferEinsum)
              .Kernel("native", EinsumKernel)
              .Body(EinsumBody)
              // See EinsumGradient; reads the other inputs
              .Gradient(EinsumGradient)
              .Try(of("ij,jk->ik").In({2, 3}).In({3, 4}))
              .Try(of("bij, bjk -> bik").In({2, 3, 4}).In({2, 4, 5}))
              .Try(of("bhqd,bkhd->bqhk").In({2, 3, 4, 5}).In({2, 2, 3, 5}))
              .Try(of("ij").In({2, 3}))
              .Try(of("ji").In({2, 3}))
              .Try(of("ij->").In({2, 3}))
              .Try(of("i,i").In({4}).In({4}))
              .Try(of("i,j->ij").In({2}).In({3}))
              .Try(of("...ii->...i").In({2, 3, 3}))
              .Try(of("...ij,...jk->...ik").In({2, 1, 3, 4}).In({5, 4, 2}))
              .Try(of("ab,bc,cd->ad").In({2, 3}).In({3, 2}).In({2, 4}))
              .Try(of("abk,k,abj->jb").In({2, 3, 4}).In({4}).In({2, 3, 2}))
              .Try(of("ij,kl->il").In({2, 3}).In({2, 4}))
              .Try(of("ij,jk->ik").In({0, 3}).In({3, 4}))
              .Try(of("ij,jk->ik").In({2, 3}).In({4, 4}).Refused("elsewhere"))
              .Try(of("ij,jk->iz").In({2, 3}).In({3, 4}).Refused("is in no term"))
              .Try(of("ij->i").In({2, 3, 4}).Refused("labels but the input has")));
  ops.AddRewrite({"einsum", Rewrite::Phase::kCanonical, LowerEinsum});
}

}  // namespace graphrun
