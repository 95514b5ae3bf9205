# Imported targets written by hand: find_package(Torch) would need the CUDA toolkit on a CPU-only machine.
# torch::cpu needs two libraries; everything CUDA stays in torch::cuda, linked only by libmuster_cuda.so.
find_path(LIBTORCH_INCLUDE ATen/ATen.h PATHS "${MUSTER_LIBTORCH}" PATH_SUFFIXES include NO_CACHE REQUIRED)
get_filename_component(LIBTORCH_ROOT "${LIBTORCH_INCLUDE}" DIRECTORY)
find_library(LIBTORCH_CPU torch_cpu PATHS "${LIBTORCH_ROOT}/lib" NO_DEFAULT_PATH NO_CACHE REQUIRED)
find_library(LIBTORCH_C10 c10 PATHS "${LIBTORCH_ROOT}/lib" NO_DEFAULT_PATH NO_CACHE REQUIRED)
file(READ "${LIBTORCH_ROOT}/version.py" version)   # the wheel's; a plain LibTorch has build-version
string(REGEX MATCH "__version__ = '([^'+]*)" version "${version}")
set(LIBTORCH_VERSION "${CMAKE_MATCH_1}")
message(STATUS "LibTorch: ${LIBTORCH_ROOT}")

add_library(torch::cpu INTERFACE IMPORTED)
target_include_directories(torch::cpu SYSTEM INTERFACE
  "${LIBTORCH_INCLUDE}" "${LIBTORCH_INCLUDE}/torch/csrc/api/include")
target_compile_definitions(torch::cpu INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)
target_link_libraries(torch::cpu INTERFACE "${LIBTORCH_CPU}" "${LIBTORCH_C10}")
target_link_options(torch::cpu INTERFACE "-Wl,-rpath,${LIBTORCH_ROOT}/lib")

if(MUSTER_CUDA)
  add_library(torch::cuda INTERFACE IMPORTED)
  target_link_libraries(torch::cuda INTERFACE torch::cpu
    "${LIBTORCH_ROOT}/lib/libtorch_cuda.so" "${LIBTORCH_ROOT}/lib/libc10_cuda.so")
  target_include_directories(torch::cuda SYSTEM INTERFACE "${MUSTER_CUDA_HOME}/include")
  target_compile_definitions(torch::cuda INTERFACE USE_C10D_NCCL)
endif()
