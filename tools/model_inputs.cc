#include "tools/model_inputs.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/base/file.h"
#include "runtime/base/rng.h"
#include "runtime/base/text.h"
#include "runtime/data/byte_stream.h"
#include "runtime/data/npy.h"
#include "runtime/data/zip.h"
#include "runtime/onnx/datum_file.h"
#include "runtime/passes/mixed_precision.h"

namespace graphrun::cli {
namespace {

std::vector<std::string> InputNames(const Graph& graph) {
  std::vector<std::string> names;
  for (const Value* v : graph.inputs()) names.push_back(v->name());
  return names;
}

absl::StatusOr<size_t> FindInput(const Graph& graph, const std::string& name,
                                 absl::string_view flag) {
  const std::vector<std::string> names = InputNames(graph);
  const auto it = std::find(names.begin(), names.end(), name);
  if (it != names.end()) return static_cast<size_t>(it - names.begin());
  return UsageError("--", flag, ": the model has no input \"", name, "\"; it has ",
                    absl::StrJoin(names, ", "), ".", DidYouMean(name, names));
}

// "x=..." split; without a name the only input is meant.
absl::StatusOr<std::pair<size_t, std::string>> SplitBinding(const Graph& graph,
                                                            const std::string& text,
                                                            absl::string_view flag) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    if (graph.inputs().size() == 1) return std::make_pair(size_t{0}, text);
    return UsageError("--", flag, " \"", text, "\": which input? Write NAME=...; the model has ",
                      absl::StrJoin(InputNames(graph), ", "));
  }
  GR_ASSIGN_OR_RETURN(const size_t i, FindInput(graph, text.substr(0, equals), flag));
  return std::make_pair(i, text.substr(equals + 1));
}

absl::StatusOr<Tensor> ReadNpyFile(const std::string& path) {
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, OpenFileStream(path));
  return ReadNpy(stream.get(), kMaxReadBytes);
}

// The element type changed to what the input wants, where no number changes its meaning.
absl::StatusOr<Tensor> Convert(const Tensor& t, DType to) {
  if (t.dtype() == to || to == DType::kUndefined) return t;
  GR_ASSIGN_OR_RETURN(Tensor out, Tensor::Allocate(to, t.dims()));
  bool known = false;
  const int64_t n = t.num_elements();
  if (IsInteger(t.dtype()) || t.dtype() == DType::kBool) {
    const std::vector<int64_t> numbers = t.AsInt64s();
    known = DispatchDType(NumericTypes(), to, [&]<typename T>() {
      for (int64_t i = 0; i < n; ++i)
        out.mutable_data<T>()[i] = static_cast<T>(numbers[static_cast<size_t>(i)]);
    });
  } else if (IsFloat(t.dtype())) {
    known = DispatchDType(FloatTypes(), to, [&]<typename T>() {
      for (int64_t i = 0; i < n; ++i) out.mutable_data<T>()[i] = static_cast<T>(t.AsDouble(i));
    });
  }
  if (!known && to == DType::kBool && IsInteger(t.dtype())) {
    for (int64_t i = 0; i < n; ++i) out.mutable_data<bool>()[i] = t.AsDouble(i) != 0;
    known = true;
  }
  if (!known) {
    return UsageError("is ", DTypeName(t.dtype()), "; the input takes ", DTypeName(to));
  }
  return out;
}

