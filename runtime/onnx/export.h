// ExportOnnx: Graph to ONNX bytes.
//
// The same graph gives the same bytes. The IR version is the lowest that holds what is written:
// ordinary models of operator set 17 are version 8, which onnx 1.12 reads. Weights are raw_data, or
// lie in one file beside the model.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/ir/graph.h"
#include "runtime/ir/named.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

struct ExportOptions {
  // Types of inner values (value_info), which viewers show.
  bool value_infos = true;
  // The name of the file for weights, in the model's folder: "" for none. A model of 2 GiB or more
  // gets "NAME.onnx.data" in any case.
  std::string external_data;
  // Weights of fewer bytes stay in the model. Files begin tensors at multiples of 64 bytes, those
  // of 64 KiB and more at multiples of 4096.
  int64_t external_min_bytes = 1024;
  // Knows what operators mean at which version, so that nodes of several versions (a gradient
  // appended to an older model) can share one import; see versions.h. Null: newer versions are
  // taken to mean the same.
  const OpRegistry* registry = nullptr;
};

// Writes the graph for inference: states are written as plain initializers. The file appears whole
// or not at all, the weights' file before it. Errors: kIo; kInternal where the graph breaks Verify.
absl::Status ExportOnnx(const Graph& graph, absl::string_view path,
                        const ExportOptions& options = {});

// The same in memory. Errors: kLimit at 2 GiB.
absl::StatusOr<std::string> ExportOnnxBytes(const Graph& graph, const ExportOptions& options = {});

// Writes a training graph: what `inference_outputs` need as the model's graph, the rest and the
// updates of its states as training information (see NameTraining).
absl::Status ExportTraining(const Graph& training, absl::Span<Value* const> inference_outputs,
                            absl::string_view path, const ExportOptions& options = {});

// What both are made of.
absl::Status WriteOnnx(const NamedModel& model, absl::string_view path,
                       const ExportOptions& options = {});
absl::StatusOr<std::string> WriteOnnxBytes(const NamedModel& model,
                                           const ExportOptions& options = {});

}  // namespace graphrun
