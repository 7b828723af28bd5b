// Maps of ai.onnx.ml: ZipMap, DictVectorizer, CastMap.
//
// Source: https://onnx.ai/onnx/operators/index.html (ai.onnx.ml, version 1).
#include <map>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "ops/ml_classes.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.ml";
constexpr char kWhy[] = "gradients do not flow through maps";

absl::Status InferZipMap(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Tensor labels, ClassLabels(c, "classlabels_int64s"));
  GR_RETURN_IF_ERROR(NumRows(c, labels.num_elements()).status());
  c.set_output_type(0, Type::SequenceOf(Type::MapOf(
                           labels.dtype(), Type::Tensor(DType::kFloat32, Shape::Scalar()))));
  return absl::OkStatus();
}

// x [N, K] -> N maps from labels to the K numbers of a row
absl::StatusOr<std::unique_ptr<Kernel>> ZipMapKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const Tensor labels, ClassLabels(c, "classlabels_int64s"));
  return MakeKernel([labels](RunContext& r) {
    const auto [rows, columns] = RowsOf(r.input(0));
    const Tensor x = r.input(0).Clone();
    float* at = const_cast<float*>(x.data<float>());
    std::vector<Datum> maps(static_cast<size_t>(rows));
    for (Datum& map : maps) {
      map.kind = Type::Kind::kMap;
      map.keys = labels;
      map.element = DType::kFloat32;
      for (int64_t k = 0; k < columns; ++k) {
        map.items.emplace_back(Tensor::View(DType::kFloat32, {}, at++, x.owner()));
      }
    }
    r.output_datum(0) = Datum::Sequence(std::move(maps), DType::kFloat32);
    return absl::OkStatus();
  });
}

// The element type of a map's values; undefined where it is not known.
absl::StatusOr<DType> ValueType(const NodeContext& c, const Type& x, DType key) {
  if (!x.is_known()) return DType::kUndefined;
  if (x.kind != Type::Kind::kMap || (x.key != key && key != DType::kUndefined)) {
    return c.Error("input X is ", x.ToString(), " but must be a map",
                   key == DType::kUndefined ? "" : absl::StrCat(" from ", DTypeName(key)));
  }
  return x.element ? x.element->tensor.dtype : DType::kUndefined;
}

absl::StatusOr<Tensor> Vocabulary(const NodeContext& c) {
  const std::vector<int64_t> numbers = c.Ints("int64_vocabulary");
  const std::vector<std::string> strings = c.Strings("string_vocabulary");
  if (numbers.empty() == strings.empty()) {
    return c.Error("exactly one of int64_vocabulary and string_vocabulary must have elements");
  }
  return strings.empty() ? Vector(numbers) : Vector(strings);
}

absl::Status InferDictVectorizer(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Tensor words, Vocabulary(c));
  GR_ASSIGN_OR_RETURN(const DType dtype, ValueType(c, c.input_type(0), words.dtype()));
  c.set_output(0, dtype, Shape({Dim(1), Dim(words.num_elements())}));
  return absl::OkStatus();
}

// The values of `map` at the places of `keys` [K] in a row, which is empty or zero elsewhere. A key
// that the map does not have is left out, as is one of the map that is not among the keys.
template <typename K, typename V>
void Spread(const Datum& map, const Tensor& keys, V* row) {
  absl::flat_hash_map<K, int64_t> place;
  for (int64_t i = 0; i < keys.num_elements(); ++i) place.emplace(keys.data<K>()[i], i);
  for (int64_t i = 0; i < map.keys.num_elements(); ++i) {
    const auto it = place.find(map.keys.data<K>()[i]);
    if (it == place.end()) continue;
    row[it->second] = map.items[static_cast<size_t>(i)].tensor.data<V>()[0];
  }
}

