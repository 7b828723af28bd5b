#include "runtime/data/csv.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

constexpr size_t kBlock = 1 << 18;
constexpr size_t kMaxRecord = 64 << 20;
constexpr char kDelimiters[] = {',', ';', '\t', '|'};

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

absl::string_view Trim(absl::string_view s, char delimiter) {
  while (!s.empty() && IsBlank(s.front()) && s.front() != delimiter) s.remove_prefix(1);
  while (!s.empty() && IsBlank(s.back()) && s.back() != delimiter) s.remove_suffix(1);
  return s;
}

// How often each delimiter stands in each of the first complete lines, outside quotes. The one with
// the same number in all of them wins, then the one with more; none at all: a comma.
char GuessDelimiter(absl::string_view text) {
  constexpr size_t kLines = 20;
  char best = ',';
  std::pair<bool, int> best_score = {false, 0};
  for (const char delimiter : kDelimiters) {
    std::vector<int> counts;
    int count = 0;
    bool quoted = false, blank = true;
    for (const char c : text) {
      if (c == '"') quoted = !quoted;
      if (c == '\n' && !quoted) {
        if (!blank) counts.push_back(count);
        if (counts.size() == kLines) break;
        count = 0;
        blank = true;
        continue;
      }
      blank = blank && c == '\r';
      if (c == delimiter && !quoted) ++count;
    }
    if (counts.empty()) counts.push_back(count);
    const bool even =
        std::all_of(counts.begin(), counts.end(), [&](int n) { return n == counts[0]; });
    const std::pair<bool, int> score = {even && counts[0] > 0, counts[0]};
    if (score > best_score) {
      best_score = score;
      best = delimiter;
    }
  }
  return best;
}

}  // namespace

bool ParseNumber(absl::string_view text, double* value) {
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (begin != end && *begin == '+' && end - begin > 1 && begin[1] != '-') ++begin;
  const auto result = std::from_chars(begin, end, *value);
  if (result.ptr != end || begin == end) return false;
  if (result.ec == std::errc::result_out_of_range) {
    // Too small becomes 0, too large infinite: strtod tells which.
    *value = std::strtod(std::string(begin, end).c_str(), nullptr);
    return true;
  }
  return result.ec == std::errc();
}

absl::StatusOr<std::unique_ptr<CsvReader>> CsvReader::Open(std::unique_ptr<ByteStream> stream,
                                                           char delimiter) {
  auto reader = std::unique_ptr<CsvReader>(new CsvReader());
  reader->stream_ = std::move(stream);
  GR_RETURN_IF_ERROR(reader->Fill());
  if (reader->buffer_.compare(0, 3, "\xEF\xBB\xBF") == 0) reader->at_ = 3;
  reader->delimiter_ = delimiter != 0
                           ? delimiter
                           : GuessDelimiter(absl::string_view(reader->buffer_).substr(reader->at_));
  return reader;
}

absl::Status CsvReader::Error(absl::string_view what) const {
  return DataError(stream_->name(), ": line ", record_line_, ": ", what);
}

absl::Status CsvReader::Fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  // As much again as there is, so that a long record is scanned a logarithmic number of times.
  const size_t old = buffer_.size(), more = std::max(kBlock, old);
  buffer_.resize(old + more);
  GR_ASSIGN_OR_RETURN(const int64_t got, stream_->Read(&buffer_[old], static_cast<int64_t>(more)));
  buffer_.resize(old + static_cast<size_t>(got));
  ended_ = static_cast<size_t>(got) < more;
  return absl::OkStatus();
}

// Sets `end` to where the record at at_ ends: at its line break, or the end of the file.
absl::Status CsvReader::FindRecord(size_t* end) {
  while (true) {
    bool quoted = false;
    size_t i = at_;
    for (; i < buffer_.size(); ++i) {
      const char c = buffer_[i];
      if (c == '"') quoted = !quoted;
      if (!quoted && (c == '\n' || (c == '\r' && (i + 1 < buffer_.size() || ended_)))) {
        *end = i;
        return absl::OkStatus();
      }
    }
    if (i - at_ > kMaxRecord) {
      return Error(quoted ? "a quote (\") is never closed"
                          : "is longer than 64 MiB; is this a text file?");
    }
    if (ended_) {
      if (quoted) return Error("a quote (\") is never closed");
      *end = buffer_.size();
      return absl::OkStatus();
    }
    GR_RETURN_IF_ERROR(Fill());
  }
}

absl::StatusOr<bool> CsvReader::Next(std::vector<absl::string_view>* fields) {
  while (true) {
    record_line_ = line_;
    size_t end = 0;
    GR_RETURN_IF_ERROR(FindRecord(&end));
    if (end == at_ && end == buffer_.size()) return false;
    const absl::string_view record(buffer_.data() + at_, end - at_);
    const bool windows =
        end + 1 < buffer_.size() && buffer_[end] == '\r' && buffer_[end + 1] == '\n';
    at_ = std::min(end + (windows ? 2 : 1), buffer_.size());
    line_ += 1 + std::count(record.begin(), record.end(), '\n');
    if (record.empty()) continue;
    GR_RETURN_IF_ERROR(SplitRecord(record, fields));
    return true;
  }
}

absl::Status CsvReader::SplitRecord(absl::string_view record,
                                    std::vector<absl::string_view>* fields) {
  fields->clear();
  unquoted_.clear();
  unquoted_.reserve(record.size());  // views into it stay valid
  if (std::memchr(record.data(), 0, record.size()) != nullptr) {
    return Error("holds a null byte; is this a text file?");
  }
  size_t at = 0;
  while (true) {
    size_t begin = at;
    while (begin < record.size() && IsBlank(record[begin]) && record[begin] != delimiter_) ++begin;
    if (begin == record.size() || record[begin] != '"') {
      const size_t end = std::min(record.find(delimiter_, at), record.size());
      fields->push_back(Trim(record.substr(at, end - at), delimiter_));
      at = end;
    } else {
      const size_t start = unquoted_.size();
      size_t i = begin + 1;
      for (; i < record.size(); ++i) {
        if (record[i] != '"') {
          unquoted_ += record[i];
        } else if (i + 1 < record.size() && record[i + 1] == '"') {
          unquoted_ += record[i++];
        } else {
          break;
        }
      }
      at = std::min(record.find(delimiter_, i), record.size());
      if (i == record.size() || !Trim(record.substr(i + 1, at - i - 1), delimiter_).empty()) {
        return Error(absl::StrCat("column ", fields->size() + 1,
                                  ": there is text after the closing quote; write \"\" for a quote "
                                  "within quotes"));
      }
      fields->push_back(absl::string_view(unquoted_).substr(start));
    }
    if (at == record.size()) return absl::OkStatus();
    ++at;
  }
}

}  // namespace graphrun
