// A folder with one sub-folder a class, of PNG and JPEG files, decoded when they are asked for.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "runtime/base/file.h"
#include "runtime/data/formats.h"
#include "runtime/data/image.h"

namespace graphrun {
namespace {

constexpr int64_t kMaxImageBytes = int64_t{1} << 30;  // of a file
constexpr int64_t kMaxSide = 1 << 14;                 // of a sample

bool HasImageName(const std::string& name) {
  const std::string lower = absl::AsciiStrToLower(name);
  return absl::EndsWith(lower, ".png") || absl::EndsWith(lower, ".jpg") ||
         absl::EndsWith(lower, ".jpeg");
}

// Images in a format that is not read; leaving them out in silence would lose samples.
bool HasForeignImageName(const std::string& name) {
  const std::string lower = absl::AsciiStrToLower(name);
  for (const char* ending : {".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}) {
    if (absl::EndsWith(lower, ending)) return true;
  }
  return false;
}

std::vector<std::string> SubFolders(const std::string& path) {
  std::vector<std::string> folders;
  const auto names = ListFolder(path);
  if (!names.ok()) return folders;
  for (const std::string& name : *names) {
    if (name[0] != '.' && IsFolder(JoinPath(path, name))) folders.push_back(name);
  }
  return folders;
}

class ImageFolder : public Dataset {
 public:
  static DatasetOr Create(const std::string& path, const DataOptions& options);
  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  std::string name() const override { return path_; }
  absl::Status Get(int64_t row, absl::Span<Tensor> out) const override;

 private:
  enum State : uint8_t { kAbsent, kBusy, kReady };

  absl::Status List(const std::vector<std::string>& classes);
  absl::Status CheckSizes() const;
  absl::StatusOr<Image> Load(size_t row) const;
  void AllocateCache(int64_t limit);
  absl::Status SizeError(const std::string& file, const ImageInfo& info) const;

  std::string path_;
  std::vector<std::string> files_;
  std::vector<int64_t> labels_;
  ImageInfo info_;    // of every sample
  int channels_ = 0;  // asked for; 0: all must have the first one's
  bool resize_ = false;
  mutable Tensor cache_;  // uint8 [rows, C, H, W], or undefined
  mutable std::unique_ptr<std::atomic<uint8_t>[]> states_;
};

absl::Status ImageFolder::List(const std::vector<std::string>& classes) {
  for (size_t label = 0; label < classes.size(); ++label) {
    const std::string folder = JoinPath(path_, classes[label]);
    if (!IsFolder(folder)) continue;
    GR_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
    const size_t before = files_.size();
    for (const std::string& name : names) {
      if (name[0] == '.') continue;
      const std::string file = JoinPath(folder, name);
      if (HasForeignImageName(name)) {
        return DataError(file, ": only PNG and JPEG images are read; convert it or move it away");
      }
      if (!HasImageName(name)) continue;
      files_.push_back(file);
      labels_.push_back(static_cast<int64_t>(label));
    }
    if (files_.size() == before) {
      return DataError(folder,
                       ": has no PNG or JPEG files; each sub-folder is a class and holds "
                       "its images");
    }
  }
  if (files_.empty()) return DataError(path_, ": has no images");
  return absl::OkStatus();
}

absl::Status ImageFolder::SizeError(const std::string& file, const ImageInfo& info) const {
  const bool sizes = info.height != info_.height || info.width != info_.width;
  return DataError(file, ": is ", info.width, " x ", info.height,
                   info.channels == 1 ? " grey" : " RGB", ", but the samples are ", info_.width,
                   " x ", info_.height, info_.channels == 1 ? " grey" : " RGB", "; ",
                   sizes ? "give --image-size HxW to have all resized, or make them the same size"
                         : "give --image-channels 1 or 3 to have all converted");
}

// Only the headers are read: a wrong size is found before training starts.
absl::Status ImageFolder::CheckSizes() const {
  for (const std::string& file : files_) {
    GR_ASSIGN_OR_RETURN(const auto map, MemoryMap::Open(file));
    GR_ASSIGN_OR_RETURN(const ImageInfo info, PeekImage(map->bytes(), file));
    const bool sizes = resize_ || (info.height == info_.height && info.width == info_.width);
    if (!sizes || (channels_ == 0 && info.channels != info_.channels)) {
      return SizeError(file, info);
    }
  }
  return absl::OkStatus();
}

void ImageFolder::AllocateCache(int64_t limit) {
  const auto bytes = CheckedMul(size(), Product(fields_[0].dims));
  if (!bytes || *bytes > limit) return;
  auto cache = Tensor::Allocate(DType::kUInt8, {size(), Product(fields_[0].dims)});
  if (!cache.ok()) return;
  cache_ = *std::move(cache);
  states_ = std::make_unique<std::atomic<uint8_t>[]>(files_.size());
}

DatasetOr ImageFolder::Create(const std::string& path, const DataOptions& options) {
  if (options.height < 0 || options.width < 0 || options.height > kMaxSide ||
      options.width > kMaxSide || (options.height == 0) != (options.width == 0) ||
      (options.channels != 0 && options.channels != 1 && options.channels != 3)) {
    return UsageError(path, ": images of ", options.height, " x ", options.width, " with ",
                      options.channels, " channels are asked for; give both sizes, up to ",
                      kMaxSide, ", and 1 or 3 channels");
  }
  auto dataset = std::make_shared<ImageFolder>();
  dataset->path_ = path;
  const std::vector<std::string> classes =
      options.classes.empty() ? SubFolders(path) : options.classes;
  for (const std::string& folder : SubFolders(path)) {
    if (std::find(classes.begin(), classes.end(), folder) == classes.end()) {
      return DataError(JoinPath(path, folder), ": is none of the classes known from training");
    }
  }
  GR_RETURN_IF_ERROR(dataset->List(classes));
  GR_ASSIGN_OR_RETURN(const auto first, MemoryMap::Open(dataset->files_[0]));
  GR_ASSIGN_OR_RETURN(dataset->info_, PeekImage(first->bytes(), dataset->files_[0]));
  dataset->channels_ = options.channels;
  dataset->resize_ = options.resize;
  ImageInfo& info = dataset->info_;
  if (options.channels != 0) info.channels = options.channels;
  if (options.height != 0) {
    info.height = options.height;
    info.width = options.width;
  }
  dataset->fields_ = {
      {"image", DType::kUInt8, {info.channels, info.height, info.width}, Role::kFeature, {}, 255}};
  if (options.target != "none") {
    dataset->fields_.push_back({"label", DType::kInt64, {}, Role::kTarget, classes});
  }
  GR_RETURN_IF_ERROR(dataset->CheckSizes());
  dataset->AllocateCache(options.cache_bytes);
  return dataset;
}

absl::StatusOr<Image> ImageFolder::Load(size_t row) const {
  const std::string& file = files_[row];
  GR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(file, kMaxImageBytes));
  GR_ASSIGN_OR_RETURN(Image image, DecodeImage(bytes, file, channels_));
  if (resize_) image = ResizeImage(image, info_.height, info_.width);
  if (image.info.height != info_.height || image.info.width != info_.width ||
      image.info.channels != info_.channels) {
    return SizeError(file, image.info);
  }
  return image;
}

absl::Status ImageFolder::Get(int64_t row, absl::Span<Tensor> out) const {
  const auto index = static_cast<size_t>(row);
  if (out.size() > 1 && out[1].is_defined()) {
    *out[1].mutable_data<int64_t>() = labels_[index];
  }
  if (!out[0].is_defined()) return absl::OkStatus();
  const auto bytes = static_cast<size_t>(out[0].num_elements());
  void* to = out[0].mutable_raw();
  uint8_t* kept = cache_.is_defined() ? cache_.mutable_data<uint8_t>() + index * bytes : nullptr;
  if (kept != nullptr && states_[index].load(std::memory_order_acquire) == kReady) {
    std::memcpy(to, kept, bytes);
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const Image image, Load(index));
  std::memcpy(to, image.pixels.data(), bytes);
  uint8_t absent = kAbsent;
  if (kept != nullptr && states_[index].compare_exchange_strong(absent, kBusy)) {
    std::memcpy(kept, to, bytes);
    states_[index].store(kReady, std::memory_order_release);
  }
  return absl::OkStatus();
}

// The folder of the part asked for, where `path` holds train/ and test/ instead of classes.
absl::StatusOr<std::string> PartFolder(const std::string& path, const DataOptions& options) {
  GR_ASSIGN_OR_RETURN(const bool test, WantsTestPart(options));
  const std::vector<std::string> folders = SubFolders(path);
  const auto has = [&](const char* name) {
    return std::find(folders.begin(), folders.end(), name) != folders.end();
  };
  const bool parts = has("train") && (has("test") || has("val") || has("validation"));
  if (!parts) {
    if (!test) return path;
    return DataError(path, ": has no test part; folders train and test are looked for");
  }
  if (!test) return JoinPath(path, "train");
  return JoinPath(path, has("test") ? "test" : has("val") ? "val" : "validation");
}

}  // namespace

bool IsImageFolder(const std::string& path) {
  for (const std::string& folder : SubFolders(path)) {
    const std::string inner = JoinPath(path, folder);
    const auto names = ListFolder(inner);
    if (names.ok() && std::any_of(names->begin(), names->end(), HasImageName)) return true;
    if ((folder == "train" || folder == "test") && IsImageFolder(inner)) return true;
  }
  return false;
}

DatasetOr OpenImageFolder(const std::string& path, const DataOptions& options) {
  GR_ASSIGN_OR_RETURN(const std::string folder, PartFolder(path, options));
  return ImageFolder::Create(folder, options);
}

}  // namespace graphrun