absl::Status CheckMap(const Datum& map, DType keys) {
  if (map.kind != Type::Kind::kMap || map.keys.dtype() != keys) {
    return ModelError("input X is ", map.type().ToString(), " but must be a map from ",
                      DTypeName(keys));
  }
  for (const Datum& item : map.items) {
    if (!item.is_tensor() || item.tensor.num_elements() != 1 ||
        item.tensor.dtype() != map.items[0].tensor.dtype()) {
      return ModelError("the map's values must be single elements of one type");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> DictVectorizerKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const Tensor words, Vocabulary(c));
  const DType known = c.output_dtype(0);
  return MakeKernel([words, known](RunContext& r) -> absl::Status {
    const Datum& map = r.input_datum(0);
    GR_RETURN_IF_ERROR(CheckMap(map, words.dtype()));
    const DType dtype = !map.items.empty()           ? map.items[0].tensor.dtype()
                        : known != DType::kUndefined ? known
                                                     : DType::kFloat32;
    const Tensor zeros = Tensor::Zeros(dtype, {1, words.num_elements()});
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, dtype, zeros.dims()));
    const bool done =
        DispatchDType(TypeList<float, double, int64_t, std::string>(), dtype, [&]<typename V>() {
          V* y = r.output(0).mutable_data<V>();
          std::fill(y, y + words.num_elements(), V());
          if (words.dtype() == DType::kString) {
            Spread<std::string>(map, words, y);
          } else {
            Spread<int64_t>(map, words, y);
          }
        });
    return done ? absl::OkStatus()
                : ModelError("a map to ", DTypeName(dtype), " cannot become a vector");
  });
}

absl::StatusOr<DType> CastTo(const NodeContext& c) {
  const std::string to = c.String("cast_to");
  if (to == "TO_FLOAT") return DType::kFloat32;
  if (to == "TO_INT64") return DType::kInt64;
  if (to == "TO_STRING") return DType::kString;
  return c.Error("attribute cast_to is \"", to, "\" but must be TO_FLOAT, TO_INT64 or TO_STRING");
}

absl::Status InferCastMap(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const DType to, CastTo(c));
  GR_RETURN_IF_ERROR(ValueType(c, c.input_type(0), DType::kInt64).status());
  const std::string form = c.String("map_form");
  const int64_t size = c.Int("max_map");
  if (form != "DENSE" && (form != "SPARSE" || size < 1 || size > (int64_t{1} << 32))) {
    return c.Error("attributes map_form \"", form, "\" and max_map ", size,
                   " must be DENSE, or SPARSE with a positive size");
  }
  c.set_output(0, to, Shape({Dim(1), form == "DENSE" ? Dim() : Dim(size)}));
  return absl::OkStatus();
}

template <typename To>
absl::StatusOr<To> Converted(const Tensor& t) {
  if constexpr (std::is_same_v<To, std::string>) {
    if (t.dtype() == DType::kString) return t.data<std::string>()[0];
    return absl::StrCat(t.AsDouble(0));
  } else {
    double number = 0;
    if (t.dtype() != DType::kString) {
      number = t.AsDouble(0);
    } else if (!absl::SimpleAtod(t.data<std::string>()[0], &number)) {
      return ModelError("\"", t.data<std::string>()[0], "\" in the map is no number");
    }
    if (std::is_integral_v<To> && !(std::fabs(number) < 9.2e18)) {
      return ModelError("the map holds ", number, ", which is no int64");
    }
    return static_cast<To>(number);
  }
}

// Values in the order of their keys (DENSE), or each at the place that its key says (SPARSE).
template <typename To>
absl::Status CastMapTo(RunContext& r, bool dense, int64_t size) {
  const Datum& map = r.input_datum(0);
  GR_RETURN_IF_ERROR(CheckMap(map, DType::kInt64));
  std::map<int64_t, const Tensor*> sorted;
  for (size_t i = 0; i < map.items.size(); ++i) {
    sorted[map.keys.data<int64_t>()[i]] = &map.items[i].tensor;
  }
  if (dense) {
    size = static_cast<int64_t>(sorted.size());
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, kDTypeOf<To>, {1, size}));
  }
  To* y = r.output(0).mutable_data<To>();
  std::fill(y, y + size, To());
  if (std::is_same_v<To, std::string> && !dense) std::fill(y, y + size, To{'0'});
  int64_t next = 0;
  for (const auto& [key, value] : sorted) {
    const int64_t at = dense ? next++ : key;
    if (at < 0 || at >= size) {
      return ModelError("the map's key ", key, " is outside [0, ", size, ")");
    }
    GR_ASSIGN_OR_RETURN(y[at], Converted<To>(*value));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> CastMapKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const DType to, CastTo(c));
  const bool dense = c.String("map_form") == "DENSE";
  const int64_t size = c.Int("max_map");
  return MakeKernel([to, dense, size](RunContext& r) -> absl::Status {
    if (to == DType::kString) return CastMapTo<std::string>(r, dense, size);
    if (to == DType::kInt64) return CastMapTo<int64_t>(r, dense, size);
    return CastMapTo<float>(r, dense, size);
  });
}

