#include "runtime/data/transform.h"

#include <utility>

#include "runtime/base/status.h"

namespace graphrun {

absl::StatusOr<TransformChain> TransformChain::Create(
    std::vector<std::shared_ptr<const Transform>> transforms, Dims input_dims) {
  TransformChain chain;
  chain.dims_ = {std::move(input_dims)};
  for (const auto& transform : transforms) {
    absl::StatusOr<Dims> dims = transform->OutputDims(chain.dims_.back());
    if (!dims.ok()) {
      return Annotate(dims.status(), absl::StrCat("transform \"", transform->ToString(), "\""));
    }
    chain.dims_.push_back(*std::move(dims));
  }
  chain.transforms_ = std::move(transforms);
  return chain;
}

double TransformChain::Cost() const {
  double cost = 0;
  for (size_t i = 0; i < transforms_.size(); ++i) {
    cost += transforms_[i]->Cost() * static_cast<double>(Product(dims_[i]));
  }
  return cost;
}

absl::Status TransformChain::Apply(const float* input, uint64_t seed, int64_t epoch, int64_t row,
                                   Scratch* scratch, float* output) const {
  const uint64_t key = Mix(Mix(Mix(seed, HashName("transform")), static_cast<uint64_t>(epoch)),
                           static_cast<uint64_t>(row));
  for (size_t i = 0; i < transforms_.size(); ++i) {
    float* to = output;
    if (i + 1 < transforms_.size()) {
      std::vector<float>& memory = i % 2 == 0 ? scratch->a : scratch->b;
      memory.resize(static_cast<size_t>(Product(dims_[i + 1])));
      to = memory.data();
    }
    Rng rng(Mix(key, i));
    GR_RETURN_IF_ERROR(transforms_[i]->Apply(input, dims_[i], &rng, to));
    input = to;
  }
  return absl::OkStatus();
}

}  // namespace graphrun