absl::StatusOr<Tensor> ParseNumbers(const std::string& text, const TensorType& type) {
  std::vector<double> numbers;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    double number;
    if (!absl::SimpleAtod(part, &number)) {
      return UsageError("\"", text, "\" is neither a file nor numbers with commas between them");
    }
    numbers.push_back(number);
  }
  Tensor t =
      Tensor::Of<double>({static_cast<int64_t>(numbers.size())}, absl::Span<const double>(numbers));
  // Where all sizes but one are known, the numbers say that one.
  if (type.shape.has_rank()) {
    Dims dims;
    int64_t known = 1;
    int open = -1;
    for (const Dim& d : type.shape.dims()) {
      if (!d.is_number() && open >= 0)
        return UsageError("\"", text, "\" does not tell the sizes of ", type.ToString(),
                          "; give a npy file");
      if (!d.is_number()) open = static_cast<int>(dims.size());
      if (d.is_number()) known *= std::max<int64_t>(d.value(), 1);
      dims.push_back(d.is_number() ? d.value() : 1);
    }
    if (open >= 0 && known > 0) dims[static_cast<size_t>(open)] = t.num_elements() / known;
    auto total = NumElements(dims);
    if (!total.ok() || *total != t.num_elements()) {
      return UsageError("has ", t.num_elements(), " numbers; the input is ", type.ToString());
    }
    t = t.Reshaped(dims);
  }
  if (IsInteger(type.dtype) || type.dtype == DType::kBool) {
    Tensor whole(DType::kInt64, t.dims());
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      const double d = t.AsDouble(i);
      if (d != std::floor(d) || std::fabs(d) > 9e15) return UsageError(d, " is no whole number");
      whole.mutable_data<int64_t>()[i] = static_cast<int64_t>(d);
    }
    t = whole;
  }
  return t;
}

absl::Status ReadNpzInputs(const Graph& graph, const std::string& path, std::vector<Datum>* data) {
  GR_ASSIGN_OR_RETURN(const std::shared_ptr<const ZipArchive> zip, ZipArchive::Open(path));
  const std::vector<std::string> names = InputNames(graph);
  bool any = false;
  for (const ZipArchive::Member& member : zip->members()) {
    std::string name = member.name;
    if (absl::EndsWith(name, ".npy")) name.resize(name.size() - 4);
    const auto it = std::find(names.begin(), names.end(), name);
    if (it == names.end()) continue;
    const std::unique_ptr<ByteStream> stream = zip->Read(member);
    GR_ASSIGN_OR_RETURN(Tensor t, ReadNpy(stream.get(), kMaxReadBytes));
    const size_t i = static_cast<size_t>(it - names.begin());
    auto converted = Convert(t, graph.inputs()[i]->dtype());
    if (!converted.ok()) return Annotate(converted.status(), absl::StrCat(path, ": ", name));
    (*data)[i] = *std::move(converted);
    any = true;
  }
  if (any) return absl::OkStatus();
  return UsageError(path, ": has no array named as an input (", absl::StrJoin(names, ", "), ")");
}

}  // namespace

std::vector<FlagSpec> SessionFlags() {
  return {{"threads", "N", "0: all"},
          {"opt", "on,off", "off: no rewrites and fusions"},
          {"precision", "f32,bf16", "bf16: products in bf16, inputs and outputs as they are"},
          TuneKernelsFlag()};
}

FlagSpec TuneKernelsFlag() {
  return {"tune-kernels", "FILE",
          "take each step's fastest kernel: measured where FILE does not say it, kept there"};
}

absl::StatusOr<std::shared_ptr<KernelTuner>> OpenTuner(const Flags& flags) {
  if (!flags.Has("tune-kernels")) return std::shared_ptr<KernelTuner>();
  if (flags.Get("tune-kernels").empty())
    return UsageError("--tune-kernels takes the name of a file, which need not be there yet");
  return KernelTuner::Open(flags.Get("tune-kernels"));
}

absl::StatusOr<SessionOptions> ReadSession(const Flags& flags) {
  SessionOptions options;
  GR_ASSIGN_OR_RETURN(const int64_t threads, flags.Int("threads", 0, 0, 4096));
  options.threads = static_cast<int>(threads);
  GR_ASSIGN_OR_RETURN(options.optimize, flags.OnOff("opt", true));
  GR_ASSIGN_OR_RETURN(options.precision, PrecisionFromName(flags.Get("precision", "f32")));
  GR_ASSIGN_OR_RETURN(options.tuner, OpenTuner(flags));
  return options;
}

std::vector<FlagSpec> InputFlags() {
  return {
      {"input", "NAME=VALUE",
       "a value: a .npy or .pb file, or numbers (x=1,2,3); an .npz without a name gives inputs by "
       "its arrays' names",
       true, 'i'},
      {"random", "", "random values for inputs that have none"},
      {"shape", "NAME=D,D", "sizes of an input that the model leaves open", true},
      {"batch", "N", "the first axis of inputs that leave it open (1)"},
      {"seed", "N", "of random numbers (1)"}};
}

