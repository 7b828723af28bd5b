// The verbs, one file each: verb_<name>.cc.
#pragma once

#include <vector>

#include "tools/flags.h"

namespace graphrun::cli {

Verb TrainVerb();
Verb TuneVerb();
Verb NewVerb();
Verb RunVerb();
Verb EvalVerb();
Verb PredictVerb();
Verb ExportVerb();
Verb VerifyVerb();
Verb InspectVerb();
Verb CheckVerb();
Verb PlanVerb();
Verb BenchVerb();
Verb ProfileVerb();
Verb PlotVerb();
Verb OpsVerb();
Verb PluginsVerb();
Verb PluginVerb();
Verb CoverageVerb();
Verb OptimizeVerb();
Verb ConvertOpsetVerb();
Verb ExtractVerb();
Verb SetShapeVerb();
Verb GradVerb();
Verb GradcheckVerb();
Verb DiffVerb();
Verb CompareVerb();
Verb DoctorVerb();
Verb CompletionVerb();

// All of them, in the order of the list that --help prints.
std::vector<Verb> Verbs();

}  // namespace graphrun::cli
