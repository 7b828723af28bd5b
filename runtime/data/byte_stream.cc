#include "runtime/data/byte_stream.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "runtime/base/limits.h"
#include "runtime/base/shape.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

constexpr int64_t kBlock = 1 << 18;
constexpr int kGzip = 15 + 16;  // window bits: a gzip wrapper
constexpr int kRaw = -15;       // window bits: no wrapper

// zlib's inflate as an object. Closed by its destructor.
class Inflater {
 public:
  explicit Inflater(int window_bits) { ready_ = inflateInit2(&z_, window_bits) == Z_OK; }
  ~Inflater() {
    if (ready_) inflateEnd(&z_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  bool ready() const { return ready_; }
  z_stream& z() { return z_; }

 private:
  z_stream z_{};
  bool ready_ = false;
};

class PlainFile : public ByteStream {
 public:
  PlainFile(std::string name, FILE* file, int64_t size)
      : name_(std::move(name)), file_(file), size_(size) {}
  ~PlainFile() override { std::fclose(file_); }
  absl::StatusOr<int64_t> Read(void* to, int64_t count) override {
    const size_t got = std::fread(to, 1, static_cast<size_t>(count), file_);
    if (std::ferror(file_)) return IoError(name_, ": cannot be read: ", std::strerror(errno));
    return static_cast<int64_t>(got);
  }
  int64_t max_size() const override { return size_; }
  const std::string& name() const override { return name_; }

 private:
  std::string name_;
  FILE* file_;
  int64_t size_;
};

class GzipFile : public ByteStream {
 public:
  explicit GzipFile(std::unique_ptr<ByteStream> file)
      : file_(std::move(file)), inflater_(kGzip), block_(kBlock) {}

  absl::StatusOr<int64_t> Read(void* to, int64_t count) override {
    if (!inflater_.ready()) return LimitError(name(), ": no memory to unpack it");
    z_stream& z = inflater_.z();
    int64_t done = 0;
    while (done < count && !finished_) {
      if (z.avail_in == 0) GR_RETURN_IF_ERROR(Fill());
      if (z.avail_in == 0) {
        if (between_members_) {
          finished_ = true;
          break;
        }
        return DataError(name(), ": the compressed data ends in the middle; is the file complete?");
      }
      if (between_members_) {
        // gzip files may be strung together, and padded with zeros.
        while (z.avail_in > 0 && *z.next_in == 0) ++z.next_in, --z.avail_in;
        if (z.avail_in == 0) continue;
        inflateReset(&z);
        between_members_ = false;
      }
      const int64_t wish = std::min(count - done, int64_t{1} << 30);
      z.next_out = static_cast<Bytef*>(to) + done;
      z.avail_out = static_cast<uInt>(wish);
      const int result = inflate(&z, Z_NO_FLUSH);
      done += wish - static_cast<int64_t>(z.avail_out);
      if (result == Z_STREAM_END) {
        between_members_ = true;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return DataError(name(), ": the compressed data is damaged",
                         z.msg != nullptr ? absl::StrCat(" (", z.msg, ")") : "");
      }
    }
    return done;
  }
  int64_t max_size() const override {
    return CheckedMul(file_->max_size(), kMaxInflation).value_or(kMaxTensorBytes);
  }
  const std::string& name() const override { return file_->name(); }

 private:
  absl::Status Fill() {
    GR_ASSIGN_OR_RETURN(const int64_t got, file_->Read(block_.data(), kBlock));
    inflater_.z().next_in = block_.data();
    inflater_.z().avail_in = static_cast<uInt>(got);
    return absl::OkStatus();
  }

  std::unique_ptr<ByteStream> file_;
  Inflater inflater_;
  std::vector<Bytef> block_;
  bool between_members_ = false;
  bool finished_ = false;
};

class Memory : public ByteStream {
 public:
  Memory(std::string name, absl::string_view bytes, bool deflated, int64_t size, uint32_t crc)
      : name_(std::move(name)), bytes_(bytes), deflated_(deflated), size_(size), crc_(crc) {}

  absl::StatusOr<int64_t> Read(void* to, int64_t count) override {
    count = std::min(count, size_ - done_);
    if (count == 0) return 0;
    if (deflated_) {
      GR_RETURN_IF_ERROR(Unpack(static_cast<Bytef*>(to), count));
    } else {
      std::memcpy(to, bytes_.data() + done_, static_cast<size_t>(count));
    }
    for (int64_t i = 0; i < count; i += kBlock) {
      sum_ = static_cast<uint32_t>(crc32(sum_, static_cast<const Bytef*>(to) + i,
                                         static_cast<uInt>(std::min(kBlock, count - i))));
    }
    done_ += count;
    if (done_ == size_ && sum_ != crc_) {
      return DataError(name_, ": the data is damaged (its checksum differs)");
    }
    return count;
  }
  int64_t max_size() const override { return size_; }
  const std::string& name() const override { return name_; }

 private:
  absl::Status Unpack(Bytef* to, int64_t count) {
    if (inflater_ == nullptr) inflater_ = std::make_unique<Inflater>(kRaw);
    if (!inflater_->ready()) return LimitError(name_, ": no memory to unpack it");
    z_stream& z = inflater_->z();
    for (int64_t done = 0; done < count;) {
      const int64_t give = std::min(static_cast<int64_t>(bytes_.size()) - taken_, kBlock);
      z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes_.data())) + taken_;
      z.avail_in = static_cast<uInt>(give);
      const int64_t wish = std::min(count - done, int64_t{1} << 30);
      z.next_out = to + done;
      z.avail_out = static_cast<uInt>(wish);
      const int result = inflate(&z, Z_NO_FLUSH);
      const int64_t got = wish - static_cast<int64_t>(z.avail_out);
      taken_ += give - static_cast<int64_t>(z.avail_in);
      done += got;
      const bool stuck = got == 0 && give == static_cast<int64_t>(z.avail_in);
      if ((result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) ||
          (done < count && (stuck || result == Z_STREAM_END))) {
        return DataError(name_, ": the compressed data is damaged or cut off");
      }
    }
    return absl::OkStatus();
  }

