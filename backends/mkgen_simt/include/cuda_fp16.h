// float16 by CUDA's names.
#pragma once
#include "mkgen_simt_float16.hpp"

using __half = mkgen_simt::Small<mkgen_simt::Half>;
using __half2 = mkgen_simt::SmallPair<mkgen_simt::Half>;
using half = __half;
using half2 = __half2;
MKGEN_SIMT_CONVERSIONS(__half, __half2, half, half2)
