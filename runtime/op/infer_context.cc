#include "runtime/op/infer_context.h"

namespace graphrun {

const Type& InferContext::input_type(int i) const {
  static const Type* const kUnknown = new Type();
  return has_input(i) ? node_.input(i)->type() : *kUnknown;
}

const Tensor* InferContext::constant(int i) const {
  if (!has_input(i)) return nullptr;
  const Value* v = node_.input(i);
  if (v->is_constant()) return &v->initializer();
  if (known_ == nullptr) return nullptr;
  const auto it = known_->constants.find(v);
  return it == known_->constants.end() ? nullptr : &it->second;
}

absl::optional<std::vector<int64_t>> InferContext::ints(int i) const {
  if (const Tensor* t = constant(i)) {
    if (!IsInteger(t->dtype()) && t->dtype() != DType::kBool) return absl::nullopt;
    return t->AsInt64s();
  }
  const auto dims = sizes(i);
  if (!dims) return absl::nullopt;
  std::vector<int64_t> values;
  for (const Dim& d : *dims) {
    if (!d.is_number()) return absl::nullopt;
    values.push_back(d.value());
  }
  return values;
}

absl::optional<std::vector<Dim>> InferContext::sizes(int i) const {
  if (!has_input(i)) return absl::nullopt;
  if (const Tensor* t = constant(i)) {
    if (!IsInteger(t->dtype()) || t->rank() > 1) return absl::nullopt;
    std::vector<Dim> dims;
    for (const int64_t v : t->AsInt64s()) dims.push_back(v < 0 ? Dim() : Dim(v));
    return dims;
  }
  if (known_ == nullptr) return absl::nullopt;
  const auto it = known_->sizes.find(node_.input(i));
  if (it == known_->sizes.end()) return absl::nullopt;
  return it->second;
}

void InferContext::set_output_type(int i, Type type) {
  if (has_output(i)) node_.output(i)->set_type(std::move(type));
}

void InferContext::set_sizes(int i, std::vector<Dim> sizes) {
  if (known_ != nullptr && has_output(i)) known_->sizes[node_.output(i)] = std::move(sizes);
}

void InferContext::set_constant(int i, Tensor tensor) {
  if (known_ != nullptr && has_output(i)) {
    known_->constants.insert_or_assign(node_.output(i), std::move(tensor));
  }
}

absl::StatusOr<Shape> InferContext::BroadcastInputs(int first, int last) const {
  Shape shape = Shape::Scalar();
  for (int i = first; i <= last; ++i) {
    if (!has_input(i)) continue;
    auto next = BroadcastShapes(shape, input_shape(i));
    if (!next.ok()) return Annotate(next.status(), node().Describe());
    shape = *std::move(next);
  }
  return shape;
}

absl::StatusOr<int> InferContext::Axis(int64_t axis, int rank) const {
  auto normal = NormalizeAxis(axis, rank);
  if (!normal.ok()) return Annotate(normal.status(), node().Describe());
  return normal;
}

absl::Status SameAsInput(InferContext& c) {
  c.set_output_type(0, c.input_type(0));
  return absl::OkStatus();
}

absl::Status BroadcastAll(InferContext& c) {
  GR_ASSIGN_OR_RETURN(Shape shape, c.BroadcastInputs(0, c.num_inputs() - 1));
  c.set_output(0, c.input_dtype(0), std::move(shape));
  return absl::OkStatus();
}

absl::Status BroadcastToBool(InferContext& c) {
  GR_ASSIGN_OR_RETURN(Shape shape, c.BroadcastInputs(0, c.num_inputs() - 1));
  c.set_output(0, DType::kBool, std::move(shape));
  return absl::OkStatus();
}

}  // namespace graphrun