  std::string name_;
  absl::string_view bytes_;
  bool deflated_;
  int64_t size_;
  uint32_t crc_;
  uint32_t sum_ = 0;
  int64_t done_ = 0, taken_ = 0;
  std::unique_ptr<Inflater> inflater_;
};

}  // namespace

absl::Status ByteStream::ReadExactly(void* to, int64_t count, absl::string_view what) {
  GR_ASSIGN_OR_RETURN(const int64_t got, Read(to, count));
  if (got == count) return absl::OkStatus();
  return DataError(name(), ": ", what, " should take ", count, " bytes, but the file ends after ",
                   got, " of them; is it complete?");
}

absl::Status ByteStream::ExpectEnd() {
  char byte;
  GR_ASSIGN_OR_RETURN(const int64_t got, Read(&byte, 1));
  if (got == 0) return absl::OkStatus();
  return DataError(name(), ": there is more data than the header says; the file is damaged");
}

absl::StatusOr<std::unique_ptr<ByteStream>> OpenFileStream(const std::string& path) {
  FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return IoError(path, ": cannot be opened: ", std::strerror(errno));
  struct stat info;
  int64_t size = kMaxTensorBytes;
  if (fstat(fileno(file), &info) == 0) {
    if (S_ISREG(info.st_mode)) size = info.st_size;
    if (S_ISDIR(info.st_mode)) {
      std::fclose(file);
      return IoError(path, ": is a folder, not a file");
    }
  }
  const int first = std::fgetc(file), second = first == 0x1f ? std::fgetc(file) : -1;
  // A pipe cannot be rewound; it gives back one byte only.
  const bool gzip = first == 0x1f && second == 0x8b;
  if (first != 0x1f) {
    if (first != EOF) std::ungetc(first, file);
  } else if (std::fseek(file, 0, SEEK_SET) != 0) {
    std::fclose(file);
    return IoError(path, ": compressed data is read from files only; unpack it first");
  }
  auto plain = std::make_unique<PlainFile>(path, file, size);
  if (!gzip) return plain;
  return std::make_unique<GzipFile>(std::move(plain));
}

std::unique_ptr<ByteStream> MemoryStream(std::string name, absl::string_view bytes, bool deflated,
                                         int64_t size, uint32_t crc) {
  return std::make_unique<Memory>(std::move(name), bytes, deflated, size, crc);
}

}  // namespace graphrun
