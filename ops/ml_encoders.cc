// Encoders of ai.onnx.ml: OneHotEncoder, CategoryMapper, FeatureVectorizer.
//
// Source: https://onnx.ai/onnx/operators/index.html (ai.onnx.ml, version 1). Of equal categories
// the last one counts. FeatureVectorizer cuts inputs that have more columns than inputdimensions
// says, and fills those that have fewer with zeros.
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "ops/ml_classes.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.ml";

// The categories that an input of type `x` is looked up in.
absl::StatusOr<Tensor> Categories(const NodeContext& c, DType x) {
  const std::vector<int64_t> numbers = c.Ints("cats_int64s");
  const std::vector<std::string> strings = c.Strings("cats_strings");
  if (numbers.empty() == strings.empty()) {
    return c.Error("exactly one of cats_int64s and cats_strings must have elements");
  }
  if (x != DType::kUndefined && (x == DType::kString) == strings.empty()) {
    return c.Error("the input is ", DTypeName(x), " but the categories are ",
                   strings.empty() ? "int64" : "string");
  }
  return strings.empty() ? Vector(numbers) : Vector(strings);
}

absl::Status InferOneHot(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Tensor categories, Categories(c, c.input_dtype(0)));
  Shape y = c.input_shape(0);
  if (y.has_rank()) {
    std::vector<Dim> dims;
    for (int i = 0; i < y.rank(); ++i) dims.push_back(y[i]);
    dims.emplace_back(categories.num_elements());
    y = Shape(std::move(dims));
  }
  c.set_output(0, DType::kFloat32, std::move(y));
  return absl::OkStatus();
}

// Numbers are cut to whole ones; what no int64 can hold has no category.
template <typename T>
auto KeyOf(const T& x) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::fabs(x) < T(9.2e18) ? static_cast<int64_t>(x) : std::numeric_limits<int64_t>::min();
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return static_cast<int64_t>(x);
  } else {
    return x;
  }
}

