#include "runtime/exec/state_store.h"

#include <cstring>

namespace graphrun {

absl::Status CopyLayout(const OpRegistry& registry, DType dtype, const Dims& dims, const void* from,
                        const Layout& from_layout, void* to, const Layout& to_layout) {
  if (Product(dims) == 0) return absl::OkStatus();
  if (from_layout == to_layout) {
    std::memcpy(to, from, static_cast<size_t>(from_layout.ByteSize(dtype, dims)));
    return absl::OkStatus();
  }
  if (!registry.reorder()) return InternalError("no reorder between layouts is registered");
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Kernel> kernel,
                      registry.reorder()(dtype, dims, from_layout, to_layout));
  Datum in(Tensor::View(dtype, dims, const_cast<void*>(from)));
  Datum out(Tensor::View(dtype, dims, to));
  const Datum* inputs[] = {&in};
  Datum* outputs[] = {&out};
  RunContext context(inputs, 1, outputs, 1, nullptr, 0, 0);
  return kernel->Run(context);
}

absl::Status StateStore::Allocate(const std::string& name, DType dtype, const Dims& dims,
                                  const Layout& layout) {
  Entry entry{name, dtype, dims, layout, {}, {}};
  GR_ASSIGN_OR_RETURN(entry.memory,
                      Tensor::Allocate(DType::kUInt8, {layout.ByteSize(dtype, dims)}));
  // Others are written as a whole.
  if (entry.memory.byte_size() > 0 && !layout.is_row_major()) {
    std::memset(entry.memory.mutable_raw(), 0, static_cast<size_t>(entry.memory.byte_size()));
  }
  const auto [it, inserted] = entries_.emplace(name, std::move(entry));
  if (!inserted) return InternalError("state \"", name, "\" is added twice");
  return absl::OkStatus();
}

absl::Status StateStore::Add(const std::string& name, const Tensor& value, const Layout& layout) {
  GR_RETURN_IF_ERROR(Allocate(name, value.dtype(), value.dims(), layout));
  return Write(name, value);
}

absl::Status StateStore::AddCopy(const std::string& name, const std::string& of, DType dtype,
                                 const Layout& layout) {
  const auto it = entries_.find(of);
  if (it == entries_.end() || it->second.dtype != DType::kFloat32 || dtype != DType::kBFloat16) {
    return InternalError("\"", name, "\" is to be a copy of \"", of, "\", which cannot be rounded");
  }
  GR_RETURN_IF_ERROR(Allocate(name, dtype, it->second.dims, layout));
  it->second.copies.push_back(name);
  copy_of_[name] = of;
  return Refresh(of);
}

absl::Status StateStore::Refresh(const std::string& of) {
  const auto it = entries_.find(of);
  if (it == entries_.end() || it->second.copies.empty()) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const Tensor value, Read(of));
  GR_ASSIGN_OR_RETURN(Tensor rounded, Tensor::Allocate(DType::kBFloat16, value.dims()));
  const float* x = value.data<float>();
  BFloat16* y = rounded.mutable_data<BFloat16>();
  for (int64_t i = 0; i < value.num_elements(); ++i) y[i] = BFloat16(x[i]);
  for (const std::string& name : it->second.copies) {
    Entry& copy = entries_.at(name);
    GR_RETURN_IF_ERROR(CopyLayout(*registry_, copy.dtype, copy.dims, rounded.raw(), Layout(),
                                  copy.memory.mutable_raw(), copy.layout));
  }
  return absl::OkStatus();
}

const StateStore::Entry* StateStore::Find(const std::string& name) const {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : &it->second;
}

absl::StatusOr<Tensor> StateStore::Read(const std::string& name) const {
  const Entry* entry = Find(name);
  if (entry == nullptr) return InternalError("there is no state \"", name, "\"");
  GR_ASSIGN_OR_RETURN(Tensor value, Tensor::Allocate(entry->dtype, entry->dims));
  GR_RETURN_IF_ERROR(CopyLayout(*registry_, entry->dtype, entry->dims, entry->memory.raw(),
                                entry->layout, value.mutable_raw(), Layout()));
  return value;
}

absl::Status StateStore::Write(const std::string& name, const Tensor& value) {
  const auto it = entries_.find(name);
  if (it == entries_.end()) return InternalError("there is no state \"", name, "\"");
  Entry& entry = it->second;
  if (entry.dtype != value.dtype() || entry.dims != value.dims()) {
    return InternalError("state \"", name, "\" is ", DTypeName(entry.dtype),
                         DimsToString(entry.dims), " but is given ", value.type().ToString());
  }
  GR_RETURN_IF_ERROR(CopyLayout(*registry_, entry.dtype, entry.dims, value.raw(), Layout(),
                                entry.memory.mutable_raw(), entry.layout));
  return Refresh(name);
}

std::vector<std::string> StateStore::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) {
    if (copy_of_.count(name) == 0) names.push_back(name);
  }
  return names;
}

std::map<std::string, Layout> StateStore::Layouts() const {
  std::map<std::string, Layout> layouts;
  for (const auto& [name, entry] : entries_) layouts[name] = entry.layout;
  return layouts;
}

int64_t StateStore::bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, entry] : entries_) bytes += entry.memory.byte_size();
  return bytes;
}

}  // namespace graphrun
