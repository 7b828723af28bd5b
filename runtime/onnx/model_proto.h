// NamedModel to ModelProto.
#pragma once

#include <string>
#include <vector>

#include "proto/onnx.pb.h"
#include "runtime/base/tensor.h"
#include "runtime/ir/named.h"

namespace graphrun {

// A weight that goes to a file of its own, and where.
struct ExternalTensor {
  Tensor tensor;
  int64_t offset;
};

struct EncodeOptions {
  bool value_infos = true;
  std::string location;  // of external data; "": everything in the message
  int64_t external_min_bytes = 0;
};

// Fills `proto`; returns the initializers that `options` sends elsewhere, by ascending offset.
std::vector<ExternalTensor> EncodeModel(const NamedModel& model, const EncodeOptions& options,
                                        onnx::ModelProto* proto);

// Bytes of all initializers and tensors in attributes, as raw_data.
int64_t WeightBytes(const NamedModel& model);

// The lowest IR version (at least 4) that holds what the message uses.
int64_t LowestIrVersion(const onnx::ModelProto& proto);

}  // namespace graphrun
