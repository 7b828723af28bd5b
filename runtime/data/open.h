// OpenDataset: a dataset from a file or folder of any of the formats that graphrun reads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/data/dataset.h"

namespace graphrun {

enum class TargetKind {
  kAuto,   // text names classes; whole numbers stay int64, for the loss to decide; others values
  kClass,  // a label: text and numbers that are no class indexes become indexes of sorted names
  kValue,  // float32 [K], whatever it looks like
};

struct DataOptions {
  // "" (found out), "csv", "npy", "npz", "idx", "cifar10", "cifar100", "images".
  std::string format = "";
  // csv: columns, by name or index (negative from the end): "species", "-1", "y1,y2", "y1..y5".
  // "": a column label, target, class or y where the header has one, else the last. npy: a column
  // of the array [N, columns], or the path of another npy file; "": a file beside it (x.npy and
  // y.npy, images and labels, ...). npz: an array; "": y, label(s), target(s), ... cifar100:
  // "coarse" or "fine". "none": the file holds features only.
  std::string target = "";
  TargetKind target_kind = TargetKind::kAuto;
  // Names of classes by index, where they are known: those of the training set, for a validation
  // set. A label that is none of them is an error.
  std::vector<std::string> classes = {};
  // csv, npy: columns, as for `target`; "": all but the target. npz: an array.
  std::string features = "";
  // Several feature fields instead of one: name of the field and its columns (csv) or array (npz).
  std::vector<std::pair<std::string, std::string>> inputs = {};
  // For formats that hold a training and a test part: "train" (also "") or "test".
  std::string part = "";

  char delimiter = 0;  // csv: ',', ';', '\t', '|'; 0: found out
  enum class Header { kAuto, kYes, kNo } header = Header::kAuto;  // csv: does it name the columns?

  // images: sizes of all; 0: those of the first. An image of other sizes is an error, or resized
  // (bilinear, averaging where it shrinks) where `resize`.
  int64_t height = 0, width = 0;
  int channels = 0;  // 1, 3; 0: those of the first
  bool resize = false;
  int64_t cache_bytes = int64_t{1} << 30;  // images: decoded images are kept up to this

  // Of formats that come from elsewhere (DataFormat), by name.
  std::map<std::string, std::string> extra = {};

  // What a dataset may take in memory; 0: three quarters of the machine's. Errors beyond it:
  // kLimit.
  int64_t max_bytes = 0;
};

// A format besides those below.
struct DataFormat {
  std::string name;      // DataOptions::format
  std::string provider;  // the plugin that it is from
  std::string summary;   // one line
  // Whether a path holds this format; `start`: the file's first bytes, up to 512; none of a folder.
  // Empty: it must be named.
  std::function<bool(const std::string& path, absl::string_view start)> recognises;
  std::function<absl::StatusOr<std::shared_ptr<const Dataset>>(const std::string& path,
                                                               const DataOptions& options)>
      open;
};

// Formats, from the first bytes of a file or the names in a folder:
//
//   csv     text, also .gz: one row a line; quotes, a header line, delimiters , ; tab |
//   npy     one array [N, ...]
//   npz     arrays by name, stored or deflated
//   idx     images (or any array [N, ...]), also .gz, with the labels found beside it by MNIST's
//           naming; or the folder of the four files
//   cifar10, cifar100   a binary batch, or the folder of them
//   images  a folder with one sub-folder a class, of PNG and JPEG files
//
// Fields: features float32 (idx, npy and npz: the type of the file; images: uint8 [C, H, W] with
// range 255), targets int64 labels or float32 [K].
// Errors: DataError with file, row and column for what is wrong inside; IoError; UsageError for
// options that make no sense.
absl::StatusOr<std::shared_ptr<const Dataset>> OpenDataset(const std::string& path,
                                                           const DataOptions& options = {},
                                                           absl::Span<const DataFormat> more = {});

// The format that OpenDataset would read the path as. Errors: DataError that lists the formats.
absl::StatusOr<std::string> DetectFormat(const std::string& path,
                                         absl::Span<const DataFormat> more = {});

// The names of the formats above.
std::vector<std::string> DataFormatNames();

}  // namespace graphrun
