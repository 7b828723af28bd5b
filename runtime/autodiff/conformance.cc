#include "runtime/autodiff/conformance.h"

#include <cmath>

#include "absl/strings/match.h"
#include "runtime/autodiff/gradients.h"
#include "runtime/base/rng.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

constexpr DType kKernelTypes[] = {DType::kFloat32, DType::kFloat64, DType::kBFloat16,
                                  DType::kFloat16};

// A graph with one node for the sample; floats in `dtype`.
struct OneNode {
  Graph graph;
  Node* node = nullptr;
  std::vector<Tensor> tensors;
  std::vector<Value*> variables;  // float graph inputs
  absl::flat_hash_map<std::string, Datum> values;
  std::vector<Datum> arguments;
};

std::unique_ptr<OneNode> Build(const OpDef& def, const Sample& sample, DType dtype) {
  auto one = std::make_unique<OneNode>();
  one->tensors = sample.Materialize(dtype);
  Graph::NodeSpec spec;
  spec.op_type = def.name();
  spec.domain = def.domain();
  spec.opset = def.since();
  spec.attrs = sample.attrs();
  for (size_t i = 0; i < one->tensors.size(); ++i) {
    const Tensor& t = one->tensors[i];
    Value* v = nullptr;
    if (sample.inputs()[i].fill == Sample::Fill::kDatum) {
      const Datum& datum = sample.inputs()[i].datum;
      v = one->graph.AddInput(absl::StrCat("x", i), datum.type());
      one->values[v->name()] = datum;
      spec.inputs.push_back(v);
      one->arguments.push_back(datum);
      continue;
    }
    if (t.is_defined()) {
      if (sample.inputs()[i].constant) {
        v = one->graph.AddInitializer(absl::StrCat("x", i), t);
      } else {
        v = one->graph.AddInput(absl::StrCat("x", i), Type::Tensor(t.dtype(), Shape::Of(t.dims())));
        one->values[v->name()] = Datum(t);
        if (t.dtype() == dtype) one->variables.push_back(v);
      }
    }
    spec.inputs.push_back(v);
    one->arguments.push_back(t.is_defined() ? Datum(t) : Datum());
  }
  spec.outputs.assign(static_cast<size_t>(sample.num_outputs()), "y");
  one->node = one->graph.AddNode(std::move(spec));
  for (Value* out : one->node->outputs()) one->graph.AddOutput(out);
  return one;
}

std::string Where(const OpDef& def, const Sample& sample) {
  std::string text = absl::StrCat(def.Describe(), " on");
  for (const auto& in : sample.inputs()) {
    absl::StrAppend(&text, " ", in.fill == Sample::Fill::kOmitted ? "-" : DimsToString(in.dims));
  }
  for (const auto& [name, value] : sample.attrs())
    absl::StrAppend(&text, " ", name, "=", value.ToString());
  return text;
}

absl::Status Fail(const OpDef& def, const Sample& sample, absl::string_view what) {
  return InternalError(Where(def, sample), ": ", what);
}

bool Close(double got, double want, double tolerance, double scale) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  return std::fabs(got - want) <= tolerance * (std::fabs(want) + scale);
}

// |got - want| within `tolerance` of |want| + the largest magnitude in the tensor; others bit for
// bit.
absl::Status Compare(const Tensor& got, const Tensor& want, double tolerance) {
  if (got.dims() != want.dims()) {
    return InternalError("sizes are ", DimsToString(got.dims()), " but should be ",
                         DimsToString(want.dims()));
  }
  if (!IsFloat(want.dtype())) {
    return SameBits(got, want)
               ? absl::OkStatus()
               : InternalError("gives ", got.ToString(), " but should give ", want.ToString());
  }
  double scale = 0;
  for (int64_t i = 0; i < want.num_elements(); ++i) {
    if (std::isfinite(want.AsDouble(i))) scale = std::max(scale, std::fabs(want.AsDouble(i)));
  }
  for (int64_t i = 0; i < want.num_elements(); ++i) {
    if (!Close(got.AsDouble(i), want.AsDouble(i), tolerance, scale)) {
      return InternalError("element ", i, " is ", got.AsDouble(i), " but should be ",
                           want.AsDouble(i), "; got ", got.ToString(), ", should be ",
                           want.ToString());
    }
  }
  return absl::OkStatus();
}

double ToleranceOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return 1e-12;
    case DType::kFloat32:
      return 1e-5;
    case DType::kFloat16:
      return 4e-3;
    default:
      return 3e-2;
  }
}

bool Takes(const OpDef& def, DType dtype) {
  for (const auto& [variable, types] : def.types()) {
    for (const auto& in : def.inputs()) {
      if (in.type == variable && types.Contains(DType::kFloat32) && !types.Contains(dtype))
        return false;
    }
  }
  return true;
}

}  // namespace

absl::Status CheckSchema(const OpDef& def, const OpRegistry& registry) {
  const auto fail = [&](absl::string_view what) {
    return InternalError(def.Describe(), ": ", what);
  };
  if (def.outputs().empty()) return fail("declares no output");
  if (!def.infer()) return fail("has no inference function");
  if (def.kernels().empty() && !def.body()) return fail("has neither a kernel nor a body");
  const bool newest = registry.Find(def.domain(), def.name(), 0) == &def;
  if (!def.gradient() && def.not_differentiable().empty() && !def.body()) {
    return fail("has no gradient and does not say why");
  }
  if (newest && def.samples().empty()) return fail("has no samples");
  const auto known_type = [&](const std::string& type) {
    if (type == "any" || DTypeFromName(type) != DType::kUndefined) return true;
    for (const auto& [variable, types] : def.types()) {
      if (variable == type) return true;
    }
    return false;
  };
  for (const auto& in : def.inputs()) {
    if (!known_type(in.type))
      return fail(absl::StrCat("input ", in.name, " has the unknown type ", in.type));
  }
  for (const auto& out : def.outputs()) {
    if (!known_type(out.type))
      return fail(absl::StrCat("output ", out.name, " has the unknown type ", out.type));
  }
  return absl::OkStatus();
}

absl::Status CheckInference(const OpDef& def, const Sample& sample, const OpRegistry& registry) {
  auto one = Build(def, sample, DType::kFloat32);
  absl::Status inferred = InferTypes(one->graph, registry);
  if (!sample.refused().empty()) {
    if (inferred.ok()) {
      const auto ran = EvaluateNode(*one->node, registry, one->arguments);
      inferred = ran.status();
    }
    if (inferred.ok()) return Fail(def, sample, "must be refused but is not");
    if (!absl::StrContains(inferred.message(), sample.refused())) {
      return Fail(def, sample, absl::StrCat("is refused with: ", inferred.message()));
    }
    return absl::OkStatus();
  }
  if (!inferred.ok()) return Fail(def, sample, inferred.message());
  std::vector<Type> concrete;
  for (const Value* out : one->node->outputs()) concrete.push_back(out->type());
  auto results = EvaluateNode(*one->node, registry, one->arguments);
  if (!results.ok()) return Fail(def, sample, results.status().message());
  for (size_t o = 0; o < results->size(); ++o) {
    const Datum& result = (*results)[o];
    if (!result.is_tensor()) continue;
    const TensorType made = result.tensor.type();
    if (concrete[o].tensor.dtype != made.dtype) {
      return Fail(def, sample,
                  absl::StrCat("output ", o, " is inferred as ", concrete[o].ToString(),
                               " but made as ", made.ToString()));
    }
    const Shape& s = concrete[o].tensor.shape;
    if (s.is_concrete() && !(s == made.shape)) {
      return Fail(def, sample,
                  absl::StrCat("output ", o, " is inferred as ", s.ToString(), " but made as ",
                               made.shape.ToString()));
    }
  }
  // The same with every size of the variable inputs a symbol: what is inferred must agree once
  // symbols are numbers.
  auto symbolic = Build(def, sample, DType::kFloat32);
  std::map<std::string, int64_t> sizes;
  for (Value* v : symbolic->graph.inputs()) {
    if (!v->type().is_tensor()) continue;
    Shape shape = v->shape();
    for (int a = 0; a < shape.rank(); ++a) {
      const int64_t size = shape[a].value();
      if (size == 1) continue;  // a symbol does not broadcast
      const std::string name = absl::StrCat("s", size);
      sizes[name] = size;
      shape[a] = Dim::Symbol(name);
    }
    v->set_type(Type::Tensor(v->dtype(), shape));
  }
  const absl::Status symbols = InferTypes(symbolic->graph, registry);
  if (!symbols.ok())
    return Fail(def, sample, absl::StrCat("with symbolic sizes: ", symbols.message()));
  for (size_t o = 0; o < results->size(); ++o) {
    if (!(*results)[o].is_tensor()) continue;
    const Shape& s = symbolic->node->outputs()[o]->shape();
    if (!s.has_rank()) continue;
    const Dims& made = (*results)[o].tensor.dims();
    bool agrees = s.rank() == static_cast<int>(made.size());
    for (int a = 0; agrees && a < s.rank(); ++a) {
      const int64_t size = made[static_cast<size_t>(a)];
      if (s[a].is_number()) agrees = s[a].value() == size;
      if (s[a].is_symbol() && sizes.count(s[a].symbol()) > 0) agrees = sizes[s[a].symbol()] == size;
    }
    if (!agrees) {
      return Fail(def, sample,
                  absl::StrCat("with symbolic sizes output ", o, " is inferred as ", s.ToString(),
                               " but made as ", DimsToString(made)));
    }
  }
  return absl::OkStatus();
}

