// ImportOnnx: ONNX bytes to Graph.
//
// Source: ONNX's IR.md and onnx.proto, IR versions 1 to 14. All errors of a model's form are found
// here; what operators mean is not looked at. Errors say which file, which field, what was received
// and what to do; kinds: kModel, kIo, kLimit.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/ir/graph.h"
#include "runtime/ir/named.h"

namespace graphrun {

// The model's inference graph. Weights that lie in other files (external data) stay mapped to them;
// those files must be in the model's folder or below.
absl::StatusOr<std::unique_ptr<Graph>> ImportOnnx(absl::string_view path);

// The same from bytes. `folder` is where external data is looked for; "": a model with external
// data is refused.
absl::StatusOr<std::unique_ptr<Graph>> ImportOnnxBytes(absl::string_view bytes,
                                                       absl::string_view folder = "");

// The whole model by names, training information included: ResolveNames, ResolveTraining and
// ResolveInitialization make graphs of it. Sparse tensors become dense ones; device configurations
// and quantization annotations are not kept.
absl::StatusOr<NamedModel> ReadOnnx(absl::string_view path);
absl::StatusOr<NamedModel> ReadOnnxBytes(absl::string_view bytes, absl::string_view folder = "");

}  // namespace graphrun
