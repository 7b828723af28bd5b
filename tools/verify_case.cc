#include "tools/verify_case.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/all_close.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/onnx/testcase.h"

namespace graphrun::cli {
namespace {

constexpr int kMaxDepth = 8;  // of folders

absl::Status Walk(const std::string& path, const std::string& name, int depth,
                  std::vector<CaseFolder>* cases) {
  if (IsTestCase(path)) {
    cases->push_back({name, path});
    return absl::OkStatus();
  }
  if (depth == kMaxDepth) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const std::vector<std::string> entries, ListFolder(path));
  for (const std::string& entry : entries) {
    const std::string below = JoinPath(path, entry);
    if (IsFolder(below)) {
      GR_RETURN_IF_ERROR(Walk(below, absl::StrCat(name, "/", entry), depth + 1, cases));
    }
  }
  return absl::OkStatus();
}

bool DrawsNumbers(const Graph& graph, const OpRegistry& registry) {
  for (const auto& node : graph.nodes()) {
    const OpDef* def = registry.Find(*node);
    if (def != nullptr && def->is_random()) return true;
  }
  return false;
}

bool SameTypes(const Session& session, const TestDataSet& set) {
  for (size_t i = 0; i < set.outputs.size(); ++i)
    if (!(session.output(static_cast<int>(i)).type() == set.outputs[i].type())) return false;
  return true;
}

absl::Status VerifyDataSet(Session& session, const TestDataSet& set, const Tolerance& tolerance) {
  GR_RETURN_IF_ERROR(session.Run(absl::Span<const Datum>(set.inputs)));
  for (size_t i = 0; i < set.outputs.size(); ++i) {
    const Value* output = session.graph().outputs()[i];
    GR_RETURN_IF_ERROR(
        Annotate(AllClose(session.output(static_cast<int>(i)), set.outputs[i], tolerance),
                 absl::StrCat("output ", i, " \"", output->name(), "\"")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> VerifyCase(const std::string& folder, const OpRegistry& registry,
                                const VerifyOptions& options) {
  GR_ASSIGN_OR_RETURN(TestCase test, LoadTestCase(folder));
  const Tolerance tolerance{options.rtol.value_or(test.rtol), options.atol.value_or(test.atol)};
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Session> session,
                      Session::Create(std::shared_ptr<const Graph>(std::move(test.graph)),
                                      &registry, options.session));
  const bool random = DrawsNumbers(session->graph(), registry);
  bool compared = false, same_numbers = true;
  for (const TestDataSet& set : test.data_sets) {
    absl::Status status = VerifyDataSet(*session, set, tolerance);
    if (random && KindOf(status) == ErrorKind::kNumeric && SameTypes(*session, set)) {
      same_numbers = false;
      status = absl::OkStatus();
    }
    if (!status.ok() && test.data_sets.size() > 1) status = Annotate(status, set.name);
    GR_RETURN_IF_ERROR(status);
    compared = compared || !set.outputs.empty();
  }
  if (!compared) {
    return DataError(folder,
                     ": no test_data_set_0 with an output_0.pb: there is nothing to compare");
  }
  return same_numbers;
}

absl::StatusOr<std::vector<CaseFolder>> FindCases(const std::string& folder) {
  if (!FileExists(folder)) return IoError(folder, ": there is no such folder");
  if (!IsFolder(folder)) {
    return IoError(folder,
                   ": is a file; verify takes a folder with model.onnx and test_data_set_0, "
                   "or a folder of such folders");
  }
  std::vector<CaseFolder> cases;
  GR_RETURN_IF_ERROR(Walk(folder, BaseName(folder), 0, &cases));
  if (cases.empty()) {
    return DataError(folder, ": holds no test case (a folder with model.onnx and test_data_set_0)");
  }
  return cases;
}

}  // namespace graphrun::cli