std::set<std::string> KernelsReached(const OpDef& def, const Sample& sample,
                                     const OpRegistry& registry) {
  std::set<std::string> reached;
  if (!sample.refused().empty() || def.kernels().empty()) return reached;
  if (!sample.no_compare().empty()) return {def.kernels().back().name};
  for (const DType dtype : kKernelTypes) {
    if (!Takes(def, dtype)) continue;
    for (const OpDef::NamedKernel& kernel : def.kernels()) {
      auto one = Build(def, sample, dtype);
      if (!InferTypes(one->graph, registry).ok()) continue;
      EvaluateOptions options;
      options.kernel = kernel.name;
      if (EvaluateNode(*one->node, registry, one->arguments, options).ok())
        reached.insert(kernel.name);
    }
  }
  return reached;
}

absl::Status CheckKernels(const OpDef& def, const Sample& sample, const OpRegistry& registry) {
  if (!sample.refused().empty()) return absl::OkStatus();
  // The oracle: the last kernel (native) in f64, on operands that are exact in the type under test.
  const DType oracle_type = Takes(def, DType::kFloat64) ? DType::kFloat64 : DType::kFloat32;
  for (const DType dtype : kKernelTypes) {
    if (!Takes(def, dtype)) continue;
    auto oracle = Build(def, sample, dtype);
    if (dtype != oracle_type) {
      // Samples have short mantissas, but not short enough for bfloat16: the oracle sees what the
      // kernel sees.
      auto wide = Build(def, sample, oracle_type);
      for (size_t i = 0; i < wide->tensors.size(); ++i) {
        const Tensor& narrow = oracle->tensors[i];
        if (!narrow.is_defined() || narrow.dtype() != dtype) continue;
        DispatchDType(FloatTypes(), oracle_type, [&]<typename T>() {
          for (int64_t e = 0; e < narrow.num_elements(); ++e)
            wide->tensors[i].mutable_data<T>()[e] = T(narrow.AsDouble(e));
        });
      }
      oracle = std::move(wide);
    }
    GR_RETURN_IF_ERROR(InferTypes(oracle->graph, registry));
    auto want = EvaluateNode(*oracle->node, registry, oracle->arguments);
    if (!want.ok()) return Fail(def, sample, absl::StrCat("oracle: ", want.status().message()));
    for (size_t o = 0; o < sample.expected().size(); ++o) {
      const absl::Status same = Compare((*want)[o].tensor, sample.expected()[o], 1e-5);
      if (!same.ok()) return Fail(def, sample, absl::StrCat("output ", o, ": ", same.message()));
    }
    if (!sample.no_compare().empty()) return absl::OkStatus();
    for (const OpDef::NamedKernel& kernel : def.kernels()) {
      auto one = Build(def, sample, dtype);
      GR_RETURN_IF_ERROR(InferTypes(one->graph, registry));
      EvaluateOptions options;
      options.kernel = kernel.name;
      auto got = EvaluateNode(*one->node, registry, one->arguments, options);
      if (!got.ok()) {
        if (absl::StrContains(got.status().message(), "takes these element types")) continue;
        return Fail(
            def, sample,
            absl::StrCat(kernel.name, ", ", DTypeName(dtype), ": ", got.status().message()));
      }
      for (size_t o = 0; o < got->size(); ++o) {
        if (!(*got)[o].is_tensor()) continue;
        const absl::Status same = Compare((*got)[o].tensor, (*want)[o].tensor, ToleranceOf(dtype));
        if (!same.ok()) {
          return Fail(def, sample,
                      absl::StrCat(kernel.name, ", ", DTypeName(dtype), ", output ", o, ": ",
                                   same.message()));
        }
      }
      options.in_place = true;
      auto in_place = EvaluateNode(*one->node, registry, one->arguments, options);
      if (!in_place.ok())
        return Fail(def, sample, absl::StrCat("in place: ", in_place.status().message()));
      for (size_t o = 0; o < got->size(); ++o) {
        if ((*got)[o].is_tensor() && !SameBits((*in_place)[o].tensor, (*got)[o].tensor)) {
          return Fail(def, sample,
                      absl::StrCat(kernel.name, ", ", DTypeName(dtype),
                                   ": in place gives other bits than out of place"));
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBody(const OpDef& def, const Sample& sample, const OpRegistry& registry) {
  if (!def.body() || def.kernels().empty() || !sample.refused().empty() ||
      !sample.no_compare().empty()) {
    return absl::OkStatus();
  }
  const DType dtype = Takes(def, DType::kFloat64) ? DType::kFloat64 : DType::kFloat32;
  auto one = Build(def, sample, dtype);
  GR_RETURN_IF_ERROR(InferTypes(one->graph, registry));
  auto want = EvaluateNode(*one->node, registry, one->arguments);
  if (!want.ok()) return Fail(def, sample, want.status().message());
  EvaluateOptions options;
  options.use_body = true;
  auto got = EvaluateNode(*one->node, registry, one->arguments, options);
  if (!got.ok()) return Fail(def, sample, absl::StrCat("body: ", got.status().message()));
  for (size_t o = 0; o < want->size(); ++o) {
    if (!(*want)[o].is_tensor()) continue;
    const absl::Status same =
        Compare((*got)[o].tensor, (*want)[o].tensor, dtype == DType::kFloat64 ? 1e-9 : 1e-5);
    if (!same.ok())
      return Fail(def, sample, absl::StrCat("body, output ", o, ": ", same.message()));
  }
  return absl::OkStatus();
}

absl::Status CheckGradient(const OpDef& def, const Sample& sample, const OpRegistry& registry) {
  if (!sample.refused().empty() || !sample.no_gradient().empty() ||
      !def.not_differentiable().empty()) {
    return absl::OkStatus();
  }
  if (!Takes(def, DType::kFloat64)) return absl::OkStatus();
  auto one = Build(def, sample, DType::kFloat64);
  std::vector<Value*> targets;
  for (Value* v : one->variables) {
    for (const Use& use : v->uses()) {
      if (def.gradient_flows_to(use.index)) targets.push_back(v);
    }
  }
  if (targets.empty()) return absl::OkStatus();
  GR_RETURN_IF_ERROR(InferTypes(one->graph, registry));
  // L = sum over float outputs of <y, random projection>.
  auto outputs = EvaluateNode(*one->node, registry, one->arguments);
  if (!outputs.ok()) return Fail(def, sample, outputs.status().message());
  Builder builder(&one->graph, &registry);
  Rng rng(0xD1FF);
  Expr loss;
  std::vector<Tensor> projections(outputs->size());
  for (size_t o = 0; o < outputs->size(); ++o) {
    const Datum& y = (*outputs)[o];
    if (!y.is_tensor() || y.tensor.dtype() != DType::kFloat64 || y.tensor.num_elements() == 0)
      continue;
    Tensor p(DType::kFloat64, y.tensor.dims());
    for (int64_t i = 0; i < p.num_elements(); ++i) p.mutable_data<double>()[i] = rng.Normal();
    projections[o] = p;
    Expr part = ReduceSum(builder.Use(one->node->output(static_cast<int>(o))) * builder.Constant(p),
                          {}, false);
    loss = loss.is_defined() ? loss + part : part;
  }
  if (!loss.is_defined()) return absl::OkStatus();
  if (!builder.status().ok()) return Fail(def, sample, builder.status().message());
  auto gradients = AppendGradients(one->graph, registry, loss.value(), targets);
  if (!gradients.ok()) return Fail(def, sample, gradients.status().message());
  while (!one->graph.outputs().empty()) one->graph.RemoveOutput(0);
  std::vector<size_t> places;
  for (size_t t = 0; t < targets.size(); ++t) {
    if ((*gradients)[t] == nullptr) continue;
    one->graph.AddOutput((*gradients)[t]);
    places.push_back(t);
  }
  auto analytic = EvaluateGraph(one->graph, registry, one->values);
  if (!analytic.ok())
    return Fail(def, sample, absl::StrCat("gradient: ", analytic.status().message()));
  // L at x + h d for a random direction d of one input at a time.
  auto plain = Build(def, sample, DType::kFloat64);
  GR_RETURN_IF_ERROR(InferTypes(plain->graph, registry));
  for (size_t t = 0; t < targets.size(); ++t) {
    const Value* target = targets[t];
    size_t index = 0;
    while (plain->node->inputs()[index] == nullptr ||
           plain->node->inputs()[index]->name() != target->name())
      ++index;
    const Tensor x = plain->tensors[index];
    Tensor direction(DType::kFloat64, x.dims());
    for (int64_t i = 0; i < x.num_elements(); ++i)
      direction.mutable_data<double>()[i] = rng.Normal();
    const auto loss_at = [&](double h) -> absl::StatusOr<double> {
      Tensor moved = x.Clone();
      for (int64_t i = 0; i < x.num_elements(); ++i)
        moved.mutable_data<double>()[i] += h * direction.data<double>()[i];
      std::vector<Datum> arguments = plain->arguments;
      arguments[index] = Datum(moved);
      GR_ASSIGN_OR_RETURN(std::vector<Datum> ys, EvaluateNode(*plain->node, registry, arguments));
      double sum = 0;
      for (size_t o = 0; o < ys.size(); ++o) {
        if (!projections[o].is_defined()) continue;
        for (int64_t i = 0; i < projections[o].num_elements(); ++i) {
          sum += ys[o].tensor.data<double>()[i] * projections[o].data<double>()[i];
        }
      }
      return sum;
    };
    double numeric = 0;
    {
      // Fourth-order central difference: error h^4, so that 1e-6 relative is reached well above
      // rounding.
      constexpr double h = 1e-4;
      GR_ASSIGN_OR_RETURN(const double p1, loss_at(h));
      GR_ASSIGN_OR_RETURN(const double m1, loss_at(-h));
      GR_ASSIGN_OR_RETURN(const double p2, loss_at(2 * h));
      GR_ASSIGN_OR_RETURN(const double m2, loss_at(-2 * h));
      numeric = (8 * (p1 - m1) - (p2 - m2)) / (12 * h);
    }
    double exact = 0, magnitude = 1e-3;
    for (size_t p = 0; p < places.size(); ++p) {
      if (places[p] != t) continue;
      const Tensor& dx = (*analytic)[p].tensor;
      if (dx.dims() != x.dims()) {
        return Fail(
            def, sample,
            absl::StrCat("the gradient of input ", index, " has sizes ", DimsToString(dx.dims())));
      }
      for (int64_t i = 0; i < dx.num_elements(); ++i) {
        exact += dx.data<double>()[i] * direction.data<double>()[i];
        magnitude += std::fabs(dx.data<double>()[i] * direction.data<double>()[i]);
      }
    }
    if (!(std::fabs(exact - numeric) <= 1e-6 * (magnitude + std::fabs(numeric)))) {
      return Fail(def, sample,
                  absl::StrCat("the gradient of input ", index, " along a random direction is ",
                               exact, " but differences give ", numeric));
    }
  }
  return absl::OkStatus();
}

}  // namespace graphrun
