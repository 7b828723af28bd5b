// Declarations that the elementwise families share: one callable serves the native kernel of every
// element type and the f32 block function.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ops/native.h"
#include "ops/pointwise_kernel.h"
#include "ops/vector_math.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

using ParamsFn = std::function<std::vector<float>(const NodeContext&)>;

// The attributes of these names, in order.
inline ParamsFn FloatAttrs(std::vector<std::string> names) {
  return [names = std::move(names)](const NodeContext& c) {
    std::vector<float> values;
    for (const std::string& name : names) values.push_back(c.Float(name));
    return values;
  };
}

// f(x, params), or f(x) where f takes no parameters.
template <typename F, typename X>
auto CallUnary(const F& f, X x, const float* params) {
  if constexpr (std::is_invocable_v<const F&, X, const float*>) {
    return f(x, params);
  } else {
    return f(x);
  }
}

// A block function from a stateless callable.
template <typename F>
void UnaryBlock(const float* const* x, int, float* y, int64_t n, const float* params) {
  const float* a = x[0];
  GR_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(CallUnary(F(), a[i], params));
}
template <typename F>
void BinaryBlock(const float* const* x, int, float* y, int64_t n, const float*) {
  const float* a = x[0];
  const float* b = x[1];
  GR_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(F()(a[i], b[i]));
}
// f(a, b) from the left over any number of inputs. Short runs keep their result apart: y may be any
// of the inputs.
template <typename F>
void FoldBlock(const float* const* x, int num_inputs, float* y, int64_t n, const float*) {
  constexpr int64_t kRun = 64;
  float total[kRun];
  for (int64_t at = 0; at < n; at += kRun) {
    const int64_t m = n - at < kRun ? n - at : kRun;
    for (int64_t i = 0; i < m; ++i) total[i] = x[0][at + i];
    for (int k = 1; k < num_inputs; ++k) {
      const float* b = x[k] + at;
      for (int64_t i = 0; i < m; ++i) total[i] = F()(total[i], b[i]);
    }
    for (int64_t i = 0; i < m; ++i) y[at + i] = total[i];
  }
}

// y = f(x, params) for the element types `Types`; R: the result's element type where it is not x's.
template <typename Types, typename R = void, typename F>
KernelFactory NativeUnaryWith(F f, ParamsFn params) {
  return [f, params](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    std::unique_ptr<Kernel> kernel;
    std::vector<float> numbers = params ? params(c) : std::vector<float>();
    DispatchDType(Types(), c.input_dtype(0), [&]<typename T>() {
      using Result = std::conditional_t<std::is_void_v<R>, T, R>;
      kernel = MakeKernel([f, numbers](RunContext& r) {
        const T* x = r.input(0).data<T>();
        Result* y = r.output(0).mutable_data<Result>();
        ParallelFor(r.input(0).num_elements(), 16384, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            y[i] = Result(CallUnary(f, static_cast<Compute<T>>(x[i]), numbers.data()));
          }
        });
        return absl::OkStatus();
      });
    });
    return kernel;
  };
}

// A unary operator on `Types`: `f` for the native kernel, `block` for f32 blocks; both stateless,
// as f(x) or f(x, params). Comes without gradient and samples.
template <typename Types, typename F, typename B>
OpDef UnaryOp(const char* name, int since, std::vector<int> versions, DTypeSet dtypes, F f, B,
              ParamsFn params = nullptr) {
  OpDef def(name, since);
  def.Versions(std::move(versions))
      .Input("X", "T")
      .Output("Y", "T")
      .Types("T", dtypes)
      .Infer(SameAsInput)
      .InPlace(0, 0);
  def.Kernel("block", BlockKernel()).Kernel("native", NativeUnaryWith<Types>(f, params));
  def.PointwiseBlock(&UnaryBlock<B>, std::move(params));
  return def;
}
template <typename Types, typename F>
OpDef UnaryOp(const char* name, int since, std::vector<int> versions, DTypeSet dtypes, F f) {
  return UnaryOp<Types>(name, since, std::move(versions), dtypes, f, f);
}
// On floats.
template <typename F, typename B>
OpDef FloatOp(const char* name, int since, std::vector<int> versions, F f, B block,
              ParamsFn params = nullptr) {
  return UnaryOp<FloatTypes>(name, since, std::move(versions), kFloats, f, block,
                             std::move(params));
}
template <typename F>
OpDef FloatOp(const char* name, int since, std::vector<int> versions, F f) {
  return UnaryOp<FloatTypes>(name, since, std::move(versions), kFloats, f, f);
}

// The body of a binary operator before version 7, when broadcasting was asked for by the attribute
// `broadcast` and lined up B's axes with A's from `axis` on.
void OldBroadcastBody(BodyContext& b);
// Its declaration (version 1), with A's and B's element type in `dtypes`; bool_result: the output
// is bool.
OpDef OldBinaryOp(const char* name, std::vector<int> versions, DTypeSet dtypes, bool bool_result);

}  // namespace graphrun
