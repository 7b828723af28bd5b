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

absl::Status StateStore::Add(const std::string& name, const Tensor& value, const Layout& layout) {
  Entry entry{name, value.dtype(), value.dims(), layout, {}};
  GR_ASSIGN_OR_RETURN(
      entry.memory,
      Tensor::Allocate(DType::kUInt8, {layout.ByteSize(value.dtype(), value.dims())}));
  if (entry.memory.byte_size() > 0) {
    std::memset(entry.memory.mutable_raw(), 0, static_cast<size_t>(entry.memory.byte_size()));
  }
  const auto [it, inserted] = entries_.emplace(name, std::move(entry));
  if (!inserted) return InternalError("state \"", name, "\" is added twice");
  return Write(name, value);
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
  return CopyLayout(*registry_, entry.dtype, entry.dims, value.raw(), Layout(),
                    entry.memory.mutable_raw(), entry.layout);
}

std::vector<std::string> StateStore::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

int64_t StateStore::bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, entry] : entries_) bytes += entry.memory.byte_size();
  return bytes;
}

}  // namespace graphrun
