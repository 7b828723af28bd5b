// LabelEncoder of ai.onnx.ml: every element looked up in a table of keys.
//
// Source: https://onnx.ai/onnx/operators/onnx_aionnxml_LabelEncoder.html (1, 2, 4). Version 2
// compares float keys bit by bit; version 4 takes all NaNs for the same key, and 0 and -0 too. Of
// equal keys the last one counts (in version 1 the first).
#include <cmath>
#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.ml";
constexpr DTypeSet kLabels = {DType::kString, DType::kInt64, DType::kFloat32,
                              DType::kInt32,  DType::kInt16, DType::kFloat64};
using KeyTypes = TypeList<std::string, int64_t, float, int32_t, int16_t, double>;

// Element i of `keys` becomes element i of `values`; its last element is for all others.
struct Mapping {
  Tensor keys, values;
};

template <typename T>
Tensor Vector(const std::vector<T>& values) {
  return Tensor::Of<T>({static_cast<int64_t>(values.size())}, absl::Span<const T>(values));
}

// The one of `prefix`s, `prefix`int64s, ... that the node has.
absl::StatusOr<Tensor> Listed(const NodeContext& c, const std::string& prefix) {
  std::vector<Tensor> found;
  if (const Tensor* t = c.TensorAttr(prefix + "tensor")) found.push_back(*t);
  if (c.has_attr(prefix + "strings")) found.push_back(Vector(c.Strings(prefix + "strings")));
  if (c.has_attr(prefix + "int64s")) found.push_back(Vector(c.Ints(prefix + "int64s")));
  if (c.has_attr(prefix + "floats")) found.push_back(Vector(c.Floats(prefix + "floats")));
  if (found.size() != 1) {
    return c.Error("the node has ", found.size(), " attributes ", prefix,
                   "*: exactly one is needed");
  }
  if (!kLabels.Contains(found[0].dtype())) {
    return c.Error(prefix, "tensor is ", DTypeName(found[0].dtype()),
                   " but must be string, int64, int32, int16, float32 or float64");
  }
  return found[0];
}

// `values` and one more element: default_tensor, or the default of the values' type.
absl::StatusOr<Tensor> WithDefault(const NodeContext& c, const Tensor& values) {
  const Tensor* given = c.TensorAttr("default_tensor");
  if (given != nullptr && (given->dtype() != values.dtype() || given->num_elements() != 1)) {
    return c.Error("default_tensor is ", given->type().ToString(), " but must be one element of ",
                   DTypeName(values.dtype()), " as the values are");
  }
  const int64_t n = values.num_elements();
  GR_ASSIGN_OR_RETURN(Tensor all, Tensor::Allocate(values.dtype(), {n + 1}));
  DispatchDType(KeyTypes(), values.dtype(), [&]<typename T>() {
    T* to = all.mutable_data<T>();
    std::copy(values.data<T>(), values.data<T>() + n, to);
    if (given != nullptr) {
      to[n] = given->data<T>()[0];
    } else if constexpr (std::is_same_v<T, std::string>) {
      to[n] = c.String("default_string", "_Unused");
    } else if constexpr (std::is_floating_point_v<T>) {
      to[n] = static_cast<T>(c.Float("default_float", -0.0f));
    } else {
      to[n] = static_cast<T>(c.Int("default_int64", -1));
    }
  });
  return all;
}

absl::StatusOr<Mapping> MappingOf(const NodeContext& c, DType input) {
  Mapping m;
  if (c.def().since() == 1) {
    const std::vector<std::string> classes = c.Strings("classes_strings");
    std::vector<int64_t> numbers(classes.size());
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int64_t>(i);
    m.keys = input == DType::kString ? Vector(classes) : Vector(numbers);
    m.values = input == DType::kString ? Vector(numbers) : Vector(classes);
  } else {
    GR_ASSIGN_OR_RETURN(m.keys, Listed(c, "keys_"));
    GR_ASSIGN_OR_RETURN(m.values, Listed(c, "values_"));
  }
  if (m.keys.num_elements() != m.values.num_elements()) {
    return c.Error("there are ", m.keys.num_elements(), " keys but ", m.values.num_elements(),
                   " values");
  }
  if (input != DType::kUndefined && input != m.keys.dtype()) {
    return c.Error("the input is ", DTypeName(input), " but the keys are ",
                   DTypeName(m.keys.dtype()));
  }
  GR_ASSIGN_OR_RETURN(m.values, WithDefault(c, m.values));
  return m;
}

absl::Status InferLabels(InferContext& c) {
  if (c.def().since() == 1 && c.input_dtype(0) == DType::kUndefined) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const Mapping m, MappingOf(c, c.input_dtype(0)));
  c.set_output(0, m.values.dtype(), c.input_shape(0));
  return absl::OkStatus();
}

// What equal keys have in common: their bits, or the string itself.
template <typename T>
auto KeyOf(const T& value, bool bitwise) {
  if constexpr (std::is_floating_point_v<T>) {
    T v = value;
    if (!bitwise && std::isnan(v)) v = std::numeric_limits<T>::quiet_NaN();
    if (!bitwise && v == 0) v = 0;
    uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof(T));
    return bits;
  } else {
    return value;
  }
}

