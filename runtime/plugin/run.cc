#include "runtime/plugin/run.h"

#include <cstring>

#include "runtime/plugin/handles.h"

namespace graphrun {
namespace {

constexpr unsigned char kGuardByte = 0xA7;
// What memory holds before a kernel writes it: no sensible number of any type.
constexpr unsigned char kFillByte = 0xFB;

bool AllGuard(const unsigned char* at, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (at[i] != kGuardByte) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<GuardedBytes> GuardedBytes::Allocate(int64_t size) {
  GuardedBytes bytes;
  bytes.size_ = size;
  GR_ASSIGN_OR_RETURN(bytes.block_, Tensor::Allocate(DType::kUInt8, {size + 2 * kZone}));
  std::memset(bytes.At(0), kGuardByte, static_cast<size_t>(kZone));
  std::memset(bytes.At(kZone), kFillByte, static_cast<size_t>(size));
  std::memset(bytes.At(kZone + size), kGuardByte, static_cast<size_t>(kZone));
  return bytes;
}

absl::string_view GuardedBytes::Damage() const {
  if (block_.raw() == nullptr) return "";
  if (!AllGuard(static_cast<const unsigned char*>(At(0)), kZone)) return "before its begin";
  if (!AllGuard(static_cast<const unsigned char*>(At(kZone + size_)), kZone)) return "past its end";
  return "";
}

}  // namespace graphrun

using graphrun::PluginError;

absl::Status gr_run::Begin(int64_t scratch_bytes) {
  const size_t num_outputs = expected.size();
  inputs.resize(static_cast<size_t>(context.num_inputs()));
  outputs.resize(num_outputs);
  resized.resize(num_outputs);
  guarded.resize(guard ? num_outputs : 0);
  results.resize(guard ? num_outputs : 0);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!context.has_input(static_cast<int>(i))) continue;
    const graphrun::Tensor& tensor = context.input(static_cast<int>(i));
    inputs[i] = graphrun::TensorView(tensor);
    if (guard) saved.push_back(tensor.Clone());
  }
  for (size_t i = 0; i < num_outputs; ++i) {
    if (!context.has_output(static_cast<int>(i)) || !expected[i].shape.is_concrete()) continue;
    graphrun::Tensor& tensor = context.output(static_cast<int>(i));
    outputs[i] = graphrun::TensorView(tensor);
    if (!guard) continue;
    GR_ASSIGN_OR_RETURN(guarded[i], graphrun::GuardedBytes::Allocate(tensor.byte_size()));
    outputs[i].data = guarded[i].data();
  }
  scratch = context.scratch();
  if (guard && scratch_bytes > 0) {
    GR_ASSIGN_OR_RETURN(guarded_scratch, graphrun::GuardedBytes::Allocate(scratch_bytes));
    scratch = guarded_scratch.data();
  }
  return absl::OkStatus();
}

absl::Status gr_run::Resize(int32_t i, int32_t rank, const int64_t* dims) {
  const std::string where = absl::StrCat("resize_output(", i, ")");
  if (i < 0 || static_cast<size_t>(i) >= expected.size()) {
    return PluginError(where, ": the node has ", expected.size(), " outputs");
  }
  if (!context.has_output(i)) return absl::OkStatus();
  const auto at = static_cast<size_t>(i);
  GR_ASSIGN_OR_RETURN(graphrun::Dims sizes, graphrun::CopyDims(rank, dims, where));
  const graphrun::Shape& shape = expected[at].shape;
  bool fits = !shape.has_rank() || shape.rank() == rank;
  for (int axis = 0; fits && shape.has_rank() && axis < rank; ++axis) {
    fits = !shape[axis].is_number() || shape[axis].value() == sizes[static_cast<size_t>(axis)];
  }
  if (!fits) {
    return PluginError(where, ": its sizes are ", graphrun::DimsToString(sizes),
                       " but inference said ", shape.ToString());
  }
  if (shape.is_concrete()) return absl::OkStatus();
  GR_RETURN_IF_ERROR(context.ResizeOutput(i, expected[at].dtype, std::move(sizes)));
  graphrun::Tensor& tensor = context.output(i);
  outputs[at] = graphrun::TensorView(tensor);
  resized[at] = true;
  if (guard) {
    GR_ASSIGN_OR_RETURN(guarded[at], graphrun::GuardedBytes::Allocate(tensor.byte_size()));
    outputs[at].data = guarded[at].data();
  }
  return absl::OkStatus();
}

absl::Status gr_run::End() {
  for (size_t i = 0; i < expected.size(); ++i) {
    const int index = static_cast<int>(i);
    if (!context.has_output(index)) continue;
    if (outputs[i].data == nullptr && !expected[i].shape.is_concrete() && !resized[i]) {
      return PluginError("run never said the sizes of output ", i, " (resize_output)");
    }
    const graphrun::Tensor& tensor = context.output(index);
    const gr_tensor made = graphrun::TensorView(tensor);
    const gr_tensor& now = outputs[i];
    if (now.dtype != made.dtype || now.rank != made.rank || now.dims != made.dims ||
        now.num_elements != made.num_elements ||
        now.data != (guard ? guarded[i].data() : made.data)) {
      return PluginError("run changed the gr_tensor of output ", i,
                         "; only the elements are its to write. Sizes are said by resize_output");
    }
    if (!guard) continue;
    const absl::string_view damage = guarded[i].Damage();
    if (!damage.empty()) {
      return PluginError("run wrote output ", i, " (", tensor.byte_size(), " bytes) ", damage);
    }
  }
  if (!guard) return absl::OkStatus();
  if (const absl::string_view damage = guarded_scratch.Damage(); !damage.empty()) {
    return PluginError("run wrote its scratch memory ", damage);
  }
  size_t at = 0;
  for (int i = 0; i < context.num_inputs(); ++i) {
    if (!context.has_input(i)) continue;
    const graphrun::Tensor& tensor = context.input(i);
    const graphrun::Tensor& before = saved[at++];
    if (tensor.dtype() != graphrun::DType::kString && !graphrun::SameBits(tensor, before)) {
      return PluginError("run wrote into input ", i);
    }
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!context.has_output(static_cast<int>(i))) continue;
    graphrun::Tensor& tensor = context.output(static_cast<int>(i));
    if (tensor.byte_size() > 0) {
      std::memcpy(tensor.mutable_raw(), guarded[i].data(), static_cast<size_t>(tensor.byte_size()));
    }
  }
  return absl::OkStatus();
}
