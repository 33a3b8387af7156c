// bfloat16 by the name of HIP's older header.
#pragma once
#include "../mkgen_simt_float16.hpp"

using __hip_bfloat16 = mkgen_simt::Small<mkgen_simt::Brain>;
using hip_bfloat16 = __hip_bfloat16;
