// The descriptors' half of ops/onednn.h.
#pragma once

#include "ops/onednn.h"
