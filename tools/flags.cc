#include "tools/flags.h"

#include <algorithm>
#include <cmath>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"

namespace graphrun::cli {
namespace {

std::vector<FlagSpec> AllFlags(const Verb& verb) {
  std::vector<FlagSpec> all = verb.flags;
  for (const FlagSpec& f : CommonFlags()) all.push_back(f);
  return all;
}

// What other programs call flags of ours.
struct Synonym {
  const char* theirs;
  const char* ours;
};

constexpr Synonym kSynonyms[] = {
    {"--batch-size", "--batch"},     {"--clip-grad-norm", "--clip-norm"},
    {"--dataset", "--data"},         {"--early-stopping", "--patience"},
    {"--iterations", "--max-steps"}, {"--label", "--target"},
    {"--learning-rate", "--lr"},     {"--lr-scheduler", "--schedule"},
    {"--momentum", "--beta"},        {"--num-epochs", "--epochs"},
    {"--num-threads", "--threads"},  {"--num-workers", "--workers"},
    {"--output", "--out"},           {"--output-dir", "--out"},
    {"--resume-from", "--resume"},   {"--steps", "--max-steps"},
    {"--train-data", "--data"},      {"--val-data", "--val"},
    {"--validation-data", "--val"},  {"--validation-split", "--val-split"},
    {"--warmup-steps", "--warmup"},  {"--dtype", "--precision"},
};

absl::Status UnknownFlag(const Verb& verb, absl::string_view word,
                         const std::vector<FlagSpec>& flags) {
  std::vector<std::string> names;
  for (const FlagSpec& f : flags) names.push_back(absl::StrCat("--", f.name));
  std::string meant = absl::StrReplaceAll(word, {{"_", "-"}});
  for (const Synonym& s : kSynonyms) {
    if (meant == s.theirs && absl::c_linear_search(names, s.ours)) meant = s.ours;
  }
  return UsageError("graphrun ", verb.name, " has no flag ", word, ".", DidYouMean(meant, names),
                    " See graphrun ", verb.name, " --help.");
}

absl::StatusOr<bool> ReadBool(absl::string_view flag, absl::string_view text) {
  if (text == "true" || text == "yes" || text == "on" || text == "1") return true;
  if (text == "false" || text == "no" || text == "off" || text == "0") return false;
  return UsageError("--", flag, " is a switch: \"", text, "\" is neither true nor false");
}

// Text in columns: `left` in 28 characters, `right` broken into lines behind it.
void AppendRow(std::string* out, absl::string_view left, absl::string_view right) {
  constexpr size_t kColumn = 30, kWidth = 100;
  std::string line = absl::StrCat("  ", left);
  if (line.size() + 2 > kColumn) {
    absl::StrAppend(out, line, "\n");
    line.clear();
  }
  line.resize(kColumn, ' ');
  size_t used = 0;
  for (absl::string_view word : absl::StrSplit(right, ' ')) {
    if (used > 0 && line.size() + 1 + word.size() > kWidth) {
      absl::StrAppend(out, line, "\n");
      line.assign(kColumn, ' ');
      used = 0;
    }
    if (used++ > 0) line += ' ';
    absl::StrAppend(&line, word);
  }
  absl::StrAppend(out, line, "\n");
}

}  // namespace

std::vector<FlagSpec> CommonFlags() {
  return {
      {"plugin", "PATH",
       "load this plugin first: a shared library, or the name of an installed one; may be repeated",
       true},
      {"help", "", "this text", false, 'h'},
  };
}

absl::StatusOr<Flags> Flags::Parse(const Verb& verb, const std::vector<std::string>& words) {
  Flags flags;
  flags.verb_ = &verb;
  flags.command_line_ = absl::StrCat("graphrun ", verb.name);
  for (const std::string& word : words) absl::StrAppend(&flags.command_line_, " ", word);
  const std::vector<FlagSpec> specs = AllFlags(verb);
  bool only_arguments = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_arguments || word.size() < 2 || word[0] != '-') {
      flags.arguments_.push_back(word);
      continue;
    }
    if (word == "--") {
      only_arguments = true;
      continue;
    }
    const bool is_long = word[1] == '-';
    const size_t equals = is_long ? word.find('=') : std::string::npos;
    std::string name =
        word.substr(is_long ? 2 : 1, equals == std::string::npos ? std::string::npos : equals - 2);
    auto matches = [&](absl::string_view wanted) {
      return std::find_if(specs.begin(), specs.end(), [&](const FlagSpec& f) {
        return is_long ? wanted == f.name : wanted.size() == 1 && wanted[0] == f.letter;
      });
    };
    auto spec = matches(name);
    bool negated = false;
    if (spec == specs.end() && is_long && absl::StartsWith(name, "no-")) {
      spec = matches(absl::string_view(name).substr(3));
      negated = spec != specs.end() && spec->value[0] == 0;
      if (!negated) spec = specs.end();
    }
    if (spec == specs.end()) {
      return UnknownFlag(verb, is_long ? absl::StrCat("--", name) : word, specs);
    }
    std::string value;
    if (spec->value[0] == 0) {
      bool on = true;
      if (equals != std::string::npos) {
        GR_ASSIGN_OR_RETURN(on, ReadBool(spec->name, word.substr(equals + 1)));
      }
      value = on != negated ? "true" : "false";
    } else if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (i + 1 < words.size() && !absl::StartsWith(words[i + 1], "--")) {
      value = words[++i];
    } else {
      return UsageError("--", spec->name, " needs a value: --", spec->name, " ", spec->value, " (",
                        spec->help, ")");
    }
    std::vector<std::string>& values = flags.values_[spec->name];
    if (!spec->repeated) values.clear();
    values.push_back(std::move(value));
  }
  if (flags.Has("help")) return flags;
  const int n = static_cast<int>(flags.arguments_.size());
  if (n < verb.min_arguments) {
    return UsageError("graphrun ", verb.name, " needs ", verb.arguments, ". For example:\n  ",
                      std::vector<std::string>(absl::StrSplit(verb.examples, '\n'))[0]);
  }
  if (verb.max_arguments >= 0 && n > verb.max_arguments) {
    return UsageError("graphrun ", verb.name, ": \"",
                      flags.arguments_[static_cast<size_t>(verb.max_arguments)],
                      "\" is one argument too many; it takes ",
                      verb.max_arguments == 0 ? "none" : verb.arguments);
  }
  return flags;
}

