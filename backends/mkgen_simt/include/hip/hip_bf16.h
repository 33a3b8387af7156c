// bfloat16 by HIP's names.
#pragma once
#include "hip_bfloat16.h"

using __hip_bfloat162 = mkgen_simt::SmallPair<mkgen_simt::Brain>;
MKGEN_SIMT_CONVERSIONS(__hip_bfloat16, __hip_bfloat162, bfloat16, bfloat162)
