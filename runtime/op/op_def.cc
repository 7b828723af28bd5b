#include "runtime/op/op_def.h"

#include <algorithm>

namespace graphrun {

OpDef& OpDef::Input(std::string name, std::string type, Arity arity) {
  inputs_.push_back({std::move(name), std::move(type), arity});
  return *this;
}
OpDef& OpDef::Output(std::string name, std::string type, Arity arity) {
  outputs_.push_back({std::move(name), std::move(type), arity});
  return *this;
}
OpDef& OpDef::Attr(std::string name, graphrun::Attr fallback) {
  const auto kind = fallback.kind();
  attrs_.push_back({std::move(name), kind, std::move(fallback), false});
  return *this;
}
OpDef& OpDef::Attr(std::string name, graphrun::Attr::Kind kind) {
  attrs_.push_back({std::move(name), kind, absl::nullopt, false});
  return *this;
}
OpDef& OpDef::RequiredAttr(std::string name, graphrun::Attr::Kind kind) {
  attrs_.push_back({std::move(name), kind, absl::nullopt, true});
  return *this;
}
OpDef& OpDef::Types(std::string variable, DTypeSet dtypes) {
  types_.emplace_back(std::move(variable), dtypes);
  return *this;
}
OpDef& OpDef::Infer(InferFn fn) {
  infer_ = std::move(fn);
  return *this;
}
OpDef& OpDef::Kernel(std::string name, KernelFactory factory) {
  kernels_.push_back({std::move(name), std::move(factory)});
  return *this;
}
OpDef& OpDef::Gradient(GradientFn fn) {
  gradient_ = std::move(fn);
  return *this;
}
OpDef& OpDef::NotDifferentiable(std::string why) {
  not_differentiable_ = std::move(why);
  return *this;
}
OpDef& OpDef::NoGradientFor(std::vector<int> inputs) {
  no_gradient_for_ = std::move(inputs);
  return *this;
}
OpDef& OpDef::Body(BodyFn fn) {
  body_ = std::move(fn);
  return *this;
}
OpDef& OpDef::InPlace(int input, int output) {
  in_place_.emplace_back(input, output);
  return *this;
}
OpDef& OpDef::View() {
  view_ = true;
  return *this;
}
OpDef& OpDef::NoOp(std::function<int(const NodeContext&)> same_as) {
  no_op_ = std::move(same_as);
  return *this;
}
OpDef& OpDef::InPlace(InPlaceFn pairs) {
  in_place_fn_ = std::move(pairs);
  return *this;
}
std::vector<std::pair<int, int>> OpDef::in_place(const Node& node) const {
  std::vector<std::pair<int, int>> pairs = in_place_;
  if (in_place_fn_) {
    for (const auto& pair : in_place_fn_(node)) pairs.push_back(pair);
  }
  return pairs;
}
OpDef& OpDef::Training(std::function<void(TrainingContext&)> fn) {
  training_ = std::move(fn);
  return *this;
}
OpDef& OpDef::Inference(BodyFn fn) {
  inference_ = std::move(fn);
  return *this;
}
OpDef& OpDef::Link(OutputLink link) {
  link_ = link;
  return *this;
}
OpDef& OpDef::Parameter(int input, ParameterKind kind,
                        std::function<int(const NodeContext&)> unit_axis) {
  parameters_.push_back({input, kind, std::move(unit_axis)});
  return *this;
}
ParameterRole OpDef::parameter_role(const Node& node, int input) const {
  for (const ParameterSpec& spec : parameters_) {
    if (spec.input == input)
      return {spec.kind, spec.unit_axis ? spec.unit_axis(NodeContext(node, *this)) : 0};
  }
  const Shape& shape = node.input(input)->shape();
  return {shape.has_rank() && shape.rank() > 1 ? ParameterKind::kWeight : ParameterKind::kBias, 0};
}
OpDef& OpDef::ShapeOnly(int input) {
  shape_only_.push_back(input);
  return *this;
}
OpDef& OpDef::MultiplyAdds(std::function<double(const NodeContext&)> count) {
  multiply_adds_ = std::move(count);
  return *this;
}
double OpDef::multiply_adds(const Node& node) const {
  return multiply_adds_ ? multiply_adds_(NodeContext(node, *this)) : 0;
}
OpDef& OpDef::PointwiseBlock(Pointwise::Block block,
                             std::function<std::vector<float>(const NodeContext&)> params) {
  pointwise_ = {block, std::move(params)};
  return *this;
}
OpDef& OpDef::Random() {
  random_ = true;
  return *this;
}
OpDef& OpDef::Try(Sample sample) {
  samples_.push_back(std::move(sample));
  return *this;
}
OpDef& OpDef::Versions(std::vector<int> versions) {
  versions_ = std::move(versions);
  return *this;
}
OpDef& OpDef::Source(std::string source) {
  source_ = std::move(source);
  return *this;
}

const OpDef::AttrSpec* OpDef::FindAttr(absl::string_view name) const {
  const auto it =
      std::find_if(attrs_.begin(), attrs_.end(), [&](const AttrSpec& a) { return a.name == name; });
  return it == attrs_.end() ? nullptr : &*it;
}

bool OpDef::gradient_flows_to(int input) const {
  return std::find(no_gradient_for_.begin(), no_gradient_for_.end(), input) ==
         no_gradient_for_.end();
}

bool OpDef::is_shape_only(int input) const {
  return std::find(shape_only_.begin(), shape_only_.end(), input) != shape_only_.end();
}

std::string OpDef::Describe() const {
  return absl::StrCat(domain_.empty() ? "" : domain_ + ".", name_, "-", since_);
}

namespace {

const OpDef::Argument* ArgumentAt(const std::vector<OpDef::Argument>& arguments, int i) {
  if (arguments.empty()) return nullptr;
  const auto index = static_cast<size_t>(i);
  if (index < arguments.size()) return &arguments[index];
  return arguments.back().arity == Arity::kVariadic ? &arguments.back() : nullptr;
}

}  // namespace

const OpDef::Argument* OpDef::InputArgument(int i) const { return ArgumentAt(inputs_, i); }
const OpDef::Argument* OpDef::OutputArgument(int i) const { return ArgumentAt(outputs_, i); }

}  // namespace graphrun
