#include "tools/verbs.h"

namespace graphrun::cli {

std::vector<Verb> Verbs() {
  return {TrainVerb(),        NewVerb(),       RunVerb(),      EvalVerb(),    PredictVerb(),
          ExportVerb(),       VerifyVerb(),    InspectVerb(),  CheckVerb(),   PlanVerb(),
          BenchVerb(),        ProfileVerb(),   PlotVerb(),     OpsVerb(),     PluginsVerb(),
          CoverageVerb(),     GradcheckVerb(), DiffVerb(),     CompareVerb(), OptimizeVerb(),
          ConvertOpsetVerb(), ExtractVerb(),   SetShapeVerb(), DoctorVerb(),  CompletionVerb()};
}

}  // namespace graphrun::cli
