#include "runtime/train/init.h"

#include <cmath>

#include "runtime/base/rng.h"

namespace graphrun {

absl::Status InitializeParameters(Graph& model, const OpRegistry& registry,
                                  recipe::Model::Init init, uint64_t seed) {
  for (Value* v : model.initializers()) {
    if (!IsFloat(v->dtype()) || v->initializer().rank() < 1 || v->uses().empty()) continue;
    const Use& use = v->uses()[0];
    const OpDef* def = registry.Find(*use.node);
    if (def == nullptr) continue;
    const ParameterRole role = def->parameter_role(*use.node, use.index);
    if (role.kind == ParameterKind::kNormalization || role.kind == ParameterKind::kStatistic)
      continue;
    const bool bias = role.kind == ParameterKind::kBias;
    const Dims& dims = v->initializer().dims();
    const int rank = static_cast<int>(dims.size());
    const auto unit =
        static_cast<size_t>(role.unit_axis < 0 ? role.unit_axis + rank : role.unit_axis);
    const double count = static_cast<double>(Product(dims));
    const double units = static_cast<double>(std::max<int64_t>(dims[unit], 1));
    const double fan_in = std::max(count / units, 1.0);
    // Kernel positions count for both sides: (in, out) of a matrix, (in, out) times the window of a
    // convolution.
    const size_t in_axis = unit == 0 && rank > 1 ? 1 : 0;
    const double fan_out =
        std::max(count / static_cast<double>(std::max<int64_t>(dims[in_axis], 1)), 1.0);
    Tensor t = Tensor::Zeros(v->dtype(), dims);
    Rng rng(Mix(Mix(seed, 21), HashName(v->name())));
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      double x = 0;
      if (init == recipe::Model::NORMAL) {
        x = rng.Normal();
      } else if (!bias && init == recipe::Model::HE) {
        x = rng.Normal() * std::sqrt(2.0 / fan_in);
      } else if (!bias) {
        const double limit = std::sqrt(6.0 / (fan_in + fan_out));
        x = rng.Uniform(-limit, limit);
      }
      DispatchDType(FloatTypes(), t.dtype(), [&]<typename T>() { t.mutable_data<T>()[i] = T(x); });
    }
    model.SetInitializer(v, std::move(t));
  }
  return absl::OkStatus();
}

}  // namespace graphrun
