"""What the C family of backends shares; here: SIMT-on-host, which runs CUDA and HIP on a CPU."""
