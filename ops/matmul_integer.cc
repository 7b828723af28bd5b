// MatMulInteger and QLinearMatMul: products of 8-bit matrices, summed in 32 bits.
//
// Source: https://onnx.ai/onnx/operators/onnx__MatMulInteger.html (10),
// onnx__QLinearMatMul.html (10, 21). Zero points: a scalar, one for each row of a or column of b,
// or one for each row or column of each matrix of a batch. Rounding is half to even.
#include "ops/int8_onednn.h"
#include "ops/matmul_native.h"
#include "ops/quantized.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Both operands in 32 bits without their zero points, in scratch memory.
struct Widened {
  MatMulShape shape;
  int64_t a_elements, b_elements;

  static Widened Of(PrepareContext& c, int a, int b) {
    Widened w{MatMulShape::Of(c.input_dims(a), c.input_dims(b)), Product(c.input_dims(a)),
              Product(c.input_dims(b))};
    c.Scratch((w.a_elements + w.b_elements) * 4);
    return w;
  }
  // Inputs a and b with zero points at inputs za and zb; sums go to store as in BatchedMatMul.
  template <typename Store>
  void Run(RunContext& r, int a, int b, int za, int zb, Store&& store) const {
    auto* wide_a = static_cast<int32_t*>(r.scratch());
    int32_t* wide_b = wide_a + a_elements;
    const std::vector<double> a_zero = Numbers(r, za), b_zero = Numbers(r, zb);
    const auto rows = static_cast<int64_t>(a_zero.size());
    const auto columns = static_cast<int64_t>(b_zero.size());
    const int64_t k = std::max<int64_t>(shape.k, 1), n = std::max<int64_t>(shape.n, 1);
    Widen(r.input(a), wide_a, [&](int64_t i) {
      return static_cast<int32_t>(a_zero[static_cast<size_t>(rows == 1 ? 0 : i / k % rows)]);
    });
    Widen(r.input(b), wide_b, [&](int64_t i) {
      const int64_t at = i / (k * n) * n + i % n;
      return static_cast<int32_t>(b_zero[static_cast<size_t>(columns == 1 ? 0 : at % columns)]);
    });
    BatchedMatMul(shape, wide_a, wide_b, store);
  }
};