absl::StatusOr<std::vector<Type>> ConcreteInputs(const Graph& graph, const Flags& flags) {
  std::vector<Type> types;
  for (const Value* v : graph.inputs()) types.push_back(v->type());
  std::map<std::string, int64_t> symbols;
  for (const std::string& text : flags.All("shape")) {
    GR_ASSIGN_OR_RETURN(const auto binding, SplitBinding(graph, text, "shape"));
    Dims dims;
    for (absl::string_view part :
         absl::StrSplit(binding.second, absl::ByAnyChar(",x"), absl::SkipEmpty())) {
      int64_t d;
      if (!absl::SimpleAtoi(part, &d) || d < 0) {
        return UsageError("--shape \"", text,
                          "\": sizes are whole numbers with commas between them");
      }
      dims.push_back(d);
    }
    Type& type = types[binding.first];
    const Shape& declared = type.tensor.shape;
    bool fits = !declared.has_rank() || static_cast<size_t>(declared.rank()) == dims.size();
    for (size_t a = 0; fits && declared.has_rank() && a < dims.size(); ++a) {
      const Dim& d = declared[static_cast<int>(a)];
      fits = !d.is_number() || d.value() == dims[a];
      if (d.is_symbol()) symbols[d.symbol()] = dims[a];
    }
    if (!type.is_tensor() || !fits) {
      return UsageError("--shape \"", text, "\": the model's input is ", type.ToString());
    }
    type.tensor.shape = Shape::Of(dims);
  }
  GR_ASSIGN_OR_RETURN(const int64_t batch, flags.Int("batch", 1, 1));
  for (Type& type : types) {
    if (!type.is_tensor() || !type.tensor.shape.has_rank()) continue;
    for (int a = 0; a < type.tensor.shape.rank(); ++a) {
      Dim& d = type.tensor.shape[a];
      if (d.is_number()) continue;
      const auto it = symbols.find(d.symbol());
      d = Dim(d.is_symbol() && it != symbols.end() ? it->second : a == 0 ? batch : 1);
    }
  }
  return types;
}

absl::StatusOr<Tensor> RandomTensor(const TensorType& type, uint64_t seed) {
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(type.dtype, type.shape.ToDims()));
  Rng rng(seed);
  const int64_t n = t.num_elements();
  const bool is_float = IsFloat(type.dtype);
  bool known = DispatchDType(NumericTypes(), type.dtype, [&]<typename T>() {
    for (int64_t i = 0; i < n; ++i) {
      t.mutable_data<T>()[i] = is_float ? static_cast<T>(rng.Normal())
                                        : static_cast<T>(static_cast<int64_t>(rng.Below(10)));
    }
  });
  if (type.dtype == DType::kBool) {
    for (int64_t i = 0; i < n; ++i) t.mutable_data<bool>()[i] = rng.Below(2) == 1;
    known = true;
  }
  if (type.dtype == DType::kString) {
    for (int64_t i = 0; i < n; ++i)
      t.mutable_data<std::string>()[i] = absl::StrCat("word", rng.Below(10));
    known = true;
  }
  if (!known) return UsageError("there are no random numbers of type ", DTypeName(type.dtype));
  return t;
}

