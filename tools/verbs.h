// The verbs, one file each: verb_<name>.cc.
#pragma once

#include "tools/flags.h"

namespace graphrun::cli {

Verb VerifyVerb();

}  // namespace graphrun::cli
