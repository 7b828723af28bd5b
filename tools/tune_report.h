// What a search leaves: tune.json, tune.csv, report.html, plots, the best recipe and model.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "tools/tuner.h"

namespace graphrun::cli {

// The trials, best first, as columns.
std::string TuneTable(const Tuner& tuner, size_t most);
std::string TuneJson(const Tuner& tuner);
// Everything into the search's folder. Errors: kIo.
absl::Status WriteTuneReport(const Tuner& tuner);

}  // namespace graphrun::cli
