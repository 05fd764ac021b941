# For a binary that needs nothing but the C library: links the archives of Debian's libraries in
# place of their shared objects. Included after the last find_package.

# Debian has no archives of these two; both can be compiled in.
set(CATENA_FMT fmt::fmt-header-only)
set(CATENA_SPDLOG spdlog::spdlog_header_only)
set_property(TARGET spdlog::spdlog_header_only
             PROPERTY INTERFACE_LINK_LIBRARIES Threads::Threads fmt::fmt-header-only)

# What links `path` now links the archive beside it.
function(catena_use_archive target property)
  get_target_property(path ${target} ${property})
  if(NOT path MATCHES "\\.so(\\.|$)")
    return()
  endif()
  string(REGEX REPLACE "\\.so(\\..*)?$" ".a" archive "${path}")
  if(NOT EXISTS "${archive}")
    message(FATAL_ERROR "CATENA_STATIC: there is no ${archive}; install the library's -dev package")
  endif()
  set_target_properties(${target} PROPERTIES ${property} "${archive}")
endfunction()

get_directory_property(targets IMPORTED_TARGETS)
foreach(target ${targets})
  # Of protoc's plugins, of tests, and those that are compiled in.
  if(target MATCHES "^(fmt|spdlog)::|plugin|GTest|protoc")
    continue()
  endif()
  get_target_property(type ${target} TYPE)
  if(type MATCHES "SHARED|UNKNOWN")
    foreach(configuration "" _NONE _RELEASE _NOCONFIG)
      catena_use_archive(${target} IMPORTED_LOCATION${configuration})
    endforeach()
  endif()
endforeach()
catena_use_archive(PkgConfig::XXHASH INTERFACE_LINK_LIBRARIES)
# Data of ICU: its own archive, which the shared object names by itself.
find_library(ICU_DATA_ARCHIVE libicudata.a REQUIRED)
set_property(TARGET ICU::uc APPEND PROPERTY INTERFACE_LINK_LIBRARIES ${ICU_DATA_ARCHIVE})

# Archives refer to each other in circles.
set(CMAKE_CXX_LINK_EXECUTABLE
    "<CMAKE_CXX_COMPILER> <FLAGS> <CMAKE_CXX_LINK_FLAGS> <LINK_FLAGS> <OBJECTS> -o <TARGET> \
-static-libstdc++ -static-libgcc -Wl,--start-group <LINK_LIBRARIES> -Wl,--end-group")
