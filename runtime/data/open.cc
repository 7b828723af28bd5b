#include "runtime/data/open.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "runtime/base/file.h"
#include "runtime/base/limits.h"
#include "runtime/base/text.h"
#include "runtime/data/formats.h"

namespace graphrun {
namespace {

struct Format {
  const char* name;
  DatasetOr (*open)(const std::string& path, const DataOptions& options);
  bool (*is_folder)(const std::string& path);  // null where the format is a file
};

DatasetOr OpenCifar10(const std::string& path, const DataOptions& options) {
  return OpenCifar(path, options, false);
}
DatasetOr OpenCifar100(const std::string& path, const DataOptions& options) {
  return OpenCifar(path, options, true);
}

// Folders are tried in this order.
constexpr Format kFormats[] = {
    {"csv", OpenCsv, nullptr},
    {"npy", OpenNpy, nullptr},
    {"npz", OpenNpz, nullptr},
    {"idx", OpenIdx, IsIdxFolder},
    {"cifar10", OpenCifar10, IsCifar10Folder},
    {"cifar100", OpenCifar100, IsCifar100Folder},
    {"images", OpenImageFolder, IsImageFolder},
};

std::vector<std::string> AllNames(absl::Span<const DataFormat> more) {
  std::vector<std::string> names = DataFormatNames();
  for (const DataFormat& format : more) names.push_back(format.name);
  return names;
}

// The added format that recognises the path; null: none.
const DataFormat* Recognise(absl::Span<const DataFormat> more, const std::string& path,
                            absl::string_view start) {
  for (const DataFormat& format : more) {
    if (format.recognises && format.recognises(path, start)) return &format;
  }
  return nullptr;
}

bool IsIdxStart(absl::string_view bytes) {
  return bytes.size() >= 4 && bytes[0] == 0 && bytes[1] == 0 && bytes[2] >= 8 && bytes[2] <= 14 &&
         bytes[3] >= 1 && bytes[3] <= kMaxRank;
}

bool IsText(absl::string_view bytes) {
  return !bytes.empty() && std::all_of(bytes.begin(), bytes.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 32 || c == '\n' || c == '\r' || c == '\t';
  });
}

}  // namespace

std::vector<std::string> DataFormatNames() {
  std::vector<std::string> names;
  for (const Format& format : kFormats) names.push_back(format.name);
  return names;
}

absl::StatusOr<std::string> DetectFormat(const std::string& path,
                                         absl::Span<const DataFormat> more) {
  if (!FileExists(path)) {
    return IoError(path, ": there is no such file or folder; is the path of the data right?");
  }
  if (IsFolder(path)) {
    for (const Format& format : kFormats) {
      if (format.is_folder != nullptr && format.is_folder(path)) return std::string(format.name);
    }
    if (const DataFormat* format = Recognise(more, path, "")) return format->name;
    return DataError(path,
                     ": is a folder, but holds neither idx files (train-images-idx3-ubyte), "
                     "nor CIFAR batches (data_batch_1.bin, train.bin), nor a sub-folder of images "
                     "for each class");
  }
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, OpenFileStream(path));
  std::string start(512, '\0');
  GR_ASSIGN_OR_RETURN(const int64_t got,
                      stream->Read(&start[0], static_cast<int64_t>(start.size())));
  start.resize(static_cast<size_t>(got));
  if (start.empty()) return DataError(path, ": is empty");
  if (absl::StartsWith(start, "\x93NUMPY")) return std::string("npy");
  if (absl::StartsWith(start, "PK\x03\x04") || absl::StartsWith(start, "PK\x05\x06")) {
    return std::string("npz");
  }
  const std::string name = absl::AsciiStrToLower(BaseName(path));
  const bool bin = absl::EndsWith(name, ".bin");
  if (!bin && IsIdxStart(start)) return std::string("idx");
  if (bin) {
    constexpr int64_t kPixels = 3 * 32 * 32;
    GR_ASSIGN_OR_RETURN(const int64_t size, FileSize(path));
    const bool ten = size % (kPixels + 1) == 0, hundred = size % (kPixels + 2) == 0;
    if (ten && !(hundred && (name == "train.bin" || name == "test.bin"))) {
      return std::string("cifar10");
    }
    if (hundred) return std::string("cifar100");
  }
  if (const DataFormat* format = Recognise(more, path, start)) return format->name;
  if (IsText(start)) return std::string("csv");
  return DataError(path, ": its format is not known; graphrun reads ",
                   absl::StrJoin(AllNames(more), ", "), ". Say which it is with the format");
}

DatasetOr OpenDataset(const std::string& path, const DataOptions& options,
                      absl::Span<const DataFormat> more) {
  std::string name = options.format;
  if (name.empty()) {
    GR_ASSIGN_OR_RETURN(name, DetectFormat(path, more));
  }
  for (const Format& format : kFormats) {
    if (name == format.name) return format.open(path, options);
  }
  for (const DataFormat& format : more) {
    if (name == format.name) return format.open(path, options);
  }
  const std::vector<std::string> names = AllNames(more);
  return UsageError("there is no data format \"", name, "\"; there are ",
                    absl::StrJoin(names, ", "), ".", DidYouMean(name, names));
}

}  // namespace graphrun
