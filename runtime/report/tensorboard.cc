#include "runtime/report/tensorboard.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/report/plot.h"

namespace graphrun {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr char kPrefix[] = "events.out.tfevents.";

// Protobuf's wire format.
void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

template <typename T>
void AppendFixed(T value, std::string* out) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

void AppendDouble(int field, double value, std::string* out) {
  AppendVarint(static_cast<uint64_t>(field) << 3 | 1, out);
  AppendFixed(value, out);
}

void AppendBytes(int field, absl::string_view bytes, std::string* out) {
  AppendVarint(static_cast<uint64_t>(field) << 3 | 2, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes.data(), bytes.size());
}

void AppendPackedDoubles(int field, absl::Span<const double> values, std::string* out) {
  AppendBytes(field,
              absl::string_view(reinterpret_cast<const char*>(values.data()), values.size() * 8),
              out);
}

// Event.step of an encoded event; 0 where it has none, as for the version; nothing where the bytes
// are no event of ours.
absl::optional<int64_t> StepOf(absl::string_view event) {
  if (event.size() < 9 || event[0] != 0x09) return absl::nullopt;
  event.remove_prefix(9);
  if (event.empty() || event[0] != 0x10) return 0;
  uint64_t step = 0;
  for (size_t i = 1; i < event.size() && i <= 10; ++i) {
    step |= static_cast<uint64_t>(event[i] & 0x7f) << (7 * (i - 1));
    if ((event[i] & 0x80) == 0) return static_cast<int64_t>(step);
  }
  return absl::nullopt;
}

// Bytes of the sound records at the start of `bytes` that are not beyond `last_step`.
size_t KeptRecords(absl::string_view bytes, int64_t last_step) {
  size_t kept = 0;
  for (;;) {
    const absl::string_view rest = bytes.substr(kept);
    uint64_t length;
    uint32_t length_sum, data_sum;
    if (rest.size() < 16) return kept;
    std::memcpy(&length, rest.data(), 8);
    std::memcpy(&length_sum, rest.data() + 8, 4);
    if (length > rest.size() - 16 || length_sum != MaskedCrc32c(rest.substr(0, 8))) return kept;
    const absl::string_view data = rest.substr(12, length);
    std::memcpy(&data_sum, rest.data() + 12 + length, 4);
    if (data_sum != MaskedCrc32c(data)) return kept;
    const absl::optional<int64_t> step = StepOf(data);
    if (!step || *step > last_step) return kept;
    kept += 16 + length;
  }
}

std::string HostName() {
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0') return "localhost";
  return name;
}

}  // namespace

uint32_t Crc32c(absl::string_view bytes) {
  static constexpr auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78u : 0u);
      table[i] = crc;
    }
    return table;
  }();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

uint32_t MaskedCrc32c(absl::string_view bytes) {
  return std::rotr(Crc32c(bytes), 15) + 0xa282ead8u;
}

absl::StatusOr<std::unique_ptr<TensorBoardWriter>> TensorBoardWriter::Open(
    const std::string& folder, const TensorBoardOptions& options) {
  std::unique_ptr<TensorBoardWriter> writer(new TensorBoardWriter());
  writer->clock_ = options.clock;
  if (writer->clock_ == nullptr) {
    writer->clock_ = [] {
      return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
          .count();
    };
  }
  std::string name;
  AppendFile::Keep keep;
  if (options.resume_step) {
    GR_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
    for (const std::string& candidate : names) {
      if (absl::StartsWith(candidate, kPrefix)) name = candidate;
    }
    const int64_t last = *options.resume_step;
    keep = [last](absl::string_view bytes) -> absl::StatusOr<size_t> {
      return KeptRecords(bytes, last);
    };
  }
  if (name.empty()) {
    name =
        absl::StrFormat("%s%010d.%s", kPrefix, static_cast<int64_t>(writer->clock_()), HostName());
  }
  GR_ASSIGN_OR_RETURN(writer->file_, AppendFile::Open(JoinPath(folder, name), keep));
  if (writer->file_->empty()) {
    std::string version;
    AppendBytes(3, "brain.Event:2", &version);
    GR_RETURN_IF_ERROR(writer->WriteEvent(0, version));
  }
  return writer;
}

absl::Status TensorBoardWriter::WriteEvent(int64_t step, absl::string_view rest) {
  std::string event;
  AppendDouble(1, clock_(), &event);
  if (step != 0) {
    event.push_back(0x10);
    AppendVarint(static_cast<uint64_t>(step), &event);
  }
  event.append(rest.data(), rest.size());
  std::string record;
  AppendFixed<uint64_t>(event.size(), &record);
  AppendFixed(MaskedCrc32c(record), &record);
  record += event;
  AppendFixed(MaskedCrc32c(event), &record);
  return file_->Append(record);
}

absl::Status TensorBoardWriter::Scalar(absl::string_view tag, int64_t step, double value) {
  std::string entry, summary, event;
  AppendBytes(1, tag, &entry);
  entry.push_back(0x15);  // field 2, 32 bits
  AppendFixed(static_cast<float>(value), &entry);
  AppendBytes(1, entry, &summary);
  AppendBytes(5, summary, &event);
  return WriteEvent(step, event);
}

absl::Status TensorBoardWriter::Distribution(absl::string_view tag, int64_t step,
                                             absl::Span<const float> values) {
  const Histogram shape = Histogram::Of(values, 30);
  double low = 0, high = 0, sum = 0, squares = 0;
  int64_t count = 0;
  for (const float v : values) {
    if (!std::isfinite(v)) continue;
    const auto x = static_cast<double>(v);
    low = count == 0 ? x : std::min(low, x);
    high = count == 0 ? x : std::max(high, x);
    sum += x;
    squares += x * x;
    ++count;
  }
  if (count == 0) return absl::OkStatus();
  std::string histogram, entry, summary, event;
  AppendDouble(1, low, &histogram);
  AppendDouble(2, high, &histogram);
  AppendDouble(3, static_cast<double>(count), &histogram);
  AppendDouble(4, sum, &histogram);
  AppendDouble(5, squares, &histogram);
  AppendPackedDoubles(6, absl::MakeConstSpan(shape.edges).subspan(1), &histogram);
  AppendPackedDoubles(7, shape.counts, &histogram);
  AppendBytes(1, tag, &entry);
  AppendBytes(5, histogram, &entry);
  AppendBytes(1, entry, &summary);
  AppendBytes(5, summary, &event);
  return WriteEvent(step, event);
}

}  // namespace graphrun
