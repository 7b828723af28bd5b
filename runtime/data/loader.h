// DataLoader: an endless stream of batches, made ahead of time by worker threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "runtime/base/tensor.h"
#include "runtime/data/dataset.h"
#include "runtime/data/normalizer.h"
#include "runtime/data/sampler.h"
#include "runtime/data/transform.h"

namespace graphrun {

// How a field leaves the loader.
struct FieldFormat {
  bool skip = false;  // not read at all; its tensor stays undefined
  // float32, float64, int32, int64 or the field's own type. kUndefined: float32, but int64 for
  // targets that are whole numbers.
  DType dtype = DType::kUndefined;
  absl::optional<Dims> view;  // sizes of a sample as transforms see it; the field's where not given
  absl::optional<Dims> dims;  // sizes of a sample in the batch; those that transforms leave
  // Applied after the transforms, to float32. None where the model itself normalises.
  absl::optional<Normalizer> normalizer;
};

struct LoaderOptions {
  int64_t batch_size = 32;  // 0: all rows of an epoch
  // Threads that make batches. 0: Next makes them, and the threads of ParallelFor apply the
  // transforms; where those compute between batches, threads beside them would only take their
  // time. kAuto: 0 for a dataset in memory, else 2, which read and decode while others compute.
  static constexpr int kAuto = -1;
  int workers = kAuto;
  int prefetch = 0;   // batches made ahead; 0: two for each worker
  uint64_t seed = 0;  // of the transforms
  // Applied to features that are float32 images; see TransformChain.
  std::vector<std::shared_ptr<const Transform>> transforms;
  // Applied to every batch as it leaves the loader.
  std::vector<std::shared_ptr<const BatchTransform>> batch_transforms;
  std::vector<FieldFormat> formats;  // one for each field of the dataset; empty: the defaults
};

struct Batch {
  int64_t epoch = 0;
  int64_t index = 0;  // within the epoch
  int64_t size = 0;   // rows; the last batch of an epoch may have fewer
  bool last = false;  // of its epoch
  // One for each field of the dataset: [size, dims...]. To be read only: it may be the dataset's
  // own memory.
  std::vector<Tensor> fields;
  // The dataset's rows that these are.
  absl::Span<const int64_t> rows;
};

// The batches are a function of dataset, sampler, options and (epoch, index) alone, not of the
// number of workers. One thread at a time may call a loader.
class DataLoader {
 public:
  // Errors: DataError where there are no rows, or formats, transforms or normalizer do not fit.
  static absl::StatusOr<std::unique_ptr<DataLoader>> Create(std::shared_ptr<const Dataset> dataset,
                                                            std::shared_ptr<const Sampler> sampler,
                                                            LoaderOptions options);
  // Stops the workers; waits for the batches that they are at.
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  int64_t batches_per_epoch() const;
  // Sizes and type of a field in a batch of `size` rows.
  TensorType FieldType(int field, int64_t size) const;

  // The next batch, valid until the next call; after an epoch's last the next epoch begins. An
  // error of the dataset or of a transform arrives where its batch would, and again on every later
  // call.
  absl::StatusOr<const Batch*> Next();

  // Makes batch `index` of `epoch` the next. Cheap where it is the next already. Errors: DataError
  // where the epoch has no such batch.
  absl::Status Seek(int64_t epoch, int64_t index);

 private:
  struct State;
  explicit DataLoader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace graphrun
