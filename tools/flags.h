// Flags: a verb's table of flags, the command line read by it, and the help text made of it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun::cli {

struct FlagSpec {
  const char* name;   // without dashes
  const char* value;  // what stands behind it in the help text ("N", "FILE"); "": a switch
  const char* help;
  bool repeated = false;
  char letter = 0;  // "-o FILE"
};

class Flags;

// One row of the table of verbs.
struct Verb {
  const char* name;
  const char* arguments;  // "MODEL", "DIR..."
  const char* summary;    // one line, for the list of verbs
  const char* details;    // paragraphs for --help; may be ""
  const char* examples;   // one a line
  std::vector<FlagSpec> flags;
  int min_arguments = 0;
  int max_arguments = -1;  // -1: any number
  absl::Status (*run)(const Flags&) = nullptr;
};

// Flags that every verb takes: --help, --plugin.
std::vector<FlagSpec> CommonFlags();

// A verb's command line. A switch is "--x", "--no-x" or "--x=false"; a value follows as "--x V" or
// "--x=V"; "--" ends flags. Of a flag that is not repeated the last one counts.
class Flags {
 public:
  // Errors: kUsage, with the nearest flag there is.
  static absl::StatusOr<Flags> Parse(const Verb& verb, const std::vector<std::string>& words);

  bool Has(absl::string_view name) const { return values_.count(std::string(name)) > 0; }
  // A switch; false where it is not given.
  bool On(absl::string_view name) const;
  // "on" or "off". Errors: kUsage.
  absl::StatusOr<bool> OnOff(absl::string_view name, bool otherwise) const;
  std::string Get(absl::string_view name, absl::string_view otherwise = "") const;
  std::vector<std::string> All(absl::string_view name) const;
  // Errors: kUsage naming the flag and what it takes.
  absl::StatusOr<int64_t> Int(absl::string_view name, int64_t otherwise, int64_t low = INT64_MIN,
                              int64_t high = INT64_MAX) const;
  // Finite and not negative.
  absl::StatusOr<double> Number(absl::string_view name, double otherwise) const;
  // Errors: kUsage listing the choices, with the nearest.
  absl::StatusOr<std::string> Choice(absl::string_view name, absl::string_view otherwise,
                                     const std::vector<std::string>& choices) const;
  // "8,16,4": numbers of at least `low`.
  absl::StatusOr<std::vector<int64_t>> Ints(absl::string_view name,
                                            const std::vector<int64_t>& otherwise,
                                            int64_t low) const;

  const std::vector<std::string>& arguments() const { return arguments_; }
  // The words as they were given, for logs.
  const std::string& command_line() const { return command_line_; }
  const std::string& argument(size_t i) const { return arguments_[i]; }
  const Verb& verb() const { return *verb_; }

 private:
  const Verb* verb_ = nullptr;
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> arguments_;
  std::string command_line_;
};

// The text of `graphrun VERB --help`.
std::string HelpText(const Verb& verb);

}  // namespace graphrun::cli
