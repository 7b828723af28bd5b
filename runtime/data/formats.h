// One reader for each format; OpenDataset says what they make, DataOptions what they obey.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/data/byte_stream.h"
#include "runtime/data/open.h"

namespace graphrun {

using DatasetOr = absl::StatusOr<std::shared_ptr<const Dataset>>;

DatasetOr OpenCsv(const std::string& path, const DataOptions& options);
DatasetOr OpenNpy(const std::string& path, const DataOptions& options);
DatasetOr OpenNpz(const std::string& path, const DataOptions& options);
DatasetOr OpenIdx(const std::string& path, const DataOptions& options);
// `fine_classes`: CIFAR-100's files.
DatasetOr OpenCifar(const std::string& path, const DataOptions& options, bool fine_classes);
DatasetOr OpenImageFolder(const std::string& path, const DataOptions& options);

// True for a folder that the reader knows by the names in it.
bool IsIdxFolder(const std::string& path);
bool IsCifar10Folder(const std::string& path);
bool IsCifar100Folder(const std::string& path);
bool IsImageFolder(const std::string& path);

// The bytes that these options allow a dataset in memory.
int64_t MemoryBudget(const DataOptions& options);

// A tensor of that type and these sizes, whose bytes are to come from `stream`: its size is checked
// against the stream and the budget before memory is asked for. Errors: DataError, LimitError.
absl::StatusOr<Tensor> AllocateFor(const ByteStream& stream, DType dtype, const Dims& dims,
                                   int64_t budget);

// Turns big-endian elements of `size` bytes (1, 2, 4 or 8) into this machine's, or back.
void SwapBytes(void* data, int64_t count, int size);

// Ok where every element of a float column [N, ...] is finite. Errors: DataError with row, element.
absl::Status CheckFinite(const std::string& name, const Tensor& column);

// A column [N], [N, 1] or [N, K] as a target field of that kind, converted where it must be.
// Errors: DataError for labels that are no whole numbers, where classes are wanted.
absl::Status AddTarget(const std::string& name, absl::string_view field, Tensor column,
                       const DataOptions& options, std::vector<Field>* fields,
                       std::vector<Tensor>* columns);
// A column [N, ...] as a feature field.
absl::Status AddFeature(const std::string& name, absl::string_view field, Tensor column,
                        std::vector<Field>* fields, std::vector<Tensor>* columns);

// "train" or "test" of options.part. Errors: UsageError.
absl::StatusOr<bool> WantsTestPart(const DataOptions& options);

}  // namespace graphrun
