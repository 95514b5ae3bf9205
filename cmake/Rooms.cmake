# The include law. Each room's headers are visible only through a folder of its own that holds one link to the room, so
# `#include "sharding/layout/flat_space.h"` compiles exactly in the rooms that USE sharding.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

# Flags every target of ours shares: the precompiled header needs them to be identical.
add_library(muster_flags INTERFACE)
target_compile_options(muster_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -fpch-preprocess
  $<$<BOOL:${MUSTER_UNITY}>:-Wno-subobject-linkage>   # meant for headers; it takes an included .cpp for one
  $<$<BOOL:${MUSTER_WARNINGS_AS_ERRORS}>:-Werror>)
target_compile_definitions(muster_flags INTERFACE SPDLOG_FMT_EXTERNAL SPDLOG_SHARED_LIB SPDLOG_COMPILED_LIB
  MUSTER_VERSION="${PROJECT_VERSION}")
target_include_directories(muster_flags SYSTEM BEFORE INTERFACE "${CMAKE_BINARY_DIR}/first")
target_link_libraries(muster_flags INTERFACE torch::cpu Threads::Threads)
target_link_options(muster_flags INTERFACE -fuse-ld=lld)
if(MUSTER_SANITIZE)
  target_compile_options(muster_flags INTERFACE -fsanitize=${MUSTER_SANITIZE})
  target_link_options(muster_flags INTERFACE -fsanitize=${MUSTER_SANITIZE})
endif()

# Every file pays about 1.3 s for templates that <ATen/ATen.h> leaves to be instantiated at its end, so a clean build
# compiles a room's files some at a time: half the processor time (measured on tests/sharding: 14.1 s alone, 6.7 s as
# one). -DMUSTER_UNITY=OFF compiles each alone.
function(muster_unity target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${MUSTER_UNITY} UNITY_BUILD_BATCH_SIZE 6)
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    # base/vectorize.h sets how all code after it is compiled: its files stay alone.
    file(STRINGS "${source}" vectorized REGEX "include \"base/vectorize\\.h\"")
    if(vectorized)
      set_source_files_properties("${source}" PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endif()
  endforeach()
endfunction()

add_library(muster_pch OBJECT cmake/pch.cpp)
target_link_libraries(muster_pch PUBLIC muster_flags)
target_precompile_headers(muster_pch PRIVATE <ATen/ATen.h>)

function(muster_room name)
  cmake_parse_arguments(ROOM "" "" "USES;LINKS" ${ARGN})
  file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/rooms/${name}")
  file(CREATE_LINK "${CMAKE_SOURCE_DIR}/${name}" "${CMAKE_BINARY_DIR}/rooms/${name}/${name}" SYMBOLIC)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${name}/*.cpp")
  list(FILTER sources EXCLUDE REGEX "/cuda/|/main\\.cpp$")
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${name}/*.h")
  add_library(muster_${name} STATIC ${sources} cmake/empty.cpp)
  add_library(muster::${name} ALIAS muster_${name})
  target_include_directories(muster_${name} PUBLIC "${CMAKE_BINARY_DIR}/rooms/${name}")
  target_link_libraries(muster_${name} PUBLIC muster_flags ${ROOM_LINKS})
  foreach(used ${ROOM_USES})
    target_link_libraries(muster_${name} PUBLIC muster::${used})
  endforeach()
  target_precompile_headers(muster_${name} REUSE_FROM muster_pch)
  muster_unity(muster_${name})
  set_property(TARGET muster_${name} PROPERTY MUSTER_HEADERS "${headers}")
endfunction()

function(muster_executable name)
  cmake_parse_arguments(EXE "" "" "USES;LINKS" ${ARGN})
  target_link_libraries(${name} PRIVATE muster_flags ${EXE_LINKS})
  foreach(used ${EXE_USES})
    target_link_libraries(${name} PRIVATE muster::${used})
  endforeach()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}" ENABLE_EXPORTS ON)
  target_precompile_headers(${name} REUSE_FROM muster_pch)
  muster_unity(${name})
endfunction()