Datum MapOf(Tensor keys, std::vector<Tensor> values) {
  Datum map;
  map.kind = Type::Kind::kMap;
  map.keys = std::move(keys);
  map.element = values.empty() ? DType::kFloat32 : values[0].dtype();
  map.items.assign(values.begin(), values.end());
  return map;
}

}  // namespace

void RegisterMlMapsOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  using Strings = std::vector<std::string>;
  ops.Add(OpDef("ZipMap", 1, kDomain)
              .Input("X", "T")
              .Output("Z", "any")
              .Attr("classlabels_int64s", Attr::Kind::kInts)
              .Attr("classlabels_strings", Attr::Kind::kStrings)
              .Types("T", {DType::kFloat32})
              .Infer(InferZipMap)
              .Kernel("native", ZipMapKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample().In({3, 2}).Attr("classlabels_int64s", Ints{0, 1}))
              .Try(Sample().In({2}).Attr("classlabels_strings", Strings{"a", "b"}))
              .Try(Sample().In({0, 2}).Attr("classlabels_int64s", Ints{0, 1}))
              .Try(Sample().In({3, 4}).Attr("classlabels_int64s", Ints{0, 1}).Refused("F = 2")));
  const Datum words = MapOf(Tensor::Of<std::string>({2}, {"c", "a"}),
                            {Tensor::Scalar<int64_t>(8), Tensor::Scalar<int64_t>(4)});
  const Datum numbers =
      MapOf(Tensor::Int64s({7, 3}), {Tensor::Scalar<float>(1.5f), Tensor::Scalar<float>(2.5f)});
  ops.Add(OpDef("DictVectorizer", 1, kDomain)
              .Input("X", "any")
              .Output("Y", "any")
              .Attr("int64_vocabulary", Attr::Kind::kInts)
              .Attr("string_vocabulary", Attr::Kind::kStrings)
              .Infer(InferDictVectorizer)
              .Kernel("native", DictVectorizerKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample()
                       .Container(words)
                       .Attr("string_vocabulary", Strings{"a", "c", "b", "z"})
                       .Gives(Tensor::Of<int64_t>({1, 4}, {4, 8, 0, 0})))
              .Try(Sample().Container(words).Attr("int64_vocabulary", Ints{1}).Refused("int64")));
  ops.Add(OpDef("CastMap", 1, kDomain)
              .Input("X", "any")
              .Output("Y", "any")
              .Attr("cast_to", "TO_FLOAT")
              .Attr("map_form", "DENSE")
              .Attr("max_map", 1)
              .Infer(InferCastMap)
              .Kernel("native", CastMapKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample().Container(numbers).Gives(Tensor::Of<float>({1, 2}, {2.5f, 1.5f})))
              .Try(Sample()
                       .Container(numbers)
                       .Attr("map_form", "SPARSE")
                       .Attr("max_map", 9)
                       .Attr("cast_to", "TO_INT64")
                       .Gives(Tensor::Of<int64_t>({1, 9}, {0, 0, 0, 2, 0, 0, 0, 1, 0})))
              .Try(Sample()
                       .Container(numbers)
                       .Attr("map_form", "SPARSE")
                       .Attr("max_map", 5)
                       .Refused("outside"))
              .Try(Sample().Container(numbers).Attr("cast_to", "TO_BOOL").Refused("TO_FLOAT")));
}

}  // namespace graphrun
