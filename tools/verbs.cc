#include "tools/verbs.h"

namespace graphrun::cli {

std::vector<Verb> Verbs() {
  return {TrainVerb(),    TuneVerb(),    NewVerb(),       RunVerb(),          EvalVerb(),
          PredictVerb(),  ExportVerb(),  VerifyVerb(),    InspectVerb(),      CheckVerb(),
          PlanVerb(),     BenchVerb(),   ProfileVerb(),   PlotVerb(),         OpsVerb(),
          PluginsVerb(),  PluginVerb(),  CoverageVerb(),  GradVerb(),         GradcheckVerb(),
          DiffVerb(),     CompareVerb(), OptimizeVerb(),  ConvertOpsetVerb(), ExtractVerb(),
          SetShapeVerb(), DoctorVerb(),  CompletionVerb()};
}

}  // namespace graphrun::cli
