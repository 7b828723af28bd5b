#include "ops/subgraph.h"

#include "ops/move.h"
#include "ops/strided.h"

namespace graphrun {

absl::StatusOr<Type> CommonType(const Type& a, const Type& b) {
  if (!a.is_known()) return b;
  if (!b.is_known() || a == b) return a;
  if (a.kind != b.kind) {
    // A loop may start with an optional and go on with what it held.
    if (a.kind == Type::Kind::kOptional || b.kind == Type::Kind::kOptional) return Type();
    return ModelError("one value is ", a.ToString(), " and the other is ", b.ToString());
  }
  Type common = a;
  if (a.element && b.element) {
    GR_ASSIGN_OR_RETURN(Type element, CommonType(*a.element, *b.element));
    common.element = std::make_shared<Type>(std::move(element));
  }
  if (!a.is_tensor()) return common;
  if (a.tensor.dtype == DType::kUndefined) common.tensor.dtype = b.tensor.dtype;
  if (common.tensor.dtype != b.tensor.dtype && b.tensor.dtype != DType::kUndefined) {
    return ModelError("one value is ", a.ToString(), " and the other is ", b.ToString(),
                      ": element types must agree");
  }
  const Shape &s = a.tensor.shape, &t = b.tensor.shape;
  if (!s.has_rank() || !t.has_rank() || s.rank() != t.rank()) {
    common.tensor.shape = Shape();
    return common;
  }
  for (int i = 0; i < s.rank(); ++i) {
    if (!s[i].SurelyEquals(t[i])) common.tensor.shape[i] = Dim();
  }
  return common;
}

void AppendCaptures(const InferContext& c, std::vector<Type>* types,
                    std::vector<const Tensor*>* constants) {
  constants->resize(types->size());
  const auto& inputs = c.node().inputs();
  for (size_t i = static_cast<size_t>(c.num_inputs()); i < inputs.size(); ++i) {
    types->push_back(inputs[i] == nullptr ? Type() : inputs[i]->type());
    const bool constant = inputs[i] != nullptr && inputs[i]->is_constant();
    constants->push_back(constant ? &inputs[i]->initializer() : nullptr);
  }
}

void AppendCaptures(const RunContext& r, int own_inputs, std::vector<const Datum*>* inputs) {
  for (int i = own_inputs; i < r.num_inputs(); ++i)
    inputs->push_back(r.has_input(i) ? &r.input_datum(i) : nullptr);
}

absl::Status SetOutput(RunContext& r, int o, const Datum& value) {
  if (!r.has_output(o)) return absl::OkStatus();
  if (!value.is_tensor()) {
    r.output_datum(o) = value;
    return absl::OkStatus();
  }
  GR_RETURN_IF_ERROR(r.ResizeOutput(o, value.tensor.dtype(), value.tensor.dims()));
  CopyAll(value.tensor, r.output(o));
  return absl::OkStatus();
}

namespace {

// Slice `index` of `axis` as a part of a tensor of those sizes.
StridedView SliceView(const Dims& dims, size_t axis, int64_t index) {
  StridedView view{0, dims, RowMajorStrides(dims)};
  view.offset = index * view.strides[axis];
  view.dims.erase(view.dims.begin() + static_cast<std::ptrdiff_t>(axis));
  view.strides.erase(view.strides.begin() + static_cast<std::ptrdiff_t>(axis));
  return view;
}

}  // namespace

absl::StatusOr<Tensor> SliceAt(const Tensor& t, size_t axis, int64_t index) {
  const StridedView view = SliceView(t.dims(), axis, index);
  GR_ASSIGN_OR_RETURN(Tensor part, Tensor::Allocate(t.dtype(), view.dims));
  GatherView(t.dtype(), t.raw(), view, part.mutable_raw());
  return part;
}

void WriteSlice(const Tensor& part, Tensor& whole, size_t axis, int64_t index) {
  ScatterView(whole.dtype(), part.raw(), whole.mutable_raw(), SliceView(whole.dims(), axis, index));
}

absl::Status Stack::Add(const Datum& value) {
  if (!value.is_tensor()) return ModelError("a scan output must be a tensor");
  const Tensor& t = value.tensor;
  if (!parts_.empty() && (t.dtype() != parts_[0].dtype() || t.dims() != parts_[0].dims())) {
    return ModelError("a scan output is ", t.type().ToString(), " in iteration ", parts_.size(),
                      " but was ", parts_[0].type().ToString(), " before: it must not change");
  }
  parts_.push_back(t);
  return absl::OkStatus();
}

absl::StatusOr<Tensor> Stack::Join(int64_t axis, bool reverse, const Type& empty) const {
  Dims dims;
  DType dtype = empty.tensor.dtype;
  if (!parts_.empty()) {
    dims = parts_[0].dims();
    dtype = parts_[0].dtype();
  } else if (empty.tensor.shape.has_rank()) {
    for (int i = 0; i < empty.tensor.shape.rank(); ++i) {
      const Dim& d = empty.tensor.shape[i];
      dims.push_back(d.is_number() ? d.value() : 0);
    }
  }
  if (dtype == DType::kUndefined) {
    return ModelError("a scan output of no iterations has no known element type");
  }
  GR_ASSIGN_OR_RETURN(const int at, NormalizeAxis(axis, static_cast<int>(dims.size()) + 1));
  dims.insert(dims.begin() + at, static_cast<int64_t>(parts_.size()));
  GR_ASSIGN_OR_RETURN(Tensor whole, Tensor::Allocate(dtype, dims));
  const auto n = static_cast<int64_t>(parts_.size());
  for (int64_t i = 0; i < n; ++i)
    WriteSlice(parts_[static_cast<size_t>(reverse ? n - 1 - i : i)], whole, static_cast<size_t>(at),
               i);
  return whole;
}

}  // namespace graphrun
