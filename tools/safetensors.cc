#include "tools/safetensors.h"

#include <algorithm>

#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/report/json.h"

namespace graphrun::cli {
namespace {

// "" where the format has no such type.
const char* TypeName(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return "F64";
    case DType::kFloat32:
      return "F32";
    case DType::kFloat16:
      return "F16";
    case DType::kBFloat16:
      return "BF16";
    case DType::kInt64:
      return "I64";
    case DType::kInt32:
      return "I32";
    case DType::kInt16:
      return "I16";
    case DType::kInt8:
      return "I8";
    case DType::kUInt64:
      return "U64";
    case DType::kUInt32:
      return "U32";
    case DType::kUInt16:
      return "U16";
    case DType::kUInt8:
      return "U8";
    case DType::kBool:
      return "BOOL";
    default:
      return "";
  }
}

}  // namespace

absl::StatusOr<std::vector<std::string>> WriteSafetensors(const Graph& graph,
                                                          const std::string& path) {
  std::vector<std::string> left_out;
  std::vector<const Value*> weights;
  for (const Value* v : graph.initializers()) {
    if (TypeName(v->dtype())[0] == 0) {
      left_out.push_back(v->name());
    } else {
      weights.push_back(v);
    }
  }
  // Wide elements first, so that all are aligned.
  std::stable_sort(weights.begin(), weights.end(), [](const Value* a, const Value* b) {
    const int x = DTypeSize(a->dtype()), y = DTypeSize(b->dtype());
    return x != y ? x > y : a->name() < b->name();
  });
  JsonWriter json;
  json.BeginObject().Key("__metadata__").BeginObject().Field("format", "onnx").EndObject();
  int64_t offset = 0;
  for (const Value* v : weights) {
    const Tensor& t = v->initializer();
    const int64_t end = offset + static_cast<int64_t>(t.byte_size());
    json.Key(v->name()).BeginObject().Field("dtype", TypeName(t.dtype()));
    json.Field("shape", std::vector<int64_t>(t.dims().begin(), t.dims().end()));
    json.Field("data_offsets", std::vector<int64_t>{offset, end}).EndObject();
    offset = end;
  }
  std::string header = json.EndObject().Finish();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string size;
  for (int b = 0; b < 8; ++b) size.push_back(static_cast<char>((header.size() >> (8 * b)) & 255));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  GR_RETURN_IF_ERROR(file->Append(size));
  GR_RETURN_IF_ERROR(file->Append(header));
  for (const Value* v : weights) {
    const Tensor& t = v->initializer();
    GR_RETURN_IF_ERROR(file->Append(
        absl::string_view(static_cast<const char*>(t.raw()), static_cast<size_t>(t.byte_size()))));
  }
  GR_RETURN_IF_ERROR(file->Commit());
  return left_out;
}

}  // namespace graphrun::cli
