// Identity.
//
// Source: https://onnx.ai/onnx/operators/onnx__Identity.html (25). Every tensor, and from version
// 16 on sequences and optionals. The plan drops it; the kernel serves where nothing is planned.
#include <cstring>
#include <string>

#include "ops/elementwise.h"

namespace graphrun {

void RegisterIdentityOps(OpRegistry& ops) {
  ops.Add(
      OpDef("Identity", 1)
          .Versions({1, 13, 14, 16, 19, 21, 23, 24, 25})
          .Input("input", "any")
          .Output("output", "any")
          .Infer([](InferContext& c) -> absl::Status {
            GR_RETURN_IF_ERROR(SameAsInput(c));
            if (const auto sizes = c.sizes(0)) c.set_sizes(0, *sizes);
            return absl::OkStatus();
          })
          .NoOp([](const NodeContext&) { return 0; })
          .InPlace(0, 0)
          .Kernel("native",
                  [](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
                    return MakeKernel([](RunContext& r) -> absl::Status {
                      const Datum& in = r.input_datum(0);
                      if (!in.is_tensor()) {
                        r.output_datum(0) = in;
                        return absl::OkStatus();
                      }
                      const Tensor& x = in.tensor;
                      if (!r.output_datum(0).is_tensor() || r.output(0).dims() != x.dims()) {
                        GR_RETURN_IF_ERROR(r.ResizeOutput(0, x.dtype(), x.dims()));
                      }
                      Tensor& y = r.output(0);
                      if (x.raw() == y.raw() || x.num_elements() == 0) return absl::OkStatus();
                      if (x.dtype() == DType::kString) {
                        std::copy(x.data<std::string>(), x.data<std::string>() + x.num_elements(),
                                  y.mutable_data<std::string>());
                      } else {
                        std::memcpy(y.mutable_raw(), x.raw(), static_cast<size_t>(x.byte_size()));
                      }
                      return absl::OkStatus();
                    });
                  })
          // dx = dy
          .Gradient([](GradContext& g) { g.dx(0, g.dy()); })
          .Try(Sample().In({2, 3}))
          .Try(Sample().In({0}))
          .Try(Sample().In(Tensor::Of<std::string>({2}, {"a", "b"}))));
}

}  // namespace graphrun
