// One case in the layout of the standard's test suite: loaded, run, compared.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "runtime/exec/session.h"

namespace graphrun::cli {

struct VerifyOptions {
  SessionOptions session;
  absl::optional<double> rtol, atol;  // instead of the case's
};

// False where the model draws random numbers and only types and sizes of its outputs agree. Errors:
// kNumeric where a result is not the expected one; those of loading and running otherwise.
absl::StatusOr<bool> VerifyCase(const std::string& folder, const OpRegistry& registry,
                                const VerifyOptions& options);

struct CaseFolder {
  std::string name;  // the path below the folder that was given, with that folder's own name
  std::string path;
};
// The cases in `folder` and below, sorted by path. Errors: kIo; kData where there is none.
absl::StatusOr<std::vector<CaseFolder>> FindCases(const std::string& folder);

}  // namespace graphrun::cli
