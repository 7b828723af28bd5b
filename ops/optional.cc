// Optional, OptionalHasElement, OptionalGetElement: values that may be missing.
//
// Source: https://onnx.ai/onnx/operators (Optional 15; OptionalHasElement and OptionalGetElement
// 15, 18). From 18 on a tensor or a sequence stands for an optional that has it.
#include "ops/move.h"
#include "ops/subgraph.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferOptional(InferContext& c) {
  if (c.has_input(0)) {
    c.set_output_type(0, Type::OptionalOf(c.input_type(0)));
    return absl::OkStatus();
  }
  const Attr* type = c.attr("type");
  if (type == nullptr || type->get<Type>() == nullptr) {
    return c.Error("an optional without a value needs attribute type");
  }
  c.set_output_type(0, Type::OptionalOf(*type->get<Type>()));
  return absl::OkStatus();
}

// The tensors' element type anywhere within a type.
DType InnerDtype(const Type& t) { return t.element ? InnerDtype(*t.element) : t.tensor.dtype; }

absl::StatusOr<std::unique_ptr<Kernel>> OptionalKernel(PrepareContext& c) {
  return MakeKernel([dtype = InnerDtype(c.output_type(0))](RunContext& r) -> absl::Status {
    if (!r.has_input(0)) {
      r.output_datum(0) = Datum::Optional();
    } else {
      Datum value = r.input_datum(0);
      if (value.is_tensor()) {
        GR_ASSIGN_OR_RETURN(Tensor own,
                            Tensor::Allocate(value.tensor.dtype(), value.tensor.dims()));
        CopyAll(value.tensor, own);
        value = Datum(std::move(own));
      }
      r.output_datum(0) = Datum::Optional(std::move(value));
    }
    r.output_datum(0).element = dtype;
    return absl::OkStatus();
  });
}

absl::Status InferHasElement(InferContext& c) {
  c.set_output(0, DType::kBool, Shape::Scalar());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> HasElementKernel(PrepareContext&) {
  return MakeKernel([](RunContext& r) {
    bool has = r.has_input(0);
    if (has && r.input_datum(0).kind == Type::Kind::kOptional)
      has = !r.input_datum(0).items.empty();
    *r.output(0).mutable_data<bool>() = has;
    return absl::OkStatus();
  });
}

absl::Status InferGetElement(InferContext& c) {
  const Type& t = c.input_type(0);
  c.set_output_type(0, t.kind == Type::Kind::kOptional && t.element ? *t.element : t);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> GetElementKernel(PrepareContext&) {
  return MakeKernel([](RunContext& r) -> absl::Status {
    const Datum& d = r.input_datum(0);
    if (d.kind != Type::Kind::kOptional) return SetOutput(r, 0, d);
    if (d.items.empty()) return ModelError("the optional has no element");
    return SetOutput(r, 0, d.items[0]);
  });
}

}  // namespace

void RegisterOptionalOps(OpRegistry& ops) {
  const Tensor two = Tensor::Int64s({1, 2});
  ops.Add(OpDef("Optional", 15)
              .Input("input", "any", Arity::kOptional)
              .Output("output", "any")
              .Attr("type", Attr::Kind::kType)
              .Infer(InferOptional)
              .Kernel("native", OptionalKernel)
              .NotDifferentiable("gradients do not flow through optionals")
              .Try(Sample().In({2}))
              .Try(Sample().Attr("type", Type::Tensor(DType::kFloat32, Shape())))
              .Try(Sample().Refused("needs attribute type")));
  ops.Add(
      OpDef("OptionalHasElement", 15)
          .Versions({15, 18})
          .Input("input", "any", Arity::kOptional)
          .Output("output", "bool")
          .Infer(InferHasElement)
          .Kernel("native", HasElementKernel)
          .NotDifferentiable("bool result")
          .Try(Sample().Container(Datum::Optional(Datum(two))).Gives(Tensor::Scalar<bool>(true)))
          .Try(Sample().Container(Datum::Optional()).Gives(Tensor::Scalar<bool>(false)))
          .Try(Sample().Gives(Tensor::Scalar<bool>(false)))
          .Try(Sample().In({2}).Gives(Tensor::Scalar<bool>(true))));
  ops.Add(OpDef("OptionalGetElement", 15)
              .Versions({15, 18})
              .Input("input", "any")
              .Output("output", "any")
              .Infer(InferGetElement)
              .Kernel("native", GetElementKernel)
              // dx = dy where the value was no optional
              .Gradient([](GradContext& g) { g.dx(0, g.dy()); })
              .Try(Sample().Container(Datum::Optional(Datum(two))).Gives(two))
              .Try(Sample().Container(Datum::Optional()).Refused("no element"))
              .Try(Sample().In({2}).NoGradient("an output of type any is not in f64")));
}

}  // namespace graphrun
