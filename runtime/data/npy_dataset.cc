// Datasets of npy and npz files: which array is what.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "runtime/base/file.h"
#include "runtime/base/text.h"
#include "runtime/data/columns.h"
#include "runtime/data/formats.h"
#include "runtime/data/gather.h"
#include "runtime/data/npy.h"
#include "runtime/data/zip.h"

namespace graphrun {
namespace {

// Words in names that go together: features and the target that belongs to them.
constexpr struct {
  const char* features;
  const char* target;
} kPairs[] = {{"features", "labels"},
              {"features", "targets"},
              {"images", "labels"},
              {"inputs", "targets"},
              {"data", "labels"},
              {"data", "target"},
              {"X", "y"},
              {"x", "y"},
              {"X", "Y"}};

absl::StatusOr<Tensor> ReadNpyFile(const std::string& path, int64_t budget) {
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, OpenFileStream(path));
  return ReadNpy(stream.get(), budget);
}

// Names that the target of features with this name might have, likeliest first: x_train.npy gives
// y_train.npy.
std::vector<std::string> TargetNames(const std::string& features) {
  std::vector<std::string> names;
  for (const auto& pair : kPairs) {
    const absl::string_view word = pair.features;
    for (size_t at = features.find(word.data()); at != std::string::npos;
         at = features.find(word.data(), at + 1)) {
      const auto letter = [&](size_t i) {
        return i < features.size() &&
               absl::ascii_isalnum(static_cast<unsigned char>(features[i])) != 0;
      };
      if ((at > 0 && letter(at - 1)) || letter(at + word.size())) continue;
      std::string name = features;
      name.replace(at, word.size(), pair.target);
      names.push_back(name);
    }
  }
  return names;
}

// Columns of a table [N, D], as a tensor [N, columns.size()].
absl::StatusOr<Tensor> TakeColumns(const Tensor& table, const std::vector<int>& columns) {
  const int64_t rows = table.dim(0), width = static_cast<int64_t>(columns.size());
  GR_ASSIGN_OR_RETURN(Tensor out, Tensor::Allocate(table.dtype(), {rows, width}));
  const int64_t size = DTypeSize(table.dtype());
  const auto* from = static_cast<const char*>(table.raw());
  auto* to = static_cast<char*>(out.mutable_raw());
  for (int64_t r = 0; r < rows; ++r, from += table.dim(1) * size) {
    for (const int column : columns) {
      std::copy(from + column * size, from + (column + 1) * size, to);
      to += size;
    }
  }
  return out;
}

DatasetOr SplitTable(const std::string& path, const Tensor& table, const DataOptions& options) {
  constexpr int64_t kMaxColumns = 1 << 24;
  if (table.rank() != 2 || table.dim(1) < 1 || table.dim(1) > kMaxColumns) {
    return DataError(path, ": columns are chosen, but the array is ", table.type().ToString(),
                     "; only of an array [rows, columns] columns can be chosen");
  }
  const int count = static_cast<int>(table.dim(1));
  std::vector<Field> fields;
  std::vector<Tensor> columns;
  std::vector<int> target;
  const bool has_target = !options.target.empty() && options.target != "none";
  if (has_target) {
    auto resolved = ResolveColumns(options.target, count, {});
    if (!resolved.ok()) return Annotate(resolved.status(), absl::StrCat(path, ": target"));
    target = *std::move(resolved);
  }
  auto features = options.features.empty()
                      ? absl::StatusOr<std::vector<int>>(OtherColumns(count, target))
                      : ResolveColumns(options.features, count, {});
  if (!features.ok()) return Annotate(features.status(), absl::StrCat(path, ": features"));
  if (features->empty()) return DataError(path, ": no column is left for the features");
  GR_ASSIGN_OR_RETURN(Tensor x, TakeColumns(table, *features));
  GR_RETURN_IF_ERROR(AddFeature(path, "features", std::move(x), &fields, &columns));
  if (has_target) {
    GR_ASSIGN_OR_RETURN(Tensor y, TakeColumns(table, target));
    // A float table may hold labels; whole numbers in one column of it stay what they look like.
    GR_RETURN_IF_ERROR(AddTarget(path, "target", std::move(y), options, &fields, &columns));
  }
  return TensorDataset::Create(path, std::move(fields), std::move(columns));
}

// The first of `wanted` among `names`; -1 for none.
int FindName(const std::vector<std::string>& names, const std::vector<std::string>& wanted) {
  for (const std::string& name : wanted) {
    const auto at = std::find(names.begin(), names.end(), name);
    if (at != names.end()) return static_cast<int>(at - names.begin());
  }
  return -1;
}

}  // namespace

