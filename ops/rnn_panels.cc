#include "ops/rnn_panels.h"

#include "ops/recurrent_grad_panels.h"
#include "ops/recurrent_panels.h"

namespace graphrun {
namespace {

using Made = absl::StatusOr<std::unique_ptr<Kernel>>;

// The case, where panels serve it.
template <typename T>
absl::optional<RecurrentCase> CaseOf(PrepareContext& c, Cell cell) {
  if (c.Int("layout") != 0) return absl::nullopt;
  const RecurrentCase k(c, cell, 0);
  if (!RecurrentPanels<T>::Takes(k, c.has_input(4), c.has_input(kInputP))) return absl::nullopt;
  return k;
}

template <typename T>
Made Forward(PrepareContext& c, Cell cell) {
  const absl::optional<RecurrentCase> k = CaseOf<T>(c, cell);
  if (!k) return nullptr;
  const RecurrentPanels<T> panels(*k, c.threads());
  Tensor packed;
  const bool fixed = c.constant(1) != nullptr && c.constant(2) != nullptr &&
                     (!c.has_input(3) || c.constant(3) != nullptr);
  if (fixed) {
    GR_ASSIGN_OR_RETURN(packed, Tensor::Allocate(DType::kUInt8, {panels.packed_bytes()}));
    typename RecurrentPanels<T>::Forward f;
    f.w = c.constant(1)->data<T>();
    f.r = c.constant(2)->data<T>();
    f.b = c.has_input(3) ? c.constant(3)->data<T>() : nullptr;
    panels.Pack(f, packed.mutable_data<uint8_t>());
  }
  c.Scratch(panels.scratch_bytes(fixed));
  const bool lstm = cell == Cell::kLstm;
  return MakeKernel(
      [panels, packed, fixed, lstm](RunContext& r) {
        typename RecurrentPanels<T>::Forward f;
        const auto in = [&](int i) { return r.has_input(i) ? r.input(i).data<T>() : nullptr; };
        const auto out = [&](int i) {
          return r.has_output(i) ? r.output(i).mutable_data<T>() : nullptr;
        };
        f.x = in(0), f.w = in(1), f.r = in(2), f.b = in(3), f.h0 = in(kInputH);
        f.c0 = lstm ? in(kInputC) : nullptr;
        f.y = out(0), f.y_h = out(1), f.y_c = lstm ? out(2) : nullptr;
        f.gates = out(lstm ? 3 : 2), f.cells = lstm ? out(4) : nullptr;
        panels.Run(f, fixed ? packed.data<uint8_t>() : nullptr, r.scratch());
        return absl::OkStatus();
      },
      fixed ? "packed weights" : "");
}

template <typename T>
Made Backward(PrepareContext& c, Cell cell) {
  const bool lstm = cell == Cell::kLstm;
  if (!c.has_input(11) || !c.has_input(12) || (lstm && !c.has_input(13))) return nullptr;
  const absl::optional<RecurrentCase> k = CaseOf<T>(c, cell);
  if (!k) return nullptr;
  const RecurrentGradPanels<T> panels(*k, c.threads());
  c.Scratch(panels.scratch_bytes(c.has_output(0)));
  return MakeKernel([panels, lstm](RunContext& r) {
    typename RecurrentGradPanels<T>::Backward g;
    const auto in = [&](int i) { return r.has_input(i) ? r.input(i).data<T>() : nullptr; };
    const auto out = [&](int i) {
      return r.has_output(i) ? r.output(i).mutable_data<T>() : nullptr;
    };
    g.x = in(0), g.w = in(1), g.r = in(2), g.h0 = in(kInputH), g.c0 = lstm ? in(kInputC) : nullptr;
    g.dy = in(8), g.dy_h = in(9), g.dy_c = in(10), g.y = in(11), g.gates = in(12);
    g.cells = in(13);
    g.dx = out(0), g.dw = out(1), g.dr = out(2), g.db = out(3), g.dh0 = out(4), g.dc0 = out(5);
    panels.Run(g, r.scratch());
    return absl::OkStatus();
  });
}

template <typename T>
Made MadeFor(PrepareContext& c, Cell cell, bool backward) {
  return backward ? Backward<T>(c, cell) : Forward<T>(c, cell);
}

KernelFactory Factory(Cell cell, bool backward) {
  return [=](PrepareContext& c) -> Made {
    const DType dtype = c.input_dtype(0);
    if (dtype == DType::kFloat32) return MadeFor<float>(c, cell, backward);
    if (dtype == DType::kBFloat16) return MadeFor<BFloat16>(c, cell, backward);
    return nullptr;
  };
}

}  // namespace

KernelFactory RecurrentPanelKernel(Cell cell) { return Factory(cell, false); }

KernelFactory RecurrentPanelGradKernel(Cell cell) { return Factory(cell, true); }

}  // namespace graphrun
