#include "runtime/op/node_context.h"

#include "runtime/op/op_def.h"

namespace graphrun {

const Attr* NodeContext::attr(absl::string_view name) const {
  if (const Attr* set = node_.attr(name)) return set;
  const OpDef::AttrSpec* spec = def_.FindAttr(name);
  return spec != nullptr && spec->fallback ? &*spec->fallback : nullptr;
}

namespace {

template <typename T>
T ValueOr(const Attr* attr, T fallback) {
  if (attr == nullptr) return fallback;
  const T* value = attr->get<T>();
  return value == nullptr ? fallback : *value;
}

}  // namespace

int64_t NodeContext::Int(absl::string_view name, int64_t fallback) const {
  return ValueOr(attr(name), fallback);
}
float NodeContext::Float(absl::string_view name, float fallback) const {
  return ValueOr(attr(name), fallback);
}
std::string NodeContext::String(absl::string_view name, absl::string_view fallback) const {
  return ValueOr(attr(name), std::string(fallback));
}
std::vector<int64_t> NodeContext::Ints(absl::string_view name,
                                       std::vector<int64_t> fallback) const {
  return ValueOr(attr(name), std::move(fallback));
}
std::vector<float> NodeContext::Floats(absl::string_view name, std::vector<float> fallback) const {
  return ValueOr(attr(name), std::move(fallback));
}
std::vector<std::string> NodeContext::Strings(absl::string_view name) const {
  return ValueOr(attr(name), std::vector<std::string>());
}
const Tensor* NodeContext::TensorAttr(absl::string_view name) const {
  const Attr* a = attr(name);
  return a == nullptr ? nullptr : a->get<Tensor>();
}
Attr::GraphPtr NodeContext::GraphAttr(absl::string_view name) const {
  const Attr* a = attr(name);
  const Attr::GraphPtr* graph = a == nullptr ? nullptr : a->get<Attr::GraphPtr>();
  return graph == nullptr ? nullptr : *graph;
}

}  // namespace graphrun
