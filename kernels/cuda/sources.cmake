# The sources of the backend cuda: kernels, which nvcc compiles, or for tests a C++ compiler against
# tests/gpu/emulate/, and the host's part.
set(CATENA_CUDA_KERNELS
  add_norm.cu
  adjust_qkv.cu
  attention.cu
  embed.cu
  linear_bf16.cu
  linear_float.cu
  linear_inputs.cu
  linear_int8.cu
  rotary_append.cu
  rotary_factors.cu
  soft_cap.cu
  top_logits.cu
)
set(CATENA_CUDA_HOST
  check.cc
  cuda_backend.cc
  cuda_memory.cc
  cuda_stream.cc
  cuda_weight.cc
)
list(TRANSFORM CATENA_CUDA_KERNELS PREPEND ${CMAKE_SOURCE_DIR}/kernels/cuda/)
list(TRANSFORM CATENA_CUDA_HOST PREPEND ${CMAKE_SOURCE_DIR}/kernels/cuda/)
