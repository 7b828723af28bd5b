// Transform: a random change of one training sample (augmentation), and chains of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/base/rng.h"
#include "runtime/base/shape.h"
#include "runtime/base/tensor.h"
#include "runtime/data/dataset.h"

namespace graphrun {

// Any number of threads may use a transform at once.
class Transform {
 public:
  virtual ~Transform() = default;

  // As it stands in a specification: "rotate:10".
  virtual std::string ToString() const = 0;

  // The sizes that a sample of these sizes becomes. Errors: DataError where the transform does not
  // fit them; those of this file want images, [H, W] or [C, H, W].
  virtual absl::StatusOr<Dims> OutputDims(const Dims& dims) const = 0;

  // Reads a float32 sample of sizes `dims`, row-major, and writes one of OutputDims(dims). The two
  // do not overlap. Every choice comes from `rng`. REQUIRES: OutputDims(dims) is ok.
  virtual absl::Status Apply(const float* input, const Dims& dims, Rng* rng,
                             float* output) const = 0;

  // About how many nanoseconds an element of the sample takes. Decides only whether other threads
  // are worth waking.
  virtual double Cost() const { return 4; }
};

// A random change of a whole batch, after the changes of its samples: mixup. Any number of threads
// may use one at once.
class BatchTransform {
 public:
  virtual ~BatchTransform() = default;
  // As it stands in a specification: "mixup:0.2".
  virtual std::string ToString() const = 0;
  // Changes fields in place: fields[i] is [rows, sample...] as the loader hands it out, undefined
  // where nobody wants it; roles[i] says what it is. Sizes and types stay. Every choice comes from
  // `rng`.
  virtual absl::Status Apply(absl::Span<Tensor> fields, absl::Span<const Role> roles,
                             Rng* rng) const = 0;
};

// A transform besides those below; it changes samples (`make`) or batches (`make_batch`).
struct TransformKind {
  std::string name;
  std::string provider;  // the plugin that it is from
  std::string form;      // for messages: "mixup[:ALPHA]"
  struct Argument {
    std::string name;
    double initial = 0;       // where it is left out
    double min = 0, max = 0;  // inclusive
    bool required = false, whole = false;
  };
  std::vector<Argument> arguments;  // the required ones first
  std::function<absl::StatusOr<std::shared_ptr<const Transform>>(absl::Span<const double> values,
                                                                 double range)>
      make;
  std::function<absl::StatusOr<std::shared_ptr<const BatchTransform>>(absl::Span<const double>)>
      make_batch;
};

// Transforms in the order in which a specification names them:
//
//   hflip[:P]       mirrors left and right with probability P (0.5)
//   vflip[:P]       mirrors top and bottom
//   rotate:DEG      turns by an angle from [-DEG, DEG] around the centre, bilinear
//   scale:F         zooms by a factor from [1 - F, 1 + F] around the centre, bilinear
//   shift:N         moves by up to N whole pixels along both axes
//   crop:S[:PAD]    pads by PAD on all sides, then cuts out a random window of S x S, or H x W
//   where
//                   S is written "HxW"
//   cutout:S        blanks a square of side S around a random pixel
//   noise:S         adds N(0, (S * range)^2) to every value
//   brightness:F    adds one number from [-F * range, F * range]
//   contrast:F      scales the distance from the sample's mean by a factor from [1 - F, 1 + F]
//
// What comes from outside the image is 0. `range` is the largest value in the nature of the sample
// (Field::range): 255 for pixels. "" and "none" give no transforms.
// Errors: UsageError that names the part, and the transform that was probably meant.
absl::StatusOr<std::vector<std::shared_ptr<const Transform>>> ParseTransforms(
    absl::string_view spec, double range = 1);

// The same and more: `more` holds kinds that may be named besides. What changes batches comes after
// all that changes samples.
struct Augmentation {
  std::vector<std::shared_ptr<const Transform>> transforms;
  std::vector<std::shared_ptr<const BatchTransform>> batch_transforms;
};
absl::StatusOr<Augmentation> ParseAugmentation(absl::string_view spec, double range,
                                               absl::Span<const TransformKind> more);

// The names of the transforms above.
std::vector<std::string> TransformNames();

// Transforms applied one after the other to samples of given sizes.
class TransformChain {
 public:
  // Memory that Apply works in; one for each thread.
  struct Scratch {
    std::vector<float> a, b;
  };

  TransformChain() = default;  // changes nothing
  // Errors: those of OutputDims, with the transform's name.
  static absl::StatusOr<TransformChain> Create(
      std::vector<std::shared_ptr<const Transform>> transforms, Dims input_dims);

  bool empty() const { return transforms_.empty(); }
  const Dims& output_dims() const { return dims_.back(); }
  // About how many nanoseconds a sample takes.
  double Cost() const;

  // The draws are a function of (seed, epoch, row, place in the chain) and nothing else.
  // REQUIRES: !empty().
  absl::Status Apply(const float* input, uint64_t seed, int64_t epoch, int64_t row,
                     Scratch* scratch, float* output) const;

 private:
  std::vector<std::shared_ptr<const Transform>> transforms_;
  std::vector<Dims> dims_{Dims()};  // before each transform, and after the last
};

}  // namespace graphrun
