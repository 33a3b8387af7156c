// float16 by HIP's names, which are CUDA's.
#pragma once
#include "../cuda_fp16.h"
