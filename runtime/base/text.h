// Words for people: suggestions for mistyped names, and numbers with units.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace graphrun {

// The least number of insertions, deletions, substitutions and swaps of neighbours that turn `a`
// into `b`; letters of other case count as equal. Time |a| * |b|.
int EditDistance(absl::string_view a, absl::string_view b);

// The name nearest to `got`, or "" where none is near enough to be meant (about one typing mistake
// in three letters). A name that begins with `got` counts as near. Ties go to the earlier name.
std::string NearestName(absl::string_view got, absl::Span<const std::string> names);

// ` Did you mean "relu"?` with a space in front, ready to follow a message; "" where no name is
// near.
std::string DidYouMean(absl::string_view got, absl::Span<const std::string> names);

// "917 B", "3.4 KiB", "12.0 GiB": at most one decimal, units of 1024.
std::string HumanBytes(int64_t bytes);

// "950", "12.3k", "4.56M", "7.89G": three digits, units of 1000. Non-finite: "nan", "inf", "-inf".
std::string HumanCount(double count);

// "0.8 s", "42 s", "3:07", "2:05:09", "3d 04:10": a time span for people. Negative or non-finite:
// "?".
std::string HumanSeconds(double seconds);

}  // namespace graphrun
