// Models named on the command line, and values for their inputs.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exec/session.h"
#include "runtime/ir/graph.h"
#include "tools/flags.h"

namespace graphrun::cli {

// The flags that ReadSession reads: --threads, --opt, --precision, --tune-kernels.
std::vector<FlagSpec> SessionFlags();
absl::StatusOr<SessionOptions> ReadSession(const Flags& flags);

// --tune-kernels FILE; null where it is not given.
FlagSpec TuneKernelsFlag();
absl::StatusOr<std::shared_ptr<KernelTuner>> OpenTuner(const Flags& flags);

// The flags that ReadInputs reads: --input, --random, --shape, --batch, --seed.
std::vector<FlagSpec> InputFlags();

// The types of a graph's inputs made concrete: --shape NAME=2,3, --batch for the first axis where
// it is not fixed, 1 for every other symbol or unknown size. Unknown types stay as they are.
// Errors: kUsage.
absl::StatusOr<std::vector<Type>> ConcreteInputs(const Graph& graph, const Flags& flags);

// A value for each input: from --input (npy, npz, pb files or numbers), the input's default, or
// a random one, as RandomDatum, where --random is given or `random`.
// Errors: kUsage naming the inputs that have no value.
absl::StatusOr<std::vector<Datum>> ReadInputs(const Graph& graph, const Flags& flags, bool random);

// Random elements of that type: floats from N(0, 1), integers from 0 to 9, strings "word0" to
// "word9". REQUIRES a concrete tensor type. Errors: kUsage for other element types.
absl::StatusOr<Tensor> RandomTensor(const TensorType& type, uint64_t seed);

// A random value: a tensor whose open first axis is `batch` and whose other open axes are 1; three
// items of a sequence or map; an optional that is there. Errors: kUsage for other types.
absl::StatusOr<Datum> RandomDatum(const Type& type, int64_t batch, uint64_t seed);

// A file's value: npy, pb; or "1,2,3" as numbers of that type.
absl::StatusOr<Datum> ReadValue(const std::string& text, const Type& type);

}  // namespace graphrun::cli
