// The verbs, one file each: verb_<name>.cc.
#pragma once

#include "tools/flags.h"

namespace graphrun::cli {

Verb TrainVerb();
Verb NewVerb();
Verb RunVerb();
Verb VerifyVerb();
Verb InspectVerb();
Verb CheckVerb();
Verb PlanVerb();
Verb BenchVerb();
Verb OpsVerb();
Verb CoverageVerb();

}  // namespace graphrun::cli
