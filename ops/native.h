// Factories of `native` kernels: plain loops over any element type, double included; the oracle of
// every faster kernel.
#pragma once

#include <array>

#include "ops/broadcast.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// y = f(x) for every element; f takes and gives Compute<T>. `types` lists the element types served.
template <typename Types, typename F>
KernelFactory NativeUnary(F f) {
  return [f](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    DispatchDType(Types(), c.input_dtype(0), [&]<typename T>() {
      kernel = MakeKernel([f](RunContext& r) {
        const T* x = r.input(0).data<T>();
        T* y = r.output(0).mutable_data<T>();
        ParallelFor(r.input(0).num_elements(), 16384, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) y[i] = T(f(static_cast<Compute<T>>(x[i])));
        });
        return absl::OkStatus();
      });
    });
    return kernel;
  };
}

// z = f(x, y) with broadcasting. R is the result's element type; void: the operands'.
template <typename Types, typename R = void, typename F>
KernelFactory NativeBinary(F f) {
  return [f](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    DispatchDType(Types(), c.input_dtype(0), [&]<typename T>() {
      using Result = std::conditional_t<std::is_void_v<R>, T, R>;
      const Broadcast<2> broadcast(c.output_dims(0), {c.input_dims(0), c.input_dims(1)});
      kernel = MakeKernel([f, broadcast](RunContext& r) {
        const T* x = r.input(0).data<T>();
        const T* y = r.input(1).data<T>();
        Result* z = r.output(0).mutable_data<Result>();
        broadcast.ForEachRow([&](int64_t out, const std::array<int64_t, 2>& at,
                                 const std::array<int64_t, 2>& step, int64_t n) {
          for (int64_t i = 0; i < n; ++i) {
            z[out + i] = Result(f(static_cast<Compute<T>>(x[at[0] + i * step[0]]),
                                  static_cast<Compute<T>>(y[at[1] + i * step[1]])));
          }
        });
        return absl::OkStatus();
      });
    });
    return kernel;
  };
}

}  // namespace graphrun
