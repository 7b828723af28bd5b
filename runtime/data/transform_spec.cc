// ParseTransforms: the text of --augment.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/data/augment.h"

namespace graphrun {
namespace {

using TransformPtr = std::shared_ptr<const Transform>;

struct Argument {
  const char* name;
  double min, max;  // inclusive
  bool whole;       // no fractions
};

constexpr double kMaxPixels = 1 << 20;
constexpr Argument kProbability = {"probability", 0, 1, false};
constexpr Argument kSide = {"side", 1, kMaxPixels, true};
constexpr Argument kPixels = {"pixels", 0, kMaxPixels, true};

struct TransformSpec {
  const char* name;
  const char* form;  // for messages
  std::vector<Argument> arguments;
  int required;
  double fallback;  // of the first argument, where it is not required
  TransformPtr (*make)(const std::vector<double>& a, double range);
};

int64_t Whole(double v) { return static_cast<int64_t>(v); }

std::vector<TransformSpec> TransformSpecs() {
  return {
      {"hflip",
       "hflip[:PROBABILITY]",
       {kProbability},
       0,
       0.5,
       [](const std::vector<double>& a, double) { return FlipTransform(true, a[0]); }},
      {"vflip",
       "vflip[:PROBABILITY]",
       {kProbability},
       0,
       0.5,
       [](const std::vector<double>& a, double) { return FlipTransform(false, a[0]); }},
      {"rotate",
       "rotate:DEGREES",
       {{"degrees", 0, 180, false}},
       1,
       0,
       [](const std::vector<double>& a, double) { return RotateTransform(a[0]); }},
      {"scale",
       "scale:FACTOR",
       {{"factor", 0, 0.95, false}},
       1,
       0,
       [](const std::vector<double>& a, double) { return ScaleTransform(a[0]); }},
      {"shift",
       "shift:PIXELS",
       {kPixels},
       1,
       0,
       [](const std::vector<double>& a, double) { return ShiftTransform(Whole(a[0])); }},
      {"cutout",
       "cutout:SIDE",
       {kSide},
       1,
       0,
       [](const std::vector<double>& a, double) { return CutoutTransform(Whole(a[0])); }},
      {"noise",
       "noise:DEVIATION",
       {{"deviation", 0, 1e6, false}},
       1,
       0,
       [](const std::vector<double>& a, double range) { return NoiseTransform(a[0], range); }},
      {"brightness",
       "brightness:AMOUNT",
       {{"amount", 0, 1e6, false}},
       1,
       0,
       [](const std::vector<double>& a, double range) { return BrightnessTransform(a[0], range); }},
      {"contrast",
       "contrast:AMOUNT",
       {{"amount", 0, 1e6, false}},
       1,
       0,
       [](const std::vector<double>& a, double) { return ContrastTransform(a[0]); }},
      // The window may be written "HxW": two numbers stand here.
      {"crop",
       "crop:SIDE[:PADDING] or crop:HEIGHTxWIDTH[:PADDING]",
       {kSide, kSide, kPixels},
       2,
       0,
       [](const std::vector<double>& a, double) {
         return CropTransform(Whole(a[0]), Whole(a[1]), a.size() > 2 ? Whole(a[2]) : 0);
       }},
  };
}

absl::Status BadPart(absl::string_view part, absl::string_view what, absl::string_view form) {
  return UsageError("augmentation \"", part, "\": ", what, "; write ", form);
}

absl::StatusOr<TransformPtr> MakeTransform(const TransformSpec& spec, absl::string_view part,
                                           std::vector<std::string> words, double range) {
  if (absl::string_view(spec.name) == "crop" && !words.empty()) {
    std::vector<std::string> sides = absl::StrSplit(words[0], 'x');
    if (sides.size() == 1) sides.push_back(sides[0]);
    words.erase(words.begin());
    words.insert(words.begin(), sides.begin(), sides.end());
  }
  if (words.size() > spec.arguments.size()) {
    return BadPart(part, "too many numbers", spec.form);
  }
  if (static_cast<int>(words.size()) < spec.required) {
    return BadPart(part, "a number is missing", spec.form);
  }
  std::vector<double> values;
  for (size_t i = 0; i < words.size(); ++i) {
    const Argument& argument = spec.arguments[i];
    double value = 0;
    if (!absl::SimpleAtod(words[i], &value) || !std::isfinite(value)) {
      return BadPart(part, absl::StrCat("\"", words[i], "\" is not a number"), spec.form);
    }
    if (value < argument.min || value > argument.max) {
      return BadPart(part,
                     absl::StrCat(argument.name, " must lie between ", argument.min, " and ",
                                  argument.max, "; ", value, " was given"),
                     spec.form);
    }
    if (argument.whole && value != std::floor(value)) {
      return BadPart(part,
                     absl::StrCat(argument.name, " must be a whole number; ", value, " was given"),
                     spec.form);
    }
    values.push_back(value);
  }
  if (values.empty()) values.push_back(spec.fallback);
  return spec.make(values, range);
}

// The arguments of a kind that is not built in, from the words behind its name.
absl::StatusOr<std::vector<double>> ReadArguments(const TransformKind& kind, absl::string_view part,
                                                  const std::vector<std::string>& words) {
  if (words.size() > kind.arguments.size()) return BadPart(part, "too many numbers", kind.form);
  std::vector<double> values;
  for (size_t i = 0; i < kind.arguments.size(); ++i) {
    const TransformKind::Argument& a = kind.arguments[i];
    double value = a.initial;
    if (i >= words.size() && a.required) return BadPart(part, "a number is missing", kind.form);
    if (i < words.size() && (!absl::SimpleAtod(words[i], &value) || !std::isfinite(value))) {
      return BadPart(part, absl::StrCat("\"", words[i], "\" is not a number"), kind.form);
    }
    if (!(value >= a.min && value <= a.max) || (a.whole && value != std::floor(value))) {
      return BadPart(part,
                     absl::StrCat(a.name, " must be a ", a.whole ? "whole " : "", "number between ",
                                  a.min, " and ", a.max, "; ", value, " was given"),
                     kind.form);
    }
    values.push_back(value);
  }
  return values;
}

absl::Status AddKind(const TransformKind& kind, absl::string_view part,
                     const std::vector<std::string>& words, double range, Augmentation* all) {
  GR_ASSIGN_OR_RETURN(const std::vector<double> values, ReadArguments(kind, part, words));
  if (kind.make_batch) {
    GR_ASSIGN_OR_RETURN(auto made, kind.make_batch(values));
    all->batch_transforms.push_back(std::move(made));
  } else {
    GR_ASSIGN_OR_RETURN(auto made, kind.make(values, range));
    all->transforms.push_back(std::move(made));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> TransformNames() {
  std::vector<std::string> names;
  for (const TransformSpec& s : TransformSpecs()) names.push_back(s.name);
  return names;
}

absl::StatusOr<std::vector<TransformPtr>> ParseTransforms(absl::string_view spec, double range) {
  GR_ASSIGN_OR_RETURN(Augmentation all, ParseAugmentation(spec, range, {}));
  return std::move(all.transforms);
}

absl::StatusOr<Augmentation> ParseAugmentation(absl::string_view spec, double range,
                                               absl::Span<const TransformKind> more) {
  Augmentation all;
  const absl::string_view text = absl::StripAsciiWhitespace(spec);
  if (text.empty() || text == "none") return all;
  const std::vector<TransformSpec> specs = TransformSpecs();
  for (const absl::string_view raw : absl::StrSplit(text, ',')) {
    const absl::string_view part = absl::StripAsciiWhitespace(raw);
    std::vector<std::string> words = absl::StrSplit(part, ':');
    const std::string name = words[0];
    words.erase(words.begin());
    const auto found = std::find_if(specs.begin(), specs.end(),
                                    [&](const TransformSpec& s) { return name == s.name; });
    if (found != specs.end()) {
      GR_ASSIGN_OR_RETURN(TransformPtr transform, MakeTransform(*found, part, words, range));
      all.transforms.push_back(std::move(transform));
      continue;
    }
    const auto added = std::find_if(more.begin(), more.end(),
                                    [&](const TransformKind& k) { return name == k.name; });
    if (added != more.end()) {
      GR_RETURN_IF_ERROR(AddKind(*added, part, words, range, &all));
      continue;
    }
    std::vector<std::string> names = TransformNames();
    for (const TransformKind& k : more) names.push_back(k.name);
    return UsageError("augmentation \"", part, "\": there is no transform \"", name,
                      "\"; there are ", absl::StrJoin(names, ", "), ".", DidYouMean(name, names));
  }
  return all;
}

}  // namespace graphrun
