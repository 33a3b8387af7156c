"""What PyTorch calls things, on whichever device: in texts, and in the names of its kernels."""

from __future__ import annotations

import re

#: What names of its kernels begin with, by who wrote them.
KERNELS: dict[str, tuple[str, ...]] = {
    "PyTorch": (
        "at::", "at_cuda_detail::", "c10::", "torch::", "pytorch_flash::", "fmha_", "flash_fwd",
        "flash_bwd", "(anonymous namespace)::elementwise_kernel", "vectorized_elementwise_kernel",
        "unrolled_elementwise_kernel", "elementwise_kernel", "reduce_kernel", "softmax_warp_",
        "cunn_SoftMax", "CatArrayBatchedCopy", "distribution_elementwise",
    ),
    "torch.compile": (
        "triton_poi_", "triton_red_", "triton_per_", "triton_tem_", "triton_for_", "triton_mm",
        "triton_bmm", "triton_conv",
    ),
}  # fmt: skip
#: PyTorch's C++: what allocates, describes or launches. Anything else of it computes.
CPP = re.compile(
    r"k[A-Z]\w*|Tensor\w*|empty\w*|zeros\w*|full\w*|Scalar\w*|Device\w*|Layout|optional|nullopt|"
    r"IntArrayRef|cuda|detail|getCurrent\w*|OptionalCUDAGuard|CUDAGuard|dtype|device|"
    r"PackedTensorAccessor\w*|RestrictPtrTraits|DefaultPtrTraits|indexing|Half|BFloat16|"
    r"NoGradGuard|InferenceMode|MemoryFormat|check\w*|List|ArrayRef|stable|Dispatch\w*"
)
#: In Python, what is not a kernel's business: dotted beginnings.
FORBIDDEN = (
    ("torch.compile", "compiles the reference's operations"),
    ("torch.jit", "compiles the reference's operations"),
    ("torch._dynamo", "compiles the reference's operations"),
    ("torch._inductor", "compiles the reference's operations"),
    ("torch.cuda.Stream", "work on a stream of its own, which no clock sees"),
    ("torch.cuda.ExternalStream", "work on a stream of its own, which no clock sees"),
    ("torch.cuda.stream", "work on a stream of its own, which no clock sees"),
    ("torch.cuda.set_stream", "work on a stream of its own, which no clock sees"),
    ("torch.cuda.CUDAGraph", "a recorded graph, which may replay stale work"),
    ("torch.cuda.graph", "a recorded graph, which may replay stale work"),
    ("torch.cuda.make_graphed_callables", "a recorded graph, which may replay stale work"),
    ("torch.cuda.Event", "the clock is not the kernel's"),
    ("torch.multiprocessing", "processes of its own"),
    ("torch.hub", "fetches code"),
    ("torch.load", "reads a file"),
    ("torch.save", "writes a file"),
    ("torch.utils.data", "processes of its own"),
    ("torch.ops", "calls operations by name"),
    ("torch._C", "PyTorch's inside"),
)
#: Of torch, what allocates, describes, holds parameters, registers or queries. The rest computes.
FUNCTIONS = frozenset(
    ("empty", "empty_like", "empty_strided", "zeros", "zeros_like", "ones", "ones_like", "full",
     "full_like", "tensor", "as_tensor", "scalar_tensor", "arange", "device", "dtype", "Size",
     "Tensor", "is_tensor", "is_floating_point", "numel", "finfo", "iinfo", "no_grad",
     "inference_mode", "enable_grad", "set_grad_enabled", "manual_seed", "as_strided", "reshape",
     "permute", "transpose", "flatten", "unsqueeze", "squeeze", "view_as_real", "broadcast_to",
     "broadcast_shapes", "expand_copy", "Generator", "get_default_dtype", "is_grad_enabled",
     "promote_types", "result_type", "can_cast", "typename")
)  # fmt: skip
MODULES = (
    "torch.nn.Module", "torch.nn.Parameter", "torch.nn.init", "torch.nn.Buffer", "torch.autograd",
    "torch.library", "torch.utils.cpp_extension", "torch.cuda", "torch.version", "torch.types",
    "torch.xpu", "torch.overrides", "torch.testing", "torch.backends",
)  # fmt: skip
