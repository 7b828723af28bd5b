#include <algorithm>

#include "runtime/plugin/call.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/memory.h"

namespace graphrun {
namespace {

const Node& NodeOf(const gr_node* n) { return n->context.node(); }
bool HasInput(const gr_node* n, int32_t i) { return i >= 0 && n->context.has_input(i); }
bool HasOutput(const gr_node* n, int32_t i) { return i >= 0 && n->context.has_output(i); }

int32_t DTypeOf(const Value* v) {
  return v->dtype() == DType::kString ? GR_UNDEFINED : static_cast<int32_t>(v->dtype());
}
int32_t RankOf(const Value* v) {
  return v->type().is_tensor() && v->shape().has_rank() ? v->shape().rank() : -1;
}
gr_dim DimOf(const Value* v, int32_t axis) {
  if (axis < 0 || axis >= RankOf(v)) return {-1, nullptr};
  return DimView(v->shape()[axis]);
}

const Attr* AttrOf(const gr_node* n, const char* name) {
  return name == nullptr ? nullptr : n->context.attr(name);
}

template <typename T>
const T* ValueOf(const gr_node* n, const char* name) {
  const Attr* attr = AttrOf(n, name);
  return attr == nullptr ? nullptr : attr->get<T>();
}

template <typename T>
const T* ListOf(const gr_node* n, const char* name, size_t* count) {
  const auto* list = ValueOf<std::vector<T>>(n, name);
  if (count != nullptr) *count = list == nullptr ? 0 : list->size();
  return list == nullptr || list->empty() ? nullptr : list->data();
}

int32_t KindNumber(const gr_node* n, const char* name) {
  const Attr* attr = AttrOf(n, name);
  if (attr == nullptr) return GR_ATTR_NONE;
  for (int32_t kind = GR_ATTR_INT; kind <= GR_ATTR_STRINGS; ++kind) {
    if (KindOfAttr(kind) == attr->kind()) return kind;
  }
  return GR_ATTR_NONE;
}

const char* const* Strings(const gr_node* n, const char* name, size_t* count) {
  if (count != nullptr) *count = 0;
  const auto* list = ValueOf<std::vector<std::string>>(n, name);
  if (list == nullptr || list->empty()) return nullptr;
  n->lists.emplace_back();
  for (const std::string& s : *list) n->lists.back().push_back(s.c_str());
  if (count != nullptr) *count = list->size();
  return n->lists.back().data();
}

}  // namespace

const gr_node_api kNodeApi = {
    sizeof(gr_node_api),
    [](const gr_node* n) { return NodeOf(n).name().c_str(); },
    [](const gr_node* n) { return NodeOf(n).domain().c_str(); },
    [](const gr_node* n) { return NodeOf(n).op_type().c_str(); },
    [](const gr_node* n) -> int32_t { return n->context.num_inputs(); },
    [](const gr_node* n) -> int32_t { return n->context.num_outputs(); },
    [](const gr_node* n, int32_t i) -> int32_t { return HasInput(n, i); },
    [](const gr_node* n, int32_t i) -> int32_t { return HasOutput(n, i); },
    [](const gr_node* n, int32_t i) -> int32_t {
      return HasInput(n, i) ? DTypeOf(NodeOf(n).input(i)) : GR_UNDEFINED;
    },
    [](const gr_node* n, int32_t i) -> int32_t {
      return HasInput(n, i) ? RankOf(NodeOf(n).input(i)) : -1;
    },
    [](const gr_node* n, int32_t i, int32_t axis) -> gr_dim {
      return HasInput(n, i) ? DimOf(NodeOf(n).input(i), axis) : gr_dim{-1, nullptr};
    },
    [](const gr_node* n, int32_t i) -> int32_t {
      return HasOutput(n, i) ? DTypeOf(NodeOf(n).output(i)) : GR_UNDEFINED;
    },
    [](const gr_node* n, int32_t i) -> int32_t {
      return HasOutput(n, i) ? RankOf(NodeOf(n).output(i)) : -1;
    },
    [](const gr_node* n, int32_t i, int32_t axis) -> gr_dim {
      return HasOutput(n, i) ? DimOf(NodeOf(n).output(i), axis) : gr_dim{-1, nullptr};
    },
    KindNumber,
    [](const gr_node* n, const char* name, int64_t otherwise) {
      const auto* value = ValueOf<int64_t>(n, name);
      return value == nullptr ? otherwise : *value;
    },
    [](const gr_node* n, const char* name, double otherwise) {
      const auto* value = ValueOf<float>(n, name);
      return value == nullptr ? otherwise : static_cast<double>(*value);
    },
    [](const gr_node* n, const char* name, const char* otherwise) {
      const auto* value = ValueOf<std::string>(n, name);
      return value == nullptr ? otherwise : value->c_str();
    },
    [](const gr_node* n, const char* name, size_t* count) {
      return ListOf<int64_t>(n, name, count);
    },
    [](const gr_node* n, const char* name, size_t* count) { return ListOf<float>(n, name, count); },
    Strings,
    [](const gr_node* n, const char* name) { return n->Keep(ValueOf<Tensor>(n, name)); },
};

namespace {

absl::Status SetOutput(gr_infer* c, int32_t i, int32_t dtype, int32_t rank, const gr_dim* dims) {
  if (i < 0 || i >= c->context.num_outputs()) {
    // Asking about an output that the node leaves out is no mistake; one that cannot be is.
    return c->context.def().OutputArgument(std::max(i, 0)) != nullptr && i >= 0
               ? absl::OkStatus()
               : PluginError("set_output(", i, "): the operator has no such output");
  }
  const std::string where = absl::StrCat("set_output(", i, ")");
  if (!IsPluginDType(dtype)) {
    return PluginError(where, ": element type ", dtype, " is none that plugins may use");
  }
  GR_ASSIGN_OR_RETURN(Shape shape, CopyShape(rank, dims, where));
  c->context.set_output(i, static_cast<DType>(dtype), std::move(shape));
  c->told.resize(std::max(c->told.size(), static_cast<size_t>(i) + 1));
  c->told[static_cast<size_t>(i)] = true;
  return absl::OkStatus();
}

absl::Status SetSizes(gr_infer* c, int32_t i, int32_t count, const gr_dim* dims) {
  const std::string where = absl::StrCat("set_sizes(", i, ")");
  if (i < 0 || !c->context.has_output(i)) return absl::OkStatus();
  if (count < 0) return PluginError(where, ": count is ", count);
  GR_ASSIGN_OR_RETURN(Shape sizes, CopyShape(count, dims, where));
  c->context.set_sizes(i, sizes.dims());
  return absl::OkStatus();
}

absl::Status BroadcastInputs(gr_infer* c, int32_t first, int32_t last, int32_t* rank,
                             const gr_dim** dims) {
  if (first < 0 || last < first || rank == nullptr || dims == nullptr) {
    return PluginError("broadcast(", first, ", ", last, "): no such inputs, or nowhere to write");
  }
  GR_ASSIGN_OR_RETURN(Shape shape, c->context.BroadcastInputs(first, last));
  *rank = shape.has_rank() ? shape.rank() : -1;
  *dims = shape.has_rank() ? c->Keep(shape.dims()) : nullptr;
  return absl::OkStatus();
}

}  // namespace

const gr_infer_api kInferApi = {
    sizeof(gr_infer_api),
    [](gr_infer* c, int32_t i, int32_t dtype, int32_t rank, const gr_dim* dims) {
      return GiveStatus(SetOutput(c, i, dtype, rank, dims));
    },
    [](gr_infer* c, int32_t i) { return c->node.Keep(i < 0 ? nullptr : c->context.constant(i)); },
    [](gr_infer* c, int32_t i, const gr_dim** dims) -> int32_t {
      const auto sizes = i < 0 ? absl::nullopt : c->context.sizes(i);
      if (!sizes || dims == nullptr) return -1;
      *dims = c->Keep(*sizes);
      return static_cast<int32_t>(sizes->size());
    },
    [](gr_infer* c, int32_t i, int32_t count, const gr_dim* dims) {
      return GiveStatus(SetSizes(c, i, count, dims));
    },
    [](gr_infer* c, int32_t first, int32_t last, int32_t* rank, const gr_dim** dims) {
      return GiveStatus(BroadcastInputs(c, first, last, rank, dims));
    },
};

const gr_random_api kRandomApi = {
    sizeof(gr_random_api),
    [](gr_random* r) { return r->rng.Uniform(); },
    [](gr_random* r) { return r->rng.Normal(); },
    [](gr_random* r, uint64_t n) { return n == 0 ? 0 : r->rng.Below(n); },
};

}  // namespace graphrun
