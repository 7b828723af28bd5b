// The idx format of the MNIST files: big-endian, two zero bytes, element type, rank, sizes, data.
// Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/file.h"
#include "runtime/base/limits.h"
#include "runtime/data/formats.h"

namespace graphrun {
namespace {

DType IdxType(uint8_t code) {
  switch (code) {
    case 0x08:
      return DType::kUInt8;
    case 0x09:
      return DType::kInt8;
    case 0x0B:
      return DType::kInt16;
    case 0x0C:
      return DType::kInt32;
    case 0x0D:
      return DType::kFloat32;
    case 0x0E:
      return DType::kFloat64;
    default:
      return DType::kUndefined;
  }
}

absl::StatusOr<Tensor> ReadIdx(const std::string& path, int64_t budget) {
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, OpenFileStream(path));
  uint8_t head[4];
  GR_RETURN_IF_ERROR(stream->ReadExactly(head, 4, "the idx header"));
  const DType dtype = IdxType(head[2]);
  if (head[0] != 0 || head[1] != 0 || dtype == DType::kUndefined || head[3] == 0 ||
      head[3] > kMaxRank) {
    return DataError(path, ": is no idx file: it starts with the bytes ", head[0], " ", head[1],
                     " ", head[2], " ", head[3],
                     "; 0 0, an element type (8, 9, 11 to 14) and the number of axes (1 to ",
                     kMaxRank, ") belong there");
  }
  Dims dims;
  for (int axis = 0; axis < head[3]; ++axis) {
    uint8_t b[4];
    GR_RETURN_IF_ERROR(stream->ReadExactly(b, 4, "the idx header's sizes"));
    dims.push_back((int64_t{b[0]} << 24) | (int64_t{b[1]} << 16) | (int64_t{b[2]} << 8) | b[3]);
  }
  GR_ASSIGN_OR_RETURN(Tensor t, AllocateFor(*stream, dtype, dims, budget));
  GR_RETURN_IF_ERROR(stream->ReadExactly(t.mutable_raw(), t.byte_size(),
                                         absl::StrCat("an array of sizes ", DimsToString(dims))));
  GR_RETURN_IF_ERROR(stream->ExpectEnd());
  SwapBytes(t.mutable_raw(), t.num_elements(), DTypeSize(dtype));
  return t;
}

// The path itself, or with ".gz" added or removed, whichever is there; "" for none.
std::string Existing(const std::string& path) {
  if (FileExists(path)) return path;
  if (FileExists(path + ".gz")) return path + ".gz";
  if (absl::EndsWith(path, ".gz")) {
    const std::string bare = path.substr(0, path.size() - 3);
    if (FileExists(bare)) return bare;
  }
  return "";
}

// train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte.gz; "" where the name is not of that form.
std::string LabelsPath(const std::string& images) {
  const std::string name = BaseName(images);
  if (!absl::StrContains(name, "images")) return "";
  return JoinPath(FolderOf(images),
                  absl::StrReplaceAll(name, {{"images", "labels"}, {"idx3", "idx1"}}));
}

// The images file of a part in a folder of MNIST's four files; "" where it is not there.
std::string ImagesInFolder(const std::string& folder, bool test) {
  const auto names = ListFolder(folder);
  if (!names.ok()) return "";
  for (const std::string& name : *names) {
    if (!absl::StrContains(name, "images") || !absl::StrContains(name, "idx3")) continue;
    const bool is_test = absl::StrContains(name, "t10k") || absl::StrContains(name, "test");
    if (is_test == test) return JoinPath(folder, name);
  }
  return "";
}

}  // namespace

bool IsIdxFolder(const std::string& path) {
  return !ImagesInFolder(path, false).empty() || !ImagesInFolder(path, true).empty();
}

DatasetOr OpenIdx(const std::string& path, const DataOptions& options) {
  std::string images = path;
  if (IsFolder(path)) {
    GR_ASSIGN_OR_RETURN(const bool test, WantsTestPart(options));
    images = ImagesInFolder(path, test);
    if (images.empty()) {
      return DataError(path, ": has no images file of the ", test ? "test" : "training", " part; ",
                       test ? "t10k-images-idx3-ubyte" : "train-images-idx3-ubyte",
                       " is looked for, with or without .gz");
    }
  }
  const int64_t budget = MemoryBudget(options);
  GR_ASSIGN_OR_RETURN(Tensor x, ReadIdx(images, budget));
  if (x.rank() == 3) x = x.Reshaped({x.dim(0), 1, x.dim(1), x.dim(2)});
  Dims sample(x.dims().begin() + 1, x.dims().end());
  std::vector<Field> fields = {{sample.size() == 3 ? "image" : "features",
                                x.dtype(),
                                sample,
                                Role::kFeature,
                                {},
                                x.dtype() == DType::kUInt8 ? 255.0 : 1.0}};
  std::vector<Tensor> columns = {x};
  const bool named = absl::EndsWith(options.target, ".gz") ||
                     absl::StrContains(options.target, "idx") || FileExists(options.target);
  if (!options.target.empty() && options.target != "none" && !named) {
    return UsageError(images,
                      ": the target of an idx file is the path of its labels file, or none; "
                      "\"",
                      options.target, "\" is not there");
  }
  if (options.target != "none") {
    const std::string wanted = named ? options.target : LabelsPath(images);
    const std::string labels = wanted.empty() ? "" : Existing(wanted);
    if (labels.empty()) {
      return DataError(
          images, ": its labels file ", wanted.empty() ? "" : absl::StrCat("(", wanted, ") "),
          "is not there; put it beside it under MNIST's naming (train-labels-idx1-ubyte "
          "for train-images-idx3-ubyte), name it as target, or say that the target is "
          "none");
    }
    GR_ASSIGN_OR_RETURN(Tensor y, ReadIdx(labels, budget - x.byte_size()));
    if (y.rank() != 1 || y.dim(0) != x.dim(0)) {
      return DataError(labels, ": holds ", DimsToString(y.dims()), " labels, but ", images, " has ",
                       x.dim(0), " images; the files do not belong together");
    }
    fields.push_back({"label", y.dtype(), {}, Role::kTarget, options.classes});
    columns.push_back(y);
  }
  return TensorDataset::Create(images, std::move(fields), std::move(columns));
}

}  // namespace graphrun