bool Flags::On(absl::string_view name) const { return Get(name) == "true"; }

absl::StatusOr<bool> Flags::OnOff(absl::string_view name, bool otherwise) const {
  if (!Has(name)) return otherwise;
  const std::string value = Get(name);
  if (value == "on") return true;
  if (value == "off") return false;
  return UsageError("--", name, " takes on or off, not \"", value, "\"");
}

std::string Flags::Get(absl::string_view name, absl::string_view otherwise) const {
  const auto it = values_.find(std::string(name));
  return it == values_.end() ? std::string(otherwise) : it->second.back();
}

std::vector<std::string> Flags::All(absl::string_view name) const {
  const auto it = values_.find(std::string(name));
  return it == values_.end() ? std::vector<std::string>() : it->second;
}

absl::StatusOr<int64_t> Flags::Int(absl::string_view name, int64_t otherwise, int64_t low,
                                   int64_t high) const {
  if (!Has(name)) return otherwise;
  int64_t value;
  if (!absl::SimpleAtoi(Get(name), &value) || value < low || value > high) {
    std::string range;
    if (low != INT64_MIN) absl::StrAppend(&range, " of at least ", low);
    if (high != INT64_MAX) absl::StrAppend(&range, " and at most ", high);
    return UsageError("--", name, " takes a whole number", range, ", not \"", Get(name), "\"");
  }
  return value;
}

absl::StatusOr<double> Flags::Number(absl::string_view name, double otherwise) const {
  if (!Has(name)) return otherwise;
  double value;
  if (!absl::SimpleAtod(Get(name), &value) || !std::isfinite(value) || value < 0) {
    return UsageError("--", name, " takes a number of at least 0, not \"", Get(name), "\"");
  }
  return value;
}

absl::StatusOr<std::string> Flags::Choice(absl::string_view name, absl::string_view otherwise,
                                          const std::vector<std::string>& choices) const {
  std::string value = Get(name, otherwise);
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
  return UsageError("--", name, " takes one of ", absl::StrJoin(choices, ", "), ", not \"", value,
                    "\".", DidYouMean(value, choices));
}

absl::StatusOr<std::vector<int64_t>> Flags::Ints(absl::string_view name,
                                                 const std::vector<int64_t>& otherwise,
                                                 int64_t low) const {
  if (!Has(name)) return otherwise;
  std::vector<int64_t> values;
  for (absl::string_view part : absl::StrSplit(Get(name), absl::ByAnyChar(",x"))) {
    int64_t value;
    if (!absl::SimpleAtoi(part, &value) || value < low) {
      return UsageError("--", name, " takes whole numbers of at least ", low,
                        " with commas between them, not \"", Get(name), "\"");
    }
    values.push_back(value);
  }
  return values;
}

std::string HelpText(const Verb& verb) {
  std::string out = absl::StrCat("graphrun ", verb.name, verb.arguments[0] ? " " : "",
                                 verb.arguments, " [flags]\n", verb.summary, "\n");
  if (verb.details[0]) absl::StrAppend(&out, "\n", verb.details, "\n");
  absl::StrAppend(&out, "\nFlags:\n");
  for (const FlagSpec& f : AllFlags(verb)) {
    std::string left = absl::StrCat("--", f.name);
    if (f.letter) absl::StrAppend(&left, ", -", std::string(1, f.letter));
    if (f.value[0]) absl::StrAppend(&left, " ", f.value);
    AppendRow(&out, left, f.help);
  }
  absl::StrAppend(&out, "\nExamples:\n");
  for (absl::string_view line : absl::StrSplit(verb.examples, '\n', absl::SkipEmpty()))
    absl::StrAppend(&out, "  ", line, "\n");
  return out;
}

}  // namespace graphrun::cli
