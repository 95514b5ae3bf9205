# cmake --install and cpack make a tree that works wherever it lies:
#   bin/                 muster, muster-torch, muster-rank-wrap
#   lib/                 the libraries they need beyond glibc, libstdc++, MPI and LibTorch
#   share/muster/        configs, diary, batch script, help, a font, licences of what is in lib/
#   share/man, share/bash-completion, share/zsh
include(GNUInstallDirs)

# Made by the program itself, so they say what it says.
set(texts "${CMAKE_BINARY_DIR}/share")
add_custom_command(OUTPUT "${texts}/man/man1/muster.1" COMMAND muster-torch manual "${texts}" DEPENDS muster-torch
  COMMENT "man pages, completions and help texts")
add_custom_target(muster_texts DEPENDS "${texts}/man/man1/muster.1")

add_library(muster_no_jbig SHARED EXCLUDE_FROM_ALL packaging/no_jbig.cpp)
set_target_properties(muster_no_jbig PROPERTIES OUTPUT_NAME jbig SOVERSION 0 LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/made")

# libexpat without what only glibc 2.36 has: packaging/random.cpp.
find_library(EXPAT_ARCHIVE NAMES libexpat.a)
if(EXPAT_ARCHIVE)
  add_library(muster_expat SHARED EXCLUDE_FROM_ALL packaging/random.cpp)
  set_target_properties(muster_expat PROPERTIES OUTPUT_NAME expat SOVERSION 1 LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/made")
  target_link_options(muster_expat PRIVATE -Wl,--wrap=arc4random_buf)
  target_link_libraries(muster_expat PRIVATE "$<LINK_LIBRARY:WHOLE_ARCHIVE,${EXPAT_ARCHIVE}>")
  set(expat $<TARGET_FILE:muster_expat>)
endif()

# What cmake --install needs besides the programs: ./run package builds it.
add_custom_target(packable DEPENDS muster muster_texts muster_no_jbig $<TARGET_NAME_IF_EXISTS:muster_expat>)

if(MUSTER_FAULTS)
  install(CODE "message(FATAL_ERROR \"this build breaks on request (MUSTER_FAULTS): install build-release, as ./run package does\")")
endif()
set(share "share/muster")
install(PROGRAMS $<TARGET_FILE:muster> $<TARGET_FILE:muster-torch> $<TARGET_FILE:muster-rank-wrap> DESTINATION bin)
if(MUSTER_CUDA)
  install(PROGRAMS $<TARGET_FILE:muster_cuda> DESTINATION lib)
endif()
install(DIRECTORY configs DESTINATION "${share}" FILES_MATCHING PATTERN "*.yaml" PATTERN "*.json")
install(FILES DEBUG_DIARY.md LICENSE NOTICE README.md CHANGELOG.md DESTINATION "${share}")
install(FILES slurm/train.sbatch DESTINATION "${share}/slurm")
install(DIRECTORY "${texts}/" DESTINATION share)
install(CODE "set(MUSTER_NO_JBIG \"$<TARGET_FILE:muster_no_jbig>\")\nset(MUSTER_EXPAT \"${expat}\")\nset(MUSTER_SOURCE \"${CMAKE_SOURCE_DIR}\")")
install(SCRIPT packaging/bundle.cmake)

set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_NAME muster)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_FILE_NAME "muster-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Fine-tunes a vision-language detector on many GPUs")
set(CPACK_PACKAGE_VENDOR "muster")
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
