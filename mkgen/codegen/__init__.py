"""From kernels to programs: templates, parameter spaces, the dialect and backend protocols."""
