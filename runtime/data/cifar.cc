// CIFAR-10 and CIFAR-100 in their binary form: records of one label byte (CIFAR-100: coarse, then
// fine) and 3 x 32 x 32 pixels. Source: A. Krizhevsky, "Learning multiple layers of features from
// tiny images", 2009, and the page of the files.
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "runtime/base/file.h"
#include "runtime/data/formats.h"

namespace graphrun {
namespace {

constexpr int64_t kPixels = 3 * 32 * 32;

// The names of the classes, where the folder has the file that lists them.
std::vector<std::string> ReadClassNames(const std::string& path, size_t count) {
  const auto text = ReadFile(path, 1 << 20);
  std::vector<std::string> names;
  if (!text.ok()) return names;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    const absl::string_view name = absl::StripAsciiWhitespace(line);
    if (!name.empty()) names.emplace_back(name);
  }
  if (names.size() != count) names.clear();
  return names;
}

std::vector<std::string> BatchFiles(const std::string& folder, bool hundred, bool test) {
  if (hundred) return {JoinPath(folder, test ? "test.bin" : "train.bin")};
  if (test) return {JoinPath(folder, "test_batch.bin")};
  std::vector<std::string> files;
  for (int i = 1; i <= 5; ++i) {
    const std::string file = JoinPath(folder, absl::StrCat("data_batch_", i, ".bin"));
    if (FileExists(file)) files.push_back(file);
  }
  return files;
}

}  // namespace

bool IsCifar10Folder(const std::string& path) {
  return FileExists(JoinPath(path, "data_batch_1.bin")) ||
         FileExists(JoinPath(path, "test_batch.bin"));
}

bool IsCifar100Folder(const std::string& path) {
  return FileExists(JoinPath(path, "train.bin")) || FileExists(JoinPath(path, "test.bin"));
}

DatasetOr OpenCifar(const std::string& path, const DataOptions& options, bool fine_classes) {
  const bool hundred = fine_classes;
  const int64_t head = hundred ? 2 : 1, record = head + kPixels;
  const bool coarse = options.target == "coarse";
  if (!options.target.empty() && options.target != "none" &&
      !(hundred && (coarse || options.target == "fine"))) {
    return UsageError(path, ": the target of CIFAR files is ",
                      hundred ? "fine, coarse or none" : "the label or none", "; \"",
                      options.target, "\" was given");
  }
  std::vector<std::string> files = {path};
  if (IsFolder(path)) {
    GR_ASSIGN_OR_RETURN(const bool test, WantsTestPart(options));
    files = BatchFiles(path, hundred, test);
  }
  int64_t rows = 0;
  for (const std::string& file : files) {
    GR_ASSIGN_OR_RETURN(const int64_t size, FileSize(file));
    if (size == 0 || size % record != 0) {
      return DataError(file, ": has ", size, " bytes, which is no whole number of records of ",
                       record, "; is it complete, and CIFAR-", hundred ? 100 : 10, "?");
    }
    rows += size / record;
  }
  if (rows == 0) return DataError(path, ": has no data_batch_1.bin to data_batch_5.bin");
  if (rows * record > MemoryBudget(options)) {
    return LimitError(path, ": ", rows, " images take ", rows * record,
                      " bytes, more than a dataset may take here");
  }
  GR_ASSIGN_OR_RETURN(Tensor x, Tensor::Allocate(DType::kUInt8, {rows, 3, 32, 32}));
  GR_ASSIGN_OR_RETURN(Tensor y, Tensor::Allocate(DType::kUInt8, {rows}));
  const int classes = hundred ? (coarse ? 20 : 100) : 10;
  uint8_t* pixels = x.mutable_data<uint8_t>();
  uint8_t* labels = y.mutable_data<uint8_t>();
  std::vector<uint8_t> bytes(static_cast<size_t>(record));
  int64_t row = 0;
  for (const std::string& file : files) {
    GR_ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, OpenFileStream(file));
    for (int64_t in_file = 0;; ++in_file) {
      GR_ASSIGN_OR_RETURN(const int64_t got, stream->Read(bytes.data(), record));
      if (got == 0) break;
      if (got < record || row == rows) return DataError(file, ": changed while it was read");
      const uint8_t label = bytes[hundred && !coarse ? 1 : 0];
      if (label >= classes) {
        return DataError(file, ": row ", in_file, ": label ", label, " is out of range for ",
                         classes, " classes; is this CIFAR-", hundred ? 100 : 10, "?");
      }
      labels[row] = label;
      std::memcpy(pixels + row * kPixels, bytes.data() + head, kPixels);
      ++row;
    }
  }
  if (row != rows) return DataError(path, ": changed while it was read");
  const std::string folder = IsFolder(path) ? path : FolderOf(path);
  const char* names = !hundred ? "batches.meta.txt"
                      : coarse ? "coarse_label_names.txt"
                               : "fine_label_names.txt";
  std::vector<Field> fields = {{"image", DType::kUInt8, {3, 32, 32}, Role::kFeature, {}, 255}};
  std::vector<Tensor> columns = {x};
  if (options.target != "none") {
    fields.push_back({"label",
                      DType::kUInt8,
                      {},
                      Role::kTarget,
                      ReadClassNames(JoinPath(folder, names), static_cast<size_t>(classes))});
    columns.push_back(y);
  }
  return TensorDataset::Create(path, std::move(fields), std::move(columns));
}

}  // namespace graphrun