absl::StatusOr<Datum> RandomDatum(const Type& type, int64_t batch, uint64_t seed) {
  constexpr size_t kItems = 3;
  const auto item = [&](uint64_t i) { return RandomDatum(*type.element, batch, Mix(seed, i)); };
  if (type.is_tensor() && type.tensor.shape.has_rank()) {
    TensorType tensor = type.tensor;
    for (int a = 0; a < tensor.shape.rank(); ++a) {
      if (!tensor.shape[a].is_number()) tensor.shape[a] = Dim(a == 0 ? batch : 1);
    }
    GR_ASSIGN_OR_RETURN(Tensor t, RandomTensor(tensor, seed));
    return Datum(std::move(t));
  }
  if (type.kind == Type::Kind::kOptional && type.element != nullptr) {
    GR_ASSIGN_OR_RETURN(Datum value, item(0));
    return Datum::Optional(std::move(value));
  }
  const bool map = type.kind == Type::Kind::kMap;
  if ((!map && type.kind != Type::Kind::kSequence) || type.element == nullptr) {
    return UsageError("there are no random values of ", type.ToString(),
                      "; give --input or --shape");
  }
  Datum all;
  all.kind = type.kind;
  for (size_t i = 0; i < kItems; ++i) {
    GR_ASSIGN_OR_RETURN(Datum value, item(i));
    all.element = value.is_tensor() ? value.tensor.dtype() : value.element;
    all.items.push_back(std::move(value));
  }
  if (!map) return all;
  all.keys = Tensor(type.key, {static_cast<int64_t>(kItems)});
  for (size_t i = 0; i < kItems; ++i) {
    if (type.key == DType::kString) {
      all.keys.mutable_data<std::string>()[i] = absl::StrCat("word", i);
    } else if (type.key == DType::kInt64) {
      all.keys.mutable_data<int64_t>()[i] = static_cast<int64_t>(i);
    } else {
      return UsageError("there are no random keys of type ", DTypeName(type.key));
    }
  }
  return all;
}

absl::StatusOr<Datum> ReadValue(const std::string& text, const Type& type) {
  if (absl::EndsWith(text, ".pb")) {
    GR_ASSIGN_OR_RETURN(NamedDatum named, ReadDatum(text, type));
    return std::move(named.datum);
  }
  Tensor t;
  if (absl::EndsWith(text, ".npy")) {
    GR_ASSIGN_OR_RETURN(t, ReadNpyFile(text));
  } else if (FileExists(text)) {
    return UsageError(text, ": values come from .npy, .npz and .pb files");
  } else {
    GR_ASSIGN_OR_RETURN(t, ParseNumbers(text, type.tensor));
  }
  GR_ASSIGN_OR_RETURN(t, Convert(t, type.tensor.dtype));
  return Datum(std::move(t));
}

absl::StatusOr<std::vector<Datum>> ReadInputs(const Graph& graph, const Flags& flags, bool random) {
  std::vector<Datum> data(graph.inputs().size());
  for (const std::string& text : flags.All("input")) {
    if (absl::EndsWith(text, ".npz") && !absl::StrContains(text, "=")) {
      GR_RETURN_IF_ERROR(ReadNpzInputs(graph, text, &data));
      continue;
    }
    GR_ASSIGN_OR_RETURN(const auto binding, SplitBinding(graph, text, "input"));
    auto value = ReadValue(binding.second, graph.inputs()[binding.first]->type());
    if (!value.ok()) return Annotate(value.status(), absl::StrCat("--input ", text));
    data[binding.first] = *std::move(value);
  }
  GR_ASSIGN_OR_RETURN(const int64_t seed, flags.Int("seed", 1, 0));
  GR_ASSIGN_OR_RETURN(const int64_t batch, flags.Int("batch", 1, 1));
  GR_ASSIGN_OR_RETURN(const std::vector<Type> types, ConcreteInputs(graph, flags));
  std::vector<std::string> missing;
  for (size_t i = 0; i < data.size(); ++i) {
    const Value* input = graph.inputs()[i];
    if (data[i].kind != Type::Kind::kUnknown || input->is_initializer()) continue;
    if (!random && !flags.On("random")) {
      missing.push_back(absl::StrCat(input->name(), " ", input->type().ToString()));
    } else {
      auto value = RandomDatum(types[i], batch, Mix(static_cast<uint64_t>(seed), i));
      if (!value.ok())
        return Annotate(value.status(), absl::StrCat("input \"", input->name(), "\""));
      data[i] = *std::move(value);
    }
  }
  if (!missing.empty()) {
    return UsageError("no value for ", absl::StrJoin(missing, ", "),
                      ": give --input NAME=FILE.npy, or --random");
  }
  return data;
}

}  // namespace graphrun::cli
