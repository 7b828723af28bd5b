#include "ops/pointwise_kernel.h"

#include <algorithm>

#include "runtime/op/op_def.h"

namespace graphrun {
namespace {

using Access = PointwiseGroup::Access;

// True where elements of value 0 give 0 in every output, whatever the scalars are.
bool KeepsZeros(const PrepareContext& c, const PointwiseProgram& program,
                const std::vector<int>& inputs, const std::vector<Access>& access) {
  for (const float guess : {0.37f, 1.0f, 2.5f}) {
    std::vector<float> values;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Tensor* known = c.constant(inputs[i]);
      values.push_back(access[i] == Access::kFull ? 0
                       : known != nullptr         ? static_cast<float>(known->AsDouble(0))
                                                  : guess);
    }
    for (const float y : program.Evaluate(values)) {
      if (!(y == 0)) return false;
    }
  }
  return true;
}

// The layout that a group's full-sized tensors take.
Layout GroupLayout(const PrepareContext& c, const PointwiseProgram& program,
                   const std::vector<int>& inputs, const Dims& dims,
                   const std::vector<Access>& access) {
  const bool strided = std::find(access.begin(), access.end(), Access::kStrided) != access.end();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (access[i] != Access::kFull) continue;
    const Layout layout = c.input_layout(inputs[i]);
    if (layout.is_undecided()) continue;
    if (layout.is_row_major()) return layout;
    if (layout.is_opaque()) return Layout();
    if (!layout.HasPadding(dims) || (!strided && KeepsZeros(c, program, inputs, access)))
      return layout;
    return Layout();
  }
  return Layout();
}

}  // namespace

std::unique_ptr<Kernel> PreparePointwise(PrepareContext& c, PointwiseProgram program,
                                         const std::vector<std::vector<int>>& inputs,
                                         const std::vector<std::vector<int>>& outputs) {
  std::vector<DType> input_dtypes, output_dtypes;
  for (const int i : inputs[0]) input_dtypes.push_back(c.input_dtype(i));
  for (const int o : outputs[0]) output_dtypes.push_back(c.output_dtype(o));
  std::vector<PointwiseGroup> groups;
  std::vector<int> flat_inputs, flat_outputs;
  for (size_t g = 0; g < inputs.size(); ++g) {
    const Type& type = c.output_type(outputs[g][0]);
    if (!type.tensor.shape.is_concrete()) return nullptr;
    const Dims dims = type.tensor.shape.ToDims();
    std::vector<Dims> sizes;
    for (size_t i = 0; i < inputs[g].size(); ++i) {
      const int index = inputs[g][i];
      if (!IsPointwiseDType(input_dtypes[i]) || c.input_dtype(index) != input_dtypes[i])
        return nullptr;
      if (!c.input_type(index).tensor.shape.is_concrete()) return nullptr;
      sizes.push_back(c.input_dims(index));
    }
    for (size_t o = 0; o < outputs[g].size(); ++o) {
      const int index = outputs[g][o];
      if (!IsPointwiseDType(output_dtypes[o]) || c.output_dtype(index) != output_dtypes[o])
        return nullptr;
      const Shape& shape = c.output_type(index).tensor.shape;
      if (!shape.is_concrete() || shape.ToDims() != dims) return nullptr;
    }
    const PointwiseGroup plain = MakePointwiseGroup(dims, Layout(), sizes);
    if (g > 0 && plain.access != groups[0].access) return nullptr;
    const Layout layout = GroupLayout(c, program, inputs[g], dims, plain.access);
    groups.push_back(layout.is_row_major() ? plain : MakePointwiseGroup(dims, layout, sizes));
    for (size_t i = 0; i < inputs[g].size(); ++i) {
      if (plain.access[i] == Access::kFull) c.Want(inputs[g][i], layout);
    }
    for (const int o : outputs[g]) c.Make(o, layout);
    flat_inputs.insert(flat_inputs.end(), inputs[g].begin(), inputs[g].end());
    flat_outputs.insert(flat_outputs.end(), outputs[g].begin(), outputs[g].end());
  }
  const std::vector<Access> access = groups[0].access;
  PointwiseExecutor executor(std::move(program), std::move(input_dtypes), std::move(output_dtypes),
                             access);
  if (!executor.fits()) return nullptr;
  c.Scratch(static_cast<int64_t>((flat_inputs.size() + flat_outputs.size()) * sizeof(void*)));
  return MakeKernel([executor, groups, flat_inputs, flat_outputs](RunContext& r) {
    auto* const in = static_cast<const void**>(r.scratch());
    auto* const out = static_cast<void**>(r.scratch()) + flat_inputs.size();
    for (size_t i = 0; i < flat_inputs.size(); ++i) in[i] = r.input(flat_inputs[i]).raw();
    for (size_t o = 0; o < flat_outputs.size(); ++o)
      out[o] = r.output(flat_outputs[o]).mutable_raw();
    executor.Run(groups, absl::MakeConstSpan(in, flat_inputs.size()),
                 absl::Span<void* const>(out, flat_outputs.size()));
    return absl::OkStatus();
  });
}

KernelFactory BlockKernel() {
  return [](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    const Pointwise& pointwise = c.def().pointwise();
    PointwiseProgram program;
    PointwiseProgram::Step step;
    step.block = pointwise.block;
    if (pointwise.params) step.params = pointwise.params(c);
    std::vector<int> inputs;
    for (int i = 0; i < c.num_inputs(); ++i) {
      step.args.push_back(c.has_input(i) ? static_cast<int>(inputs.size()) : -1);
      if (c.has_input(i)) inputs.push_back(i);
    }
    program.num_inputs = static_cast<int>(inputs.size());
    program.steps.push_back(std::move(step));
    program.outputs = {program.num_inputs};
    return PreparePointwise(c, std::move(program), {inputs}, {{0}});
  };
}

}  // namespace graphrun
