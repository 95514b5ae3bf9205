# Libraries of the distribution, each as one imported target.
find_package(Threads REQUIRED)
# Without MPI's C++ bindings: Open MPI 5 has none, and what was built against 4.1 runs with both.
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI REQUIRED COMPONENTS CXX)
get_target_property(MPI_LIBRARIES_USED MPI::MPI_CXX INTERFACE_LINK_LIBRARIES)
list(FILTER MPI_LIBRARIES_USED EXCLUDE REGEX "mpi_cxx")
set_target_properties(MPI::MPI_CXX PROPERTIES INTERFACE_LINK_LIBRARIES "${MPI_LIBRARIES_USED}")
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
# LibTorch ships headers of another fmt in its include folder; the distribution's, which spdlog is built with, must win.
find_path(FMT_INCLUDE fmt/core.h PATHS /usr/include /usr/local/include NO_DEFAULT_PATH REQUIRED)
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/first")
file(CREATE_LINK "${FMT_INCLUDE}/fmt" "${CMAKE_BINARY_DIR}/first/fmt" SYMBOLIC)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(EXPAT REQUIRED)
find_package(Catch2 3 REQUIRED)
find_package(PkgConfig REQUIRED)

# HDF5's C API only; the distribution's CMake config would drag MPI variants in.
find_path(HDF5_INCLUDE hdf5.h PATH_SUFFIXES hdf5/serial REQUIRED)
find_library(HDF5_C NAMES hdf5_serial hdf5 REQUIRED)
add_library(muster::hdf5 INTERFACE IMPORTED)
target_include_directories(muster::hdf5 SYSTEM INTERFACE "${HDF5_INCLUDE}")
target_link_libraries(muster::hdf5 INTERFACE "${HDF5_C}")

function(muster_pkg target module)
  string(MAKE_C_IDENTIFIER "PKG_${module}" prefix)
  pkg_check_modules(${prefix} REQUIRED IMPORTED_TARGET ${module})
  add_library(${target} INTERFACE IMPORTED)
  target_link_libraries(${target} INTERFACE PkgConfig::${prefix})
endfunction()
muster_pkg(xxhash::xxhash libxxhash)
muster_pkg(pcre2::pcre2 libpcre2-8)
muster_pkg(utf8proc::utf8proc libutf8proc)
muster_pkg(freetype::freetype freetype2)
muster_pkg(fontconfig::fontconfig fontconfig)
muster_pkg(webp::webp libwebp)
muster_pkg(tiff::tiff libtiff-4)

# The LibTorch wheel ships no gloo headers, and ProcessGroupGloo.hpp includes them. Declarations only: nothing of
# the distribution's gloo is linked, the code is inside libtorch_cpu.so.
find_path(GLOO_INCLUDE gloo/rendezvous/store.h REQUIRED)
add_library(gloo::headers INTERFACE IMPORTED)
target_include_directories(gloo::headers SYSTEM INTERFACE "${GLOO_INCLUDE}")
