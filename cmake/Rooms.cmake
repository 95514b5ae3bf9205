# The include law. A room is a folder, a target and a list of the rooms it USES. Each room's headers are
# visible only through a folder of links of its own, so `#include "sharding/layout/flat_space.h"`
# compiles exactly in the rooms that USE sharding/layout. A room inside another room's folder is a room
# like any other: its headers do not come with the outer one.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

# Flags every target of ours shares: a precompiled header needs them to be identical.
add_library(muster_flags INTERFACE)
target_compile_options(muster_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>
  $<$<AND:$<BOOL:${MUSTER_UNITY}>,$<CXX_COMPILER_ID:GNU>>:-Wno-subobject-linkage>   # meant for headers; it takes an included .cpp for one
  $<$<BOOL:${MUSTER_WARNINGS_AS_ERRORS}>:-Werror>)
target_compile_definitions(muster_flags INTERFACE SPDLOG_FMT_EXTERNAL SPDLOG_SHARED_LIB SPDLOG_COMPILED_LIB)
target_include_directories(muster_flags SYSTEM BEFORE INTERFACE "${CMAKE_BINARY_DIR}/first")
target_link_libraries(muster_flags INTERFACE Threads::Threads)
target_link_options(muster_flags INTERFACE -fuse-ld=lld)
if(MUSTER_SANITIZE)
  target_compile_options(muster_flags INTERFACE -fsanitize=${MUSTER_SANITIZE})
  if(MUSTER_SANITIZE MATCHES "undefined")   # what is undefined ends the program: a line in a log would fail no test
    target_compile_options(muster_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
  if(MUSTER_FUZZ)
    target_compile_options(muster_flags INTERFACE -fsanitize=fuzzer-no-link)
  endif()
  target_link_options(muster_flags INTERFACE -fsanitize=${MUSTER_SANITIZE})
endif()

# What is precompiled: <ATen/ATen.h> for rooms that say TORCH, what most files include for the others.
if(NOT MUSTER_FUZZ)
  add_library(muster_torch_pch OBJECT cmake/torch_pch.cpp)
  target_link_libraries(muster_torch_pch PUBLIC muster_flags torch::cpu)
  target_precompile_headers(muster_torch_pch PRIVATE <ATen/ATen.h>)
endif()
add_library(muster_plain_pch OBJECT cmake/plain_pch.cpp)
target_link_libraries(muster_plain_pch PUBLIC muster_flags fmt::fmt)
target_precompile_headers(muster_plain_pch PRIVATE
  <fmt/core.h> <algorithm> <chrono> <filesystem> <map> <optional> <span> <string> <vector>)

# A target pays for its headers once per compiled file, so a clean build compiles a room's files some at
# a time: half the processor time (measured on tests/sharding: 14.1 s alone, 6.7 s as one).
# -DMUSTER_UNITY=OFF compiles each alone; ./run build --edit ROOM only those of the room that somebody works on, where
# one changed file should not compile all others.
function(muster_unity target)
  set(together ${MUSTER_UNITY})
  foreach(room ${MUSTER_EDIT})
    muster_room_target(${room} id)
    string(REGEX REPLACE "^tests_" "test_" test "${id}")   # tests/launcher is the program test_launcher
    if(target STREQUAL "muster_${id}" OR target STREQUAL "${test}")
      set(together OFF)
    endif()
  endforeach()
  if(NOT together AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # GCC 12 takes some sums of strings for writes out of bounds (its bug 105651), mostly in files that are compiled alone.
    target_compile_options(${target} PRIVATE -Wno-error=array-bounds -Wno-error=restrict)
  endif()
  set(files 6)
  if(target MATCHES "^muster_(launcher_commands|model_qwen|trainer_evaluate)$")   # the dearest headers: 27 s a batch
    set(files 10)
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${together} UNITY_BUILD_BATCH_SIZE ${files})
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    # base/vectorize.h sets how all code after it is compiled: its files stay alone.
    file(STRINGS "${source}" vectorized REGEX "include \"base/vectorize\\.h\"")
    if(vectorized)
      set_source_files_properties("${source}" PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endif()
  endforeach()
endfunction()

# A target of ours with LibTorch, or without.
function(muster_finish target torch)
  if(torch)
    target_link_libraries(${target} PUBLIC torch::cpu)
    target_precompile_headers(${target} REUSE_FROM muster_torch_pch)
  else()
    target_precompile_headers(${target} REUSE_FROM muster_plain_pch)
  endif()
  muster_unity(${target})
endfunction()

# "launcher/triage" -> muster_launcher_triage, which links as muster::launcher_triage.
function(muster_room_target room result)
  string(REPLACE "/" "_" id "${room}")
  set(${result} "${id}" PARENT_SCOPE)
endfunction()

# muster_room(NAME [TORCH] [USES rooms...] [LINKS targets...]): the .cpp files of the folder itself, not
# of the folders in it.
function(muster_room room)
  cmake_parse_arguments(ROOM "TORCH" "" "USES;LINKS" ${ARGN})
  if(MUSTER_FUZZ AND ROOM_TORCH)
    return()
  endif()
  muster_room_target(${room} id)
  set(links "${CMAKE_BINARY_DIR}/rooms/${id}")
  file(REMOVE_RECURSE "${links}")
  file(MAKE_DIRECTORY "${links}/${room}")
  file(GLOB headers CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/*.h" "${CMAKE_SOURCE_DIR}/${room}/*.cuh"
    "${CMAKE_SOURCE_DIR}/${room}/cuda/*.h" "${CMAKE_SOURCE_DIR}/${room}/cuda/*.cuh")
  foreach(header ${headers})
    file(RELATIVE_PATH name "${CMAKE_SOURCE_DIR}" "${header}")
    get_filename_component(folder "${links}/${name}" DIRECTORY)
    file(MAKE_DIRECTORY "${folder}")
    file(CREATE_LINK "${header}" "${links}/${name}" SYMBOLIC)
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/*.cpp")
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(muster_${id} STATIC ${sources} cmake/empty.cpp)
  add_library(muster::${id} ALIAS muster_${id})
  target_include_directories(muster_${id} PUBLIC "${links}")
  target_link_libraries(muster_${id} PUBLIC muster_flags ${ROOM_LINKS})
  foreach(used ${ROOM_USES})
    muster_room_target(${used} used_id)
    target_link_libraries(muster_${id} PUBLIC muster::${used_id})
  endforeach()
  muster_finish(muster_${id} "${ROOM_TORCH}")
endfunction()

# muster_executable(NAME [TORCH] [USES rooms...] [LINKS targets...]), of a target that exists.
function(muster_executable name)
  cmake_parse_arguments(EXE "TORCH" "" "USES;LINKS" ${ARGN})
  target_link_libraries(${name} PRIVATE muster_flags ${EXE_LINKS})
  foreach(used ${EXE_USES})
    muster_room_target(${used} used_id)
    target_link_libraries(${name} PRIVATE muster::${used_id})
  endforeach()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
  # It loads what it calls, nothing more: Open MPI 5 has no libmpi_cxx, which FindMPI names.
  target_link_options(${name} PRIVATE -Wl,--as-needed)
  if(EXE_TORCH)
    set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON)   # libmuster_cuda.so takes our symbols
  endif()
  muster_finish(${name} "${EXE_TORCH}")
endfunction()

# muster_embed(ROOM SOURCE FILES...): the texts of files, named from the room's folder, become constants of the room, by its
# SOURCE.cpp.in: there page/app.js stands as @APP_JS@, and its checksum, for a page's security policy, as @APP_JS_SHA256@.
function(muster_embed room source)
  muster_room_target(${room} id)
  if(NOT TARGET muster_${id})   # the fuzz targets leave rooms with LibTorch out
    return()
  endif()
  set(made "${CMAKE_BINARY_DIR}/embedded/${id}/${source}.cpp")
  foreach(name ${ARGN})
    set(file "${CMAKE_SOURCE_DIR}/${room}/${name}")
    get_filename_component(variable "${name}" NAME)
    string(MAKE_C_IDENTIFIER "${variable}" variable)
    string(TOUPPER "${variable}" variable)
    file(READ "${file}" ${variable})
    file(SHA256 "${file}" ${variable}_SHA256)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  endforeach()
  configure_file("${CMAKE_SOURCE_DIR}/${room}/${source}.cpp.in" "${made}" @ONLY)
  target_sources(muster_${id} PRIVATE "${made}")
endfunction()

# muster_version(ROOM): the room holds what base/version.h declares.
function(muster_version room)
  muster_room_target(${room} id)
  if(MUSTER_CUDA)
    execute_process(COMMAND "${MUSTER_CUDA_HOME}/bin/nvcc" --version OUTPUT_VARIABLE nvcc ERROR_QUIET)
    string(REGEX MATCH "release ([0-9.]+)" found "${nvcc}")
    set(MUSTER_CUDA_VERSION "${CMAKE_MATCH_1}")
  endif()
  set(made "${CMAKE_BINARY_DIR}/made/version.cpp")
  configure_file("${CMAKE_SOURCE_DIR}/${room}/version.cpp.in" "${made}" @ONLY)
  target_sources(muster_${id} PRIVATE "${made}")
endfunction()

# muster_commit(ROOM): commit.cpp.in of a room is filled in at every build, and compiled when the commit changed.
function(muster_commit room)
  muster_room_target(${room} id)
  set(made "${CMAKE_BINARY_DIR}/made/commit.cpp")
  add_custom_target(muster_commit_file BYPRODUCTS "${made}" COMMENT ""
    COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${CMAKE_SOURCE_DIR}" "-DTEMPLATE=${CMAKE_SOURCE_DIR}/${room}/commit.cpp.in"
    "-DOUT=${made}" -P "${CMAKE_SOURCE_DIR}/cmake/Commit.cmake")
  target_sources(muster_${id} PRIVATE "${made}")
  set_source_files_properties("${made}" PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  add_dependencies(muster_${id} muster_commit_file)
endfunction()
