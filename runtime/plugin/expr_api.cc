#include "runtime/plugin/call.h"
#include "runtime/plugin/formula.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/memory.h"

namespace graphrun {
namespace {

template <Expr (*kEmit)(Expr)>
gr_expr Unary(gr_builder* b, gr_expr x) {
  Expr e;
  return b->Need(x, "an expression", &e) ? b->Give(kEmit(e)) : 0;
}

template <Expr (*kEmit)(Expr, Expr)>
gr_expr Binary(gr_builder* b, gr_expr x, gr_expr y) {
  Expr e, f;
  return b->Need(x, "an expression", &e) && b->Need(y, "an expression", &f) ? b->Give(kEmit(e, f))
                                                                            : 0;
}

// f(e) on the value of x.
template <typename F>
gr_expr With(gr_builder* b, gr_expr x, const char* where, F f) {
  Expr e;
  return b->Need(x, where, &e) ? b->Give(f(e)) : 0;
}

// f(e, list) where the list of numbers can be read.
template <typename F>
gr_expr WithList(gr_builder* b, gr_expr x, const int64_t* list, size_t count, const char* where,
                 F f) {
  Expr e;
  if (!b->Need(x, where, &e)) return 0;
  auto numbers = TableReader::Plain(list, count, where);
  if (!numbers.ok()) return b->Fail(numbers.status());
  return b->Give(f(e, *std::move(numbers)));
}

template <Expr (*kEmit)(Expr, std::vector<int64_t>, bool)>
gr_expr Reduce(gr_builder* b, gr_expr x, const int64_t* axes, size_t count, int32_t keepdims) {
  return WithList(b, x, axes, count, "a reduction", [&](Expr e, std::vector<int64_t> list) {
    return kEmit(e, std::move(list), keepdims != 0);
  });
}

template <Expr (*kEmit)(Expr, std::vector<int64_t>)>
gr_expr Axes(gr_builder* b, gr_expr x, const int64_t* axes, size_t count) {
  return WithList(b, x, axes, count, "axes",
                  [](Expr e, std::vector<int64_t> list) { return kEmit(e, std::move(list)); });
}

Expr Plus(Expr a, Expr b) { return a + b; }
Expr Minus(Expr a, Expr b) { return a - b; }
Expr Times(Expr a, Expr b) { return a * b; }
Expr Over(Expr a, Expr b) { return a / b; }
Expr Negative(Expr a) { return -a; }
Expr IsLess(Expr a, Expr b) { return a < b; }
Expr IsLessEqual(Expr a, Expr b) { return a <= b; }
Expr IsGreater(Expr a, Expr b) { return a > b; }
Expr IsGreaterEqual(Expr a, Expr b) { return a >= b; }
Expr ReshapeDims(Expr e, std::vector<int64_t> dims) { return Reshape(e, std::move(dims)); }

absl::StatusOr<std::vector<Expr>> TakeList(gr_builder* b, const gr_expr* list, size_t count,
                                           absl::string_view where) {
  GR_ASSIGN_OR_RETURN(auto handles, TableReader::Plain(list, count, where));
  std::vector<Expr> values(count);
  for (size_t i = 0; i < count; ++i) {
    if (!b->Take(handles[i], where, &values[i])) return b->builder->status();
  }
  return values;
}

absl::StatusOr<std::vector<Expr>> EmitNode(gr_builder* b, const char* domain, const char* op_type,
                                           const gr_expr* inputs, size_t num_inputs,
                                           const gr_attr* attrs, size_t num_attrs,
                                           size_t num_outputs) {
  GR_ASSIGN_OR_RETURN(std::string type, TableReader::Text(op_type, 128, "op: op_type"));
  const std::string where = absl::StrCat("op(", type, ")");
  GR_ASSIGN_OR_RETURN(std::string space, TableReader::Text(domain, 128, where + ": domain"));
  if (space == "ai.onnx") space.clear();
  if (num_outputs == 0 || num_outputs > TableReader::kMost) {
    return PluginError(where, ": ", num_outputs, " outputs");
  }
  GR_ASSIGN_OR_RETURN(auto values, TakeList(b, inputs, num_inputs, where + ": inputs"));
  GR_ASSIGN_OR_RETURN(auto list, TableReader::List(attrs, num_attrs, GR_THROUGH(gr_attr, strings),
                                                   where + ": attrs"));
  AttrMap map;
  for (const gr_attr& a : list) {
    GR_ASSIGN_OR_RETURN(std::string name, TableReader::Name(a.name, "_", where + ": an attribute"));
    GR_ASSIGN_OR_RETURN(Attr value, CopyAttr(a, absl::StrCat(where, ": attribute ", name)));
    map.insert_or_assign(std::move(name), std::move(value));
  }
  std::vector<Expr> outputs = b->builder->Ops(type, std::move(values),
                                              static_cast<int>(num_outputs), std::move(map), space);
  GR_RETURN_IF_ERROR(b->builder->status());
  return outputs;
}

gr_expr Op(gr_builder* b, const char* domain, const char* op_type, const gr_expr* inputs,
           size_t num_inputs, const gr_attr* attrs, size_t num_attrs) {
  if (!b->ok()) return 0;
  auto outputs = EmitNode(b, domain, op_type, inputs, num_inputs, attrs, num_attrs, 1);
  return outputs.ok() ? b->Give((*outputs)[0]) : b->Fail(outputs.status());
}

gr_status* Ops(gr_builder* b, const char* domain, const char* op_type, const gr_expr* inputs,
               size_t num_inputs, const gr_attr* attrs, size_t num_attrs, gr_expr* outputs,
               size_t num_outputs) {
  if (outputs == nullptr) return GiveStatus(PluginError("ops: outputs is null"));
  for (size_t i = 0; i < num_outputs; ++i) outputs[i] = 0;
  if (!b->ok()) return GiveStatus(b->builder->status());
  auto values = EmitNode(b, domain, op_type, inputs, num_inputs, attrs, num_attrs, num_outputs);
  if (!values.ok()) {
    b->Fail(values.status());
    return GiveStatus(values.status());
  }
  for (size_t i = 0; i < num_outputs; ++i) outputs[i] = b->Give((*values)[i]);
  return nullptr;
}

gr_expr Formula(gr_builder* b, const char* text, const char* const* names, const gr_expr* values,
                size_t count) {
  if (!b->ok()) return 0;
  auto formula = TableReader::Text(text, 65536, "formula");
  if (!formula.ok()) return b->Fail(formula.status());
  auto plain = TableReader::Plain(names, count, "formula: names");
  if (!plain.ok()) return b->Fail(plain.status());
  auto operands = TakeList(b, values, count, "formula: values");
  if (!operands.ok()) return b->Fail(operands.status());
  std::vector<std::string> words;
  for (const char* name : *plain) {
    auto word = TableReader::Name(name, "_", "formula: a name");
    if (!word.ok()) return b->Fail(word.status());
    words.push_back(*std::move(word));
  }
  return b->Give(EmitFormula(b->builder, *formula, words, *operands));
}

gr_expr Scalar(gr_builder* b, int32_t dtype, double value) {
  if (!b->ok()) return 0;
  if (!IsPluginDType(dtype)) {
    return b->Fail(PluginError("scalar: element type ", dtype, " is none that plugins may use"));
  }
  return b->Give(b->builder->Scalar(static_cast<DType>(dtype), value));
}

gr_expr TensorConstant(gr_builder* b, const gr_tensor* value) {
  if (!b->ok()) return 0;
  auto tensor = CopyTensor(value, "tensor");
  return tensor.ok() ? b->Give(b->builder->Constant(*std::move(tensor))) : b->Fail(tensor.status());
}

gr_dim DimOfExpr(gr_builder* b, gr_expr x, int32_t axis) {
  Expr e;
  if (!b->Need(x, "dim", &e)) return {-1, nullptr};
  if (!e.shape().has_rank() || axis < 0 || axis >= e.shape().rank()) return {-1, nullptr};
  const Dim& dim = e.shape()[axis];
  if (!dim.is_symbol()) return DimView(dim);
  b->symbols.push_back(dim.symbol());
  return {-1, b->symbols.back().c_str()};
}

}  // namespace

const gr_expr_api kExprApi = {
    .struct_size = sizeof(gr_expr_api),
    .op = Op,
    .ops = Ops,
    .formula = Formula,
    .number =
        [](gr_builder* b, double value, gr_expr like) {
          return With(b, like, "number",
                      [&](Expr e) { return b->builder->Scalar(e.dtype(), value); });
        },
    .scalar = Scalar,
    .ints = [](gr_builder* b, const int64_t* values, size_t count) -> gr_expr {
      if (!b->ok()) return 0;
      auto list = TableReader::Plain(values, count, "ints");
      return list.ok() ? b->Give(b->builder->Ints(*std::move(list))) : b->Fail(list.status());
    },
    .tensor = TensorConstant,
    .dtype = [](gr_builder* b, gr_expr x) -> int32_t {
      Expr e;
      return b->Need(x, "dtype", &e) ? static_cast<int32_t>(e.dtype()) : GR_UNDEFINED;
    },
    .rank = [](gr_builder* b, gr_expr x) -> int32_t {
      Expr e;
      return b->Need(x, "rank", &e) && e.shape().has_rank() ? e.shape().rank() : -1;
    },
    .dim = DimOfExpr,
    .fail =
        [](gr_builder* b, gr_status* error) {
          if (b->ok()) b->refused = true;
          const absl::Status status = TakeStatus(error, "", Blame::kModel);
          b->Fail(status.ok() ? PluginError("failed without an error") : status);
        },

    .add = Binary<Plus>,
    .sub = Binary<Minus>,
    .mul = Binary<Times>,
    .div = Binary<Over>,
    .pow = Binary<Pow>,
    .max = Binary<Max>,
    .min = Binary<Min>,
    .less = Binary<IsLess>,
    .less_equal = Binary<IsLessEqual>,
    .greater = Binary<IsGreater>,
    .greater_equal = Binary<IsGreaterEqual>,
    .equal = Binary<Equal>,
    .logical_and = Binary<And>,
    .logical_or = Binary<Or>,
    .neg = Unary<Negative>,
    .abs = Unary<Abs>,
    .sign = Unary<Sign>,
    .exp = Unary<Exp>,
    .log = Unary<Log>,
    .sqrt = Unary<Sqrt>,
    .square = Unary<Square>,
    .reciprocal = Unary<Reciprocal>,
    .sin = Unary<Sin>,
    .cos = Unary<Cos>,
    .tanh = Unary<Tanh>,
    .sigmoid = Unary<Sigmoid>,
    .erf = Unary<Erf>,
    .floor = Unary<Floor>,
    .relu = Unary<Relu>,
    .logical_not = Unary<Not>,
    .identity = Unary<Identity>,
    .where = [](gr_builder* b, gr_expr condition, gr_expr x, gr_expr y) -> gr_expr {
      Expr c, e, f;
      return b->Need(condition, "where", &c) && b->Need(x, "where", &e) && b->Need(y, "where", &f)
                 ? b->Give(Where(c, e, f))
                 : 0;
    },
    .cast = [](gr_builder* b, gr_expr x, int32_t dtype) -> gr_expr {
      if (!IsPluginDType(dtype)) return b->Fail(PluginError("cast: element type ", dtype));
      return With(b, x, "cast", [&](Expr e) { return Cast(e, static_cast<DType>(dtype)); });
    },
    .cast_like = Binary<CastLike>,

    .matmul = Binary<MatMul>,
    .transpose = Axes<Transpose>,
    .reshape = Axes<ReshapeDims>,
    .reshape_to = Binary<Reshape>,
    .shape_of = Unary<ShapeOf>,
    .dim_of =
        [](gr_builder* b, gr_expr x, int32_t axis) {
          return With(b, x, "dim_of", [&](Expr e) { return DimOf(e, axis); });
        },
    .expand = Binary<Expand>,
    .squeeze = Axes<Squeeze>,
    .unsqueeze = Axes<Unsqueeze>,
    .concat = [](gr_builder* b, const gr_expr* parts, size_t count, int64_t axis) -> gr_expr {
      if (!b->ok()) return 0;
      auto list = TakeList(b, parts, count, "concat");
      if (!list.ok()) return b->Fail(list.status());
      for (const Expr& e : *list) {
        if (!e.is_defined()) return b->Fail(PluginError("concat: a part is left out"));
      }
      if (list->empty()) return b->Fail(PluginError("concat: no parts"));
      return b->Give(ConcatAll(*std::move(list), axis));
    },
    .slice =
        [](gr_builder* b, gr_expr x, int64_t axis, int64_t begin, int64_t end) {
          return With(b, x, "slice", [&](Expr e) { return Slice(e, {begin}, {end}, {axis}); });
        },
    .gather = [](gr_builder* b, gr_expr data, gr_expr indices, int64_t axis) -> gr_expr {
      Expr e, f;
      return b->Need(data, "gather", &e) && b->Need(indices, "gather", &f)
                 ? b->Give(Gather(e, f, axis))
                 : 0;
    },
    .reduce_sum = Reduce<ReduceSum>,
    .reduce_mean = Reduce<ReduceMean>,
    .reduce_max = Reduce<ReduceMax>,
    .zeros_like = Unary<ZerosLike>,
    .full_like =
        [](gr_builder* b, gr_expr x, double value) {
          return With(b, x, "full_like", [&](Expr e) { return FullLike(e, value); });
        },
    .sum_to = Binary<SumTo>,
};

namespace {

gr_expr GradientValue(gr_gradient* g, Value* value) {
  return value == nullptr ? 0 : g->builder.Give(g->builder.builder->Use(value));
}

void SetDx(gr_gradient* g, int32_t i, gr_expr dx) {
  if (i < 0 || i >= g->context.num_inputs()) {
    g->builder.Fail(
        PluginError("set_dx(", i, "): the node has ", g->context.num_inputs(), " inputs"));
    return;
  }
  Expr e;
  if (!g->builder.Take(dx, "set_dx", &e) || !e.is_defined() || !g->context.has_input(i)) return;
  const DType want = g->context.node().input(i)->dtype();
  if (e.dtype() != want) {
    g->builder.Fail(PluginError("set_dx(", i, "): the gradient is of ", DTypeName(e.dtype()),
                                " but the input of ", DTypeName(want), ". Use cast_like"));
    return;
  }
  g->context.dx(i, e);
}

}  // namespace

const gr_gradient_api kGradientApi = {
    .struct_size = sizeof(gr_gradient_api),
    .builder = [](gr_gradient* g) { return &g->builder; },
    .x = [](gr_gradient* g, int32_t i) -> gr_expr {
      return i >= 0 && g->context.has_input(i) ? GradientValue(g, g->context.node().input(i)) : 0;
    },
    .y = [](gr_gradient* g, int32_t i) -> gr_expr {
      return i >= 0 && g->context.has_output(i) ? GradientValue(g, g->context.node().output(i)) : 0;
    },
    .dy = [](gr_gradient* g, int32_t i) -> gr_expr {
      return i >= 0 && g->context.has_output(i) && g->builder.ok()
                 ? g->builder.Give(g->context.dy(i))
                 : 0;
    },
    .has_dy = [](gr_gradient* g, int32_t i) -> int32_t { return i >= 0 && g->context.has_dy(i); },
    .needs = [](gr_gradient* g, int32_t i) -> int32_t { return i >= 0 && g->context.needs(i); },
    .set_dx = SetDx,
};

}  // namespace graphrun
