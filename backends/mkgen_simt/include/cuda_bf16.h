// bfloat16 by CUDA's names.
#pragma once
#include "mkgen_simt_float16.hpp"

using __nv_bfloat16 = mkgen_simt::Small<mkgen_simt::Brain>;
using __nv_bfloat162 = mkgen_simt::SmallPair<mkgen_simt::Brain>;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;
MKGEN_SIMT_CONVERSIONS(__nv_bfloat16, __nv_bfloat162, bfloat16, bfloat162)
