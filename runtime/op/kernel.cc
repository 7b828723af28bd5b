#include "runtime/op/kernel.h"

namespace graphrun {
namespace {

void Put(std::vector<std::pair<int, Layout>>* list, int i, Layout layout) {
  for (auto& [index, old] : *list) {
    if (index != i) continue;
    old = std::move(layout);
    return;
  }
  list->emplace_back(i, std::move(layout));
}

Layout Get(const std::vector<std::pair<int, Layout>>& list, int i) {
  for (const auto& [index, layout] : list) {
    if (index == i) return layout;
  }
  return Layout();
}

}  // namespace

absl::Status RunContext::ResizeOutput(int i, DType dtype, Dims dims) {
  Datum* out = outputs_[i];
  // Memory that a sequence has come to share is not written again; what has no owner is the plan's,
  // which other values may show.
  const bool own = out->is_tensor() && out->tensor.owner().use_count() <= 1;
  if (own && out->tensor.dtype() == dtype && out->tensor.dims() == dims) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(dtype, std::move(dims)));
  *out = Datum(std::move(t));
  return absl::OkStatus();
}

void PrepareContext::Want(int i, Layout layout) { Put(&wants_, i, std::move(layout)); }
void PrepareContext::Make(int i, Layout layout) { Put(&makes_, i, std::move(layout)); }
Layout PrepareContext::wanted(int i) const { return Get(wants_, i); }
Layout PrepareContext::made(int i) const { return Get(makes_, i); }

}  // namespace graphrun
