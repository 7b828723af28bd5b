#include "runtime/onnx/export.h"

#include <limits>

#include "google/protobuf/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/ir/verify.h"
#include "runtime/onnx/model_proto.h"
#include "runtime/onnx/tensor_proto.h"
#include "runtime/onnx/versions.h"

namespace graphrun {
namespace {

// Weights of more than this go to a file of their own: protobuf's limit is 2 GiB for everything.
constexpr int64_t kMaxInlineBytes = (int64_t{1} << 31) - (int64_t{1} << 26);

absl::StatusOr<std::string> Serialize(const onnx::ModelProto& proto) {
  const size_t bytes = proto.ByteSizeLong();
  if (bytes > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return LimitError("the model takes ", bytes,
                      " bytes; protobuf files end at 2 GiB: write it to a file with external data");
  }
  return proto.SerializeAsString();
}

absl::Status WriteExternal(const std::vector<ExternalTensor>& tensors, const std::string& path) {
  GR_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(path));
  for (const ExternalTensor& t : tensors) {
    GR_RETURN_IF_ERROR(
        file->Append(std::string(static_cast<size_t>(t.offset - file->size()), '\0')));
    GR_RETURN_IF_ERROR(file->Append(PackElements(t.tensor)));
  }
  return file->Commit();
}

}  // namespace

absl::StatusOr<std::string> WriteOnnxBytes(const NamedModel& named, const ExportOptions& options) {
  NamedModel model = named;
  GR_RETURN_IF_ERROR(WrapVersions(options.registry, &model));
  google::protobuf::Arena arena;
  auto* proto = google::protobuf::Arena::CreateMessage<onnx::ModelProto>(&arena);
  EncodeModel(model, {options.value_infos, "", 0}, proto);
  return Serialize(*proto);
}

absl::Status WriteOnnx(const NamedModel& named, absl::string_view path,
                       const ExportOptions& options) {
  NamedModel model = named;
  GR_RETURN_IF_ERROR(WrapVersions(options.registry, &model));
  EncodeOptions encode{options.value_infos, options.external_data, options.external_min_bytes};
  if (encode.location.find('/') != std::string::npos || encode.location == "..") {
    return UsageError("external data \"", encode.location,
                      "\" must be a file name: it lies in the model's folder");
  }
  if (encode.location.empty() && WeightBytes(model) > kMaxInlineBytes)
    encode.location = BaseName(path) + ".data";
  google::protobuf::Arena arena;
  auto* proto = google::protobuf::Arena::CreateMessage<onnx::ModelProto>(&arena);
  const std::vector<ExternalTensor> external = EncodeModel(model, encode, proto);
  auto bytes = Serialize(*proto);
  if (!bytes.ok()) return Annotate(bytes.status(), path);
  if (!external.empty())
    GR_RETURN_IF_ERROR(WriteExternal(external, JoinPath(FolderOf(path), encode.location)));
  return WriteFileAtomic(std::string(path), *bytes);
}

absl::StatusOr<std::string> ExportOnnxBytes(const Graph& graph, const ExportOptions& options) {
  GR_RETURN_IF_ERROR(Verify(graph));
  NamedModel model = NameValues(graph);
  model.training.clear();
  return WriteOnnxBytes(model, options);
}

absl::Status ExportOnnx(const Graph& graph, absl::string_view path, const ExportOptions& options) {
  GR_RETURN_IF_ERROR(Verify(graph));
  NamedModel model = NameValues(graph);
  model.training.clear();
  return WriteOnnx(model, path, options);
}

absl::Status ExportTraining(const Graph& training, absl::Span<Value* const> inference_outputs,
                            absl::string_view path, const ExportOptions& options) {
  GR_RETURN_IF_ERROR(Verify(training));
  return WriteOnnx(NameTraining(training, inference_outputs), path, options);
}

}  // namespace graphrun