absl::Status CheckZeroPoint(const InferContext& c, int zero, int matrix, bool rows) {
  if (!c.has_input(zero)) return absl::OkStatus();
  const Shape &z = c.input_shape(zero), &m = c.input_shape(matrix);
  if (!z.is_concrete() || !m.is_concrete() || m.rank() == 0) return absl::OkStatus();
  const Dims zs = z.ToDims(), ms = m.ToDims();
  const int64_t count = Product(zs);
  const int64_t per_matrix = m.rank() == 1 ? 1 : rows ? ms[ms.size() - 2] : ms.back();
  int64_t all = per_matrix;
  for (size_t i = 0; i + 2 < ms.size(); ++i) all *= ms[i];
  if (count == 1 || count == per_matrix || count == all) return absl::OkStatus();
  return c.Error("a zero point has shape ", z.ToString(), " but the matrix is ", m.ToString(),
                 ": it must be a scalar or have one element for each ", rows ? "row" : "column");
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeMatMulInteger(PrepareContext& c) {
  const Widened w = Widened::Of(c, 0, 1);
  return MakeKernel([w](RunContext& r) {
    int32_t* y = r.output(0).mutable_data<int32_t>();
    w.Run(r, 0, 1, 2, 3, [&](int64_t batch, int64_t i, int64_t j, const uint32_t* sums, int64_t n) {
      int32_t* row = y + (batch * w.shape.m + i) * w.shape.n + j;
      for (int64_t q = 0; q < n; ++q) row[q] = static_cast<int32_t>(sums[q]);
    });
    return absl::OkStatus();
  });
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeQLinearMatMul(PrepareContext& c) {
  const Widened w = Widened::Of(c, 0, 3);
  std::unique_ptr<Kernel> kernel;
  DispatchDType(TypeList<int8_t, uint8_t>(), c.output_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([w](RunContext& r) {
      const auto at = [](const std::vector<double>& v, int64_t i) {
        return v[v.size() == 1 ? 0 : static_cast<size_t>(i) % v.size()];
      };
      const std::vector<double> a_scale = Numbers(r, 1), b_scale = Numbers(r, 4),
                                y_scale = Numbers(r, 6), y_zero = Numbers(r, 7);
      T* y = r.output(0).mutable_data<T>();
      w.Run(r, 0, 3, 2, 5,
            [&](int64_t batch, int64_t i, int64_t j, const uint32_t* sums, int64_t n) {
              const int64_t line = batch * w.shape.m + i;
              for (int64_t q = 0; q < n; ++q) {
                const double scale = at(a_scale, line) * at(b_scale, batch * w.shape.n + j + q);
                y[line * w.shape.n + j + q] = Saturated<T>(
                    static_cast<double>(static_cast<int32_t>(sums[q])) * scale / at(y_scale, line),
                    at(y_zero, line));
              }
            });
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::StatusOr<std::unique_ptr<Kernel>> FastMatMulInteger(PrepareContext& c) {
  return OneDnnInt8MatMul(c, {0, 2, -1, 1, 3, -1, -1, -1, -1});
}

absl::StatusOr<std::unique_ptr<Kernel>> FastQLinearMatMul(PrepareContext& c) {
  return OneDnnInt8MatMul(c, {0, 2, 1, 3, 5, 4, 6, 7, -1});
}

}  // namespace

void RegisterMatmulIntegerOps(OpRegistry& ops) {
  ops.Add(OpDef("MatMulInteger", 10)
              .Input("A", "T1")
              .Input("B", "T2")
              .Input("a_zero_point", "T1", Arity::kOptional)
              .Input("b_zero_point", "T2", Arity::kOptional)
              .Output("Y", "int32")
              .Types("T1", kBytes)
              .Types("T2", kBytes)
              .Infer([](InferContext& c) -> absl::Status {
                GR_RETURN_IF_ERROR(CheckZeroPoint(c, 2, 0, true));
                GR_RETURN_IF_ERROR(CheckZeroPoint(c, 3, 1, false));
                GR_ASSIGN_OR_RETURN(Shape y,
                                    InferMatMulShape(c, c.input_shape(0), c.input_shape(1)));
                c.set_output(0, DType::kInt32, std::move(y));
                return absl::OkStatus();
              })
              .NotDifferentiable("integer result")
              .Kernel("onednn", FastMatMulInteger)
              .Kernel("native", MakeMatMulInteger)
              .Try(Sample()
                       .In(Tensor::Of<uint8_t>({2, 3}, {11, 7, 3, 10, 6, 2}))
                       .In(Tensor::Of<uint8_t>({3, 2}, {1, 4, 2, 5, 3, 6}))
                       .In(Tensor::Of<uint8_t>({1}, {12}))
                       .In(Tensor::Of<uint8_t>({1}, {0}))
                       .Gives(Tensor::Of<int32_t>({2, 2}, {-38, -83, -44, -98})))
              .Try(Sample()
                       .In(Tensor::Of<int8_t>({2, 1}, {-3, 5}))
                       .In(Tensor::Of<uint8_t>({1, 2}, {200, 7}))
                       .None()
                       .In(Tensor::Of<uint8_t>({2}, {100, 7}))
                       .Gives(Tensor::Of<int32_t>({2, 2}, {-300, 0, 500, 0})))
              .Try(Sample()
                       .In(SomeBytes<uint8_t>({2, 3, 40}))
                       .Variable()
                       .In(SomeBytes<int8_t>({40, 33}, 29))
                       .In(Tensor::Scalar<uint8_t>(77)))
              .Try(Sample()
                       .In(SomeBytes<int8_t>({5, 64}))
                       .Variable()
                       .In(SomeBytes<uint8_t>({64, 16}, 29))
                       .In(Tensor::Scalar<int8_t>(-9))
                       .In(Tensor::Scalar<uint8_t>(128)))
              .Try(Sample()
                       .In(Tensor::Of<int8_t>({2, 1}, {-3, 5}))
                       .In(Tensor::Of<int8_t>({1, 2}, {2, 7}))
                       .In(Tensor::Of<int8_t>({3}, {1, 2, 3}))
                       .Refused("for each row")));
  ops.Add(OpDef("QLinearMatMul", 10)
              .Versions({10, 21})
              .Input("a", "T1")
              .Input("a_scale", "TS")
              .Input("a_zero_point", "T1")
              .Input("b", "T2")
              .Input("b_scale", "TS")
              .Input("b_zero_point", "T2")
              .Input("y_scale", "TS")
              .Input("y_zero_point", "T3")
              .Output("y", "T3")
              .Types("T1", kBytes)
              .Types("T2", kBytes)
              .Types("T3", kBytes)
              .Types("TS", kFloats)
              .Infer([](InferContext& c) -> absl::Status {
                GR_RETURN_IF_ERROR(CheckZeroPoint(c, 2, 0, true));
                GR_RETURN_IF_ERROR(CheckZeroPoint(c, 5, 3, false));
                GR_ASSIGN_OR_RETURN(Shape y,
                                    InferMatMulShape(c, c.input_shape(0), c.input_shape(3)));
                c.set_output(0, c.input_dtype(7), std::move(y));
                return absl::OkStatus();
              })
              .NotDifferentiable("integer result")
              .Kernel("onednn", FastQLinearMatMul)
              .Kernel("native", MakeQLinearMatMul)
              .Try(Sample()
                       .In(Tensor::Of<uint8_t>({1, 2}, {138, 118}))
                       .In(Tensor::Scalar<float>(0.5f))
                       .In(Tensor::Scalar<uint8_t>(128))
                       .In(Tensor::Of<uint8_t>({2, 1}, {130, 120}))
                       .In(Tensor::Scalar<float>(0.25f))
                       .In(Tensor::Scalar<uint8_t>(128))
                       .In(Tensor::Scalar<float>(2.5f))
                       .In(Tensor::Scalar<uint8_t>(10))
                       .Gives(Tensor::Of<uint8_t>({1, 1}, {15})))
              .Try(Sample()
                       .In(SomeBytes<uint8_t>({4, 32}))
                       .Variable()
                       .In(Tensor::Scalar<float>(0.5f))
                       .Constant()
                       .In(Tensor::Scalar<uint8_t>(100))
                       .In(SomeBytes<int8_t>({32, 17}, 29))
                       .In(Tensor::Scalar<float>(0.25f))
                       .Constant()
                       .In(Tensor::Scalar<int8_t>(0))
                       .In(Tensor::Scalar<float>(90.0f))
                       .Constant()
                       .In(Tensor::Scalar<int8_t>(-10))));
}

}  // namespace graphrun
