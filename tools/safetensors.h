// Weights as a safetensors file: the sizes of a JSON header, the header, the bytes.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/ir/graph.h"

namespace graphrun::cli {

// The initializers of a graph by name, in the format's order: an unsigned 64-bit little-endian
// count of header bytes, {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
// padded by spaces to a multiple of 8, then the tensors one after the other. Returns the names of
// those that the format has no element type for (strings, complex numbers, 4 bits). Errors: kIo.
absl::StatusOr<std::vector<std::string>> WriteSafetensors(const Graph& graph,
                                                          const std::string& path);

}  // namespace graphrun::cli