DatasetOr OpenNpy(const std::string& path, const DataOptions& options) {
  const int64_t budget = MemoryBudget(options);
  GR_ASSIGN_OR_RETURN(Tensor x, ReadNpyFile(path, budget));
  std::string target_path;
  if (absl::EndsWith(options.target, ".npy")) {
    target_path = options.target;
  } else if (!options.features.empty() || (!options.target.empty() && options.target != "none")) {
    return SplitTable(path, x, options);
  } else if (options.target.empty()) {
    for (const std::string& name : TargetNames(BaseName(path))) {
      const std::string beside = JoinPath(FolderOf(path), name);
      if (target_path.empty() && FileExists(beside)) target_path = beside;
    }
  }
  std::vector<Field> fields;
  std::vector<Tensor> columns;
  const int64_t left = budget - x.byte_size();
  GR_RETURN_IF_ERROR(AddFeature(path, "features", std::move(x), &fields, &columns));
  if (!target_path.empty()) {
    GR_ASSIGN_OR_RETURN(Tensor y, ReadNpyFile(target_path, left));
    GR_RETURN_IF_ERROR(AddTarget(target_path, "target", std::move(y), options, &fields, &columns));
  }
  return TensorDataset::Create(path, std::move(fields), std::move(columns));
}

DatasetOr OpenNpz(const std::string& path, const DataOptions& options) {
  GR_ASSIGN_OR_RETURN(const std::shared_ptr<const ZipArchive> zip, ZipArchive::Open(path));
  GR_ASSIGN_OR_RETURN(const bool test, WantsTestPart(options));
  std::vector<std::string> names;
  for (const ZipArchive::Member& member : zip->members()) {
    names.push_back(absl::EndsWith(member.name, ".npy")
                        ? member.name.substr(0, member.name.size() - 4)
                        : member.name);
  }
  const auto find = [&](const std::string& name) -> absl::StatusOr<int> {
    const int found = FindName(names, {name});
    if (found >= 0) return found;
    return UsageError(path, ": there is no array \"", name, "\"; there are ",
                      absl::StrJoin(names, ", "), ".", DidYouMean(name, names));
  };
  int64_t left = MemoryBudget(options);
  const auto read = [&](int index) -> absl::StatusOr<Tensor> {
    const auto stream = zip->Read(zip->members()[static_cast<size_t>(index)]);
    auto tensor = ReadNpy(stream.get(), left);
    if (tensor.ok()) left -= tensor->byte_size();
    return tensor;
  };
  const auto spellings = [&](std::initializer_list<const char*> words) {
    std::vector<std::string> all;
    for (const char* word : words) {
      for (const char* suffix : {test ? "_test" : "_train", test ? "test" : "train"}) {
        all.push_back(absl::StrCat(word, suffix));
        all.push_back(absl::StrCat(suffix[0] == '_' ? suffix + 1 : suffix, "_", word));
      }
    }
    if (!test) all.insert(all.end(), words.begin(), words.end());
    return all;
  };
  std::vector<std::pair<std::string, std::string>> inputs = options.inputs;
  if (inputs.empty()) {
    int found = -1;
    if (!options.features.empty()) {
      GR_ASSIGN_OR_RETURN(found, find(options.features));
    } else {
      found =
          FindName(names, spellings({"x", "X", "features", "images", "inputs", "data", "arr_0"}));
      if (found < 0 && names.size() == 1 && !test) found = 0;
    }
    if (found < 0) {
      return DataError(path, ": none of its arrays (", absl::StrJoin(names, ", "),
                       ") is known for the features of the ", test ? "test" : "training",
                       " part; name the array as features");
    }
    inputs.push_back({"features", names[static_cast<size_t>(found)]});
  }
  std::vector<Field> fields;
  std::vector<Tensor> columns;
  for (const auto& input : inputs) {
    GR_ASSIGN_OR_RETURN(const int index, find(input.second));
    GR_ASSIGN_OR_RETURN(Tensor x, read(index));
    GR_RETURN_IF_ERROR(AddFeature(absl::StrCat(path, ": ", input.second), input.first, std::move(x),
                                  &fields, &columns));
  }
  int target = -1;
  if (!options.target.empty() && options.target != "none") {
    GR_ASSIGN_OR_RETURN(target, find(options.target));
  } else if (options.target.empty()) {
    target =
        FindName(names, spellings({"y", "Y", "labels", "label", "targets", "target", "arr_1"}));
  }
  if (target >= 0) {
    GR_ASSIGN_OR_RETURN(Tensor y, read(target));
    GR_RETURN_IF_ERROR(AddTarget(absl::StrCat(path, ": ", names[static_cast<size_t>(target)]),
                                 "target", std::move(y), options, &fields, &columns));
  }
  return TensorDataset::Create(path, std::move(fields), std::move(columns));
}

}  // namespace graphrun
