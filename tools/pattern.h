// Pattern: a regular expression (POSIX extended) from the command line.
#pragma once

#include <regex.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace graphrun::cli {

class Pattern {
 public:
  // `flag` is named in errors. An empty expression matches everything. Errors: kUsage.
  static absl::StatusOr<Pattern> Compile(absl::string_view flag, const std::string& expression);
  // True where the expression matches somewhere in `text`.
  bool Matches(const std::string& text) const;

 private:
  std::shared_ptr<regex_t> compiled_;
};

}  // namespace graphrun::cli