// x [...] -> y [..., K]
absl::StatusOr<std::unique_ptr<Kernel>> OneHotKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const Tensor categories, Categories(c, c.input_dtype(0)));
  const bool zeros = c.Int("zeros") != 0;
  const int64_t width = categories.num_elements();
  std::unique_ptr<Kernel> kernel;
  using Types = TypeList<std::string, float, double, int64_t, int32_t>;
  DispatchDType(Types(), c.input_dtype(0), [&]<typename T>() {
    using Key = decltype(KeyOf(T()));
    absl::flat_hash_map<Key, int64_t> place;
    for (int64_t k = 0; k < width; ++k) place.insert_or_assign(categories.data<Key>()[k], k);
    kernel = MakeKernel([place = std::move(place), zeros, width](RunContext& r) -> absl::Status {
      const T* x = r.input(0).data<T>();
      float* y = r.output(0).mutable_data<float>();
      const int64_t n = r.input(0).num_elements();
      std::fill(y, y + n * width, 0.0f);
      for (int64_t i = 0; i < n; ++i) {
        const auto it = place.find(KeyOf(x[i]));
        if (it != place.end()) {
          y[i * width + it->second] = 1;
        } else if (!zeros) {
          return ModelError("OneHotEncoder: element ", i, " is ", x[i],
                            ", which is no category. Add it, or set zeros to 1");
        }
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::Status InferMapper(InferContext& c) {
  const size_t numbers = c.Ints("cats_int64s").size(), strings = c.Strings("cats_strings").size();
  if (numbers != strings) {
    return c.Error("cats_int64s has ", numbers, " elements but cats_strings ", strings);
  }
  if (c.input_dtype(0) == DType::kUndefined) return absl::OkStatus();
  const bool from_string = c.input_dtype(0) == DType::kString;
  c.set_output(0, from_string ? DType::kInt64 : DType::kString, c.input_shape(0));
  return absl::OkStatus();
}

void MapperBody(BodyContext& b) {
  const bool from_string = b.x(0).dtype() == DType::kString;
  const Attr numbers(b.Ints("cats_int64s")), strings(b.Strings("cats_strings"));
  AttrMap attrs = {
      {from_string ? "keys_strings" : "keys_int64s", from_string ? strings : numbers},
      {from_string ? "values_int64s" : "values_strings", from_string ? numbers : strings},
      {"default_int64", Attr(b.Int("default_int64"))},
      {"default_string", Attr(b.String("default_string"))}};
  b.Return(b.Op("LabelEncoder", {b.x(0)}, std::move(attrs), kDomain));
}

// Columns that input i fills; -1: not known.
absl::StatusOr<int64_t> Columns(const NodeContext& c, int i, const Shape& x) {
  if (x.has_rank() && x.rank() != 1 && x.rank() != 2) {
    return c.Error("input ", i, " has shape ", x.ToString(), " but must be [N, C] or [C]");
  }
  const std::vector<int64_t> given = c.Ints("inputdimensions");
  if (!given.empty()) {
    const auto at = static_cast<size_t>(i);
    if (at >= given.size() || given[at] < 0) {
      return c.Error("inputdimensions must have a size for each of ", c.num_inputs(), " inputs");
    }
    return given[at];
  }
  return x.has_rank() && x[x.rank() - 1].is_number() ? x[x.rank() - 1].value() : -1;
}

absl::Status InferVectorizer(InferContext& c) {
  int64_t sum = 0;
  Dim rows;
  for (int i = 0; i < c.num_inputs(); ++i) {
    const Shape& x = c.input_shape(i);
    GR_ASSIGN_OR_RETURN(const int64_t columns, Columns(c, i, x));
    sum = columns < 0 || sum < 0 ? -1 : sum + columns;
    if (x.has_rank() && rows.is_unknown()) rows = x.rank() == 1 ? Dim(1) : x[0];
  }
  c.set_output(0, DType::kFloat32, Shape({rows, sum < 0 ? Dim() : Dim(sum)}));
  return absl::OkStatus();
}

void VectorizerBody(BodyContext& b) {
  std::vector<Expr> parts;
  for (int i = 0; i < b.num_inputs(); ++i) {
    Expr x = Cast(b.x(i), DType::kFloat32);
    if (!x.shape().has_rank()) return b.Refuse(ModelError("the inputs' ranks must be known"));
    const auto columns = Columns(b, i, x.shape());
    if (!columns.ok()) return b.Refuse(columns.status());
    if (x.shape().rank() == 1) x = Unsqueeze(x, {0});
    const bool same =
        *columns < 0 || (x.shape()[1].is_number() && x.shape()[1].value() == *columns);
    if (!same) {
      const Expr pads = b.builder().Ints({0, 0, 0, *columns});
      x = Slice(b.Op("Pad", {x, pads}), {0}, {*columns}, {1});
    }
    parts.push_back(x);
  }
  b.Return(ConcatAll(std::move(parts), 1));
}

}  // namespace

void RegisterMlEncodersOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  using Strings = std::vector<std::string>;
  ops.Add(OpDef("OneHotEncoder", 1, kDomain)
              .Input("X", "T")
              .Output("Y", "float32")
              .Attr("cats_int64s", Attr::Kind::kInts)
              .Attr("cats_strings", Attr::Kind::kStrings)
              .Attr("zeros", 1)
              .Types("T", kMlNumbers | kStringsOnly)
              .Infer(InferOneHot)
              .Kernel("native", OneHotKernel)
              .NotDifferentiable("constant between the categories")
              .Try(Sample()
                       .In(Tensor::Of<std::string>({2, 1}, {"b", "x"}))
                       .Attr("cats_strings", Strings{"a", "b"})
                       .Gives(Tensor::Of<float>({2, 1, 2}, {0, 1, 0, 0})))
              .Try(Sample()
                       .In(Tensor::Of<float>({3}, {2.5f, 1, std::nanf("")}))
                       .Attr("cats_int64s", Ints{1, 2})
                       .Gives(Tensor::Of<float>({3, 2}, {0, 1, 1, 0, 0, 0})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({1}, {9}))
                       .Attr("cats_int64s", Ints{1})
                       .Attr("zeros", 0)
                       .Refused("no category"))
              .Try(Sample().In({0, 2}).Attr("cats_int64s", Ints{1}))
              .Try(Sample().In({2}).Attr("cats_strings", Strings{"a"}).Refused("are string")));
  ops.Add(OpDef("CategoryMapper", 1, kDomain)
              .Input("X", "T1")
              .Output("Y", "T2")
              .Attr("cats_int64s", Attr::Kind::kInts)
              .Attr("cats_strings", Attr::Kind::kStrings)
              .Attr("default_int64", -1)
              .Attr("default_string", "_Unused")
              .Types("T1", {DType::kString, DType::kInt64})
              .Types("T2", {DType::kString, DType::kInt64})
              .Infer(InferMapper)
              .Body(MapperBody)
              .NotDifferentiable("a table of labels")
              .Try(Sample()
                       .In(Tensor::Of<std::string>({2}, {"cat", "owl"}))
                       .Attr("cats_int64s", Ints{4, 5})
                       .Attr("cats_strings", Strings{"dog", "cat"})
                       .Gives(Tensor::Of<int64_t>({2}, {5, -1})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({1, 2}, {4, 6}))
                       .Attr("cats_int64s", Ints{4, 5})
                       .Attr("cats_strings", Strings{"dog", "cat"})
                       .Attr("default_string", "none")
                       .Gives(Tensor::Of<std::string>({1, 2}, {"dog", "none"})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({1}, {4}))
                       .Attr("cats_int64s", Ints{4})
                       .Refused("cats_strings 0")));
  ops.Add(OpDef("FeatureVectorizer", 1, kDomain)
              .Input("X", "T1", Arity::kVariadic)
              .Output("Y", "float32")
              .Attr("inputdimensions", Attr::Kind::kInts)
              .Types("T1", kMlNumbers)
              .Infer(InferVectorizer)
              .Body(VectorizerBody)
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 2}, {1, 2, 3, 4}))
                       .In(Tensor::Of<float>({2, 1}, {5, 6}))
                       .Attr("inputdimensions", Ints{2, 1})
                       .NoGradient("the result is float32 whatever the input")
                       .Gives(Tensor::Of<float>({2, 3}, {1, 2, 5, 3, 4, 6})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({3}, {1, 2, 3}))
                       .In(Tensor::Of<int64_t>({1}, {4}))
                       .Attr("inputdimensions", Ints{2, 3})
                       .Gives(Tensor::Of<float>({1, 5}, {1, 2, 4, 0, 0})))
              .Try(Sample().In({2, 2, 2}).Refused("[N, C]")));
}

}  // namespace graphrun
