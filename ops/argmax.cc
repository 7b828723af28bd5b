// ArgMax, ArgMin.
//
// Source: https://onnx.ai/onnx/operators (ArgMax 13, ArgMin 13). Negative axes are of version 11,
// select_last_index of version 12. The first NaN wins over every number, as in NumPy.
#include <algorithm>

#include "ops/native.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferArg(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank()) {
    c.set_output(0, DType::kInt64, Shape());
    return absl::OkStatus();
  }
  // A scalar has one element to choose, along an axis that is not there.
  const int64_t given = c.Int("axis");
  int axis = 0;
  if (x.rank() > 0 || (given != 0 && given != -1)) {
    GR_ASSIGN_OR_RETURN(axis, c.Axis(given, x.rank()));
    if (x[axis].is_number() && x[axis].value() == 0) {
      return c.Error("axis ", axis, " of shape ", x.ToString(),
                     " is empty: there is no element to choose");
    }
  }
  Shape y = Shape::Scalar();
  for (int i = 0; i < x.rank(); ++i) {
    if (i != axis || c.Int("keepdims") != 0) y.Append(i == axis ? Dim(1) : x[i]);
  }
  c.set_output(0, DType::kInt64, std::move(y));
  return absl::OkStatus();
}

// Index of the first (last) element along the middle axis of [outer, size, inner] that beats all
// others.
template <bool kMin, bool kLast, typename T>
void Choose(const T* x, int64_t* y, int64_t outer, int64_t size, int64_t inner) {
  using C = Compute<T>;
  const auto beats = [](C v, C best) {
    const bool better = kMin ? v < best : v > best;
    const bool equal = kLast && (v == best || (v != v && best != best));
    return better || equal || (v != v && best == best);
  };
  ParallelFor(outer, std::max<int64_t>(16384 / std::max<int64_t>(size * inner, 1), 1),
              [&](int64_t begin, int64_t end) {
                constexpr int64_t kBlock = 256;
                C best[kBlock];
                for (int64_t o = begin; o < end; ++o) {
                  for (int64_t k = 0; k < inner; k += kBlock) {
                    const int64_t n = std::min(kBlock, inner - k);
                    const T* from = x + o * size * inner + k;
                    int64_t* to = y + o * inner + k;
                    for (int64_t j = 0; j < n; ++j) {
                      best[j] = static_cast<C>(from[j]);
                      to[j] = 0;
                    }
                    for (int64_t i = 1; i < size; ++i) {
                      for (int64_t j = 0; j < n; ++j) {
                        const C v = static_cast<C>(from[i * inner + j]);
                        const bool take = beats(v, best[j]);
                        best[j] = take ? v : best[j];
                        to[j] = take ? i : to[j];
                      }
                    }
                  }
                }
              });
}

template <bool kMin>
absl::StatusOr<std::unique_ptr<Kernel>> PrepareArg(PrepareContext& c) {
  const Dims dims = c.input_dims(0);
  int64_t outer = 1, size = 1, inner = 1;
  if (!dims.empty()) {
    GR_ASSIGN_OR_RETURN(const int axis,
                        NormalizeAxis(c.Int("axis"), static_cast<int>(dims.size())));
    for (int i = 0; i < static_cast<int>(dims.size()); ++i) {
      (i < axis ? outer : i == axis ? size : inner) *= dims[static_cast<size_t>(i)];
    }
  }
  const bool last = c.Int("select_last_index") != 0;
  std::unique_ptr<Kernel> kernel;
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& r) {
      const T* x = r.input(0).data<T>();
      int64_t* y = r.output(0).mutable_data<int64_t>();
      if (last) {
        Choose<kMin, true>(x, y, outer, size, inner);
      } else {
        Choose<kMin, false>(x, y, outer, size, inner);
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

OpDef Arg(const char* name, KernelFactory kernel) {
  return OpDef(name, 1)
      .Versions({1, 11, 12, 13})
      .Input("data", "T")
      .Output("reduced", "int64")
      .Attr("axis", 0)
      .Attr("keepdims", 1)
      .Attr("select_last_index", 0)
      .Types("T", kNumeric)
      .Infer(InferArg)
      .NotDifferentiable("an index")
      .Kernel("native", std::move(kernel))
      .Try(Sample().In({2, 3, 4}))
      .Try(Sample().In({2, 3, 4}).Attr("axis", 1).Attr("keepdims", 0))
      .Try(Sample().In({3, 40}).Attr("axis", -1))
      .Try(Sample().In({2, 3}).Attr("axis", 2).Refused("axis"))
      .Try(Sample().In({2, 0}).Attr("axis", 1).Refused("is empty"));
}

}  // namespace

void RegisterArgmaxOps(OpRegistry& ops) {
  const Tensor ties = Tensor::Of<float>({2, 3}, {2, 2, 1, 3, 1, 3});
  ops.Add(Arg("ArgMax", PrepareArg<false>)
              .Try(Sample().In(ties).Attr("axis", 1).Gives(Tensor::Of<int64_t>({2, 1}, {0, 0})))
              .Try(Sample()
                       .In(ties)
                       .Attr("axis", 1)
                       .Attr("select_last_index", 1)
                       .Gives(Tensor::Of<int64_t>({2, 1}, {1, 2}))));
  ops.Add(Arg("ArgMin", PrepareArg<true>)
              .Try(Sample()
                       .In(ties)
                       .Attr("axis", 0)
                       .Attr("keepdims", 0)
                       .Gives(Tensor::Of<int64_t>({3}, {0, 1, 0}))));
}

}  // namespace graphrun
