#include "tools/pattern.h"

#include "runtime/base/status.h"

namespace graphrun::cli {

absl::StatusOr<Pattern> Pattern::Compile(absl::string_view flag, const std::string& expression) {
  Pattern pattern;
  if (expression.empty()) return pattern;
  auto compiled = std::make_unique<regex_t>();
  const int error = regcomp(compiled.get(), expression.c_str(), REG_EXTENDED | REG_NOSUB);
  if (error != 0) {
    char text[200];
    regerror(error, compiled.get(), text, sizeof(text));
    return UsageError("--", flag, ": \"", expression, "\" is no regular expression: ", text);
  }
  pattern.compiled_ = std::shared_ptr<regex_t>(compiled.release(), [](regex_t* r) {
    regfree(r);
    delete r;
  });
  return pattern;
}

bool Pattern::Matches(const std::string& text) const {
  return compiled_ == nullptr || regexec(compiled_.get(), text.c_str(), 0, nullptr, 0) == 0;
}

}  // namespace graphrun::cli