absl::StatusOr<std::unique_ptr<Kernel>> LabelKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const Mapping m, MappingOf(c, c.input_dtype(0)));
  const int since = c.def().since();
  std::unique_ptr<Kernel> kernel;
  DispatchDType(KeyTypes(), m.keys.dtype(), [&]<typename T>() {
    using Table = absl::flat_hash_map<decltype(KeyOf(T(), true)), int64_t>;
    const bool bitwise = since < 4;
    auto table = std::make_shared<Table>();
    const int64_t n = m.keys.num_elements();
    for (int64_t i = 0; i < n; ++i) {
      auto key = KeyOf(m.keys.data<T>()[i], bitwise);
      if (since > 1) table->insert_or_assign(key, i);
      if (since == 1) table->emplace(key, i);
    }
    const std::shared_ptr<const Table> places = table;
    const Tensor values = m.values;
    kernel = MakeKernel([places, values, bitwise, n](RunContext& r) {
      const T* x = r.input(0).data<T>();
      DispatchWidth(values.dtype(), [&]<typename W>() {
        const W* from = static_cast<const W*>(values.raw());
        W* y = static_cast<W*>(r.output(0).mutable_raw());
        ParallelFor(r.input(0).num_elements(), 2048, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const auto it = places->find(KeyOf(x[i], bitwise));
            y[i] = from[it == places->end() ? n : it->second];
          }
        });
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

OpDef Encoder(int since) {
  OpDef def("LabelEncoder", since, kDomain);
  def.Input("X", "T1")
      .Output("Y", "T2")
      .Attr("default_string", "_Unused")
      .Attr("default_int64", -1)
      .Infer(InferLabels)
      .Kernel("native", LabelKernel)
      .NotDifferentiable("a table of labels");
  if (since == 1) {
    return def.Attr("classes_strings", Attr::Kind::kStrings)
        .Types("T1", {DType::kString, DType::kInt64})
        .Types("T2", {DType::kString, DType::kInt64});
  }
  def.Attr("default_float", -0.0f);
  for (const char* prefix : {"keys_", "values_"}) {
    def.Attr(std::string(prefix) + "strings", Attr::Kind::kStrings)
        .Attr(std::string(prefix) + "int64s", Attr::Kind::kInts)
        .Attr(std::string(prefix) + "floats", Attr::Kind::kFloats);
    if (since == 4) def.Attr(std::string(prefix) + "tensor", Attr::Kind::kTensor);
  }
  if (since == 4) {
    return def.Attr("default_tensor", Attr::Kind::kTensor)
        .Types("T1", kLabels)
        .Types("T2", kLabels);
  }
  constexpr DTypeSet kOld = {DType::kString, DType::kInt64, DType::kFloat32};
  return def.Types("T1", kOld).Types("T2", kOld);
}

}  // namespace

void RegisterMlLabelEncoderOps(OpRegistry& ops) {
  using Strings = std::vector<std::string>;
  using Ints = std::vector<int64_t>;
  using Floats = std::vector<float>;
  ops.Add(Encoder(1)
              .Try(Sample()
                       .In(Tensor::Of<std::string>({4}, {"b", "a", "x", "b"}))
                       .Attr("classes_strings", Strings{"a", "b", "b"})
                       .Gives(Tensor::Of<int64_t>({4}, {1, 0, -1, 1})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2, 2}, {1, 0, -1, 7}))
                       .Attr("classes_strings", Strings{"a", "b"})
                       .Attr("default_string", "none")
                       .Gives(Tensor::Of<std::string>({2, 2}, {"b", "a", "none", "none"}))));
  ops.Add(Encoder(2)
              .Try(Sample()
                       .In(Tensor::Of<std::string>({3}, {"Dori", "Amy", "Sally"}))
                       .Attr("keys_strings", Strings{"Amy", "Sally"})
                       .Attr("values_int64s", Ints{5, 6})
                       .Gives(Tensor::Of<int64_t>({3}, {-1, 5, 6})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {3, 4}))
                       .Attr("keys_int64s", Ints{3})
                       .Attr("values_floats", Floats{0.5f, 1})
                       .Refused("1 keys but 2 values")));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  ops.Add(Encoder(4)
              .Try(Sample()
                       .In(Tensor::Of<std::string>({3}, {"a", "d", "b"}))
                       .Attr("keys_tensor", Tensor::Of<std::string>({2}, {"a", "b"}))
                       .Attr("values_tensor", Tensor::Of<int16_t>({2}, {0, 1}))
                       .Attr("default_tensor", Tensor::Of<int16_t>({1}, {42}))
                       .Gives(Tensor::Of<int16_t>({3}, {0, 42, 1})))
              .Try(Sample()
                       .In(Tensor::Of<double>({4}, {-0.0, std::nan("1"), 2.5, 3}))
                       .Attr("keys_tensor",
                             Tensor::Of<double>({4}, {0.0, static_cast<double>(nan), 2.5, 2.5}))
                       .Attr("values_strings", Strings{"zero", "nan", "first", "last"})
                       .Gives(Tensor::Of<std::string>({4}, {"zero", "nan", "last", "_Unused"})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({0, 3}, {}))
                       .Attr("keys_int64s", Ints{1})
                       .Attr("values_int64s", Ints{2}))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {1, 2}))
                       .Attr("keys_int64s", Ints{1})
                       .Attr("keys_strings", Strings{"a"})
                       .Attr("values_int64s", Ints{2})
                       .Refused("exactly one"))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {1, 2}))
                       .Attr("keys_strings", Strings{"a"})
                       .Attr("values_int64s", Ints{2})
                       .Refused("the keys are string")));
}

}  // namespace graphrun
