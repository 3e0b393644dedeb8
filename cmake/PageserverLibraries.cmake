# The libraries that others link, and their installation: headers, find_package(pageserver), pkg-config.
#   libpageserver.so.1                           the C interface, pageserver.h; pageserver::c, pkg-config pageserver
#   libpageserver++.so.MAJOR.MINOR, libpageserver++.a   the C++ library; pageserver::pageserver, pkg-config pageserver++
include(CMakePackageConfigHelpers)

set(pageserver_parts
  $<TARGET_OBJECTS:pageserver_client> $<TARGET_OBJECTS:pageserver_storage> $<TARGET_OBJECTS:pageserver_proto>
  $<TARGET_OBJECTS:pageserver_tls>)

foreach(kind static shared)
  string(TOUPPER ${kind} kind_upper)
  add_library(pageserver_${kind} ${kind_upper} ${pageserver_parts})
  set_target_properties(pageserver_${kind} PROPERTIES
    OUTPUT_NAME pageserver++ EXPORT_NAME ${kind} LINKER_LANGUAGE CXX)
  target_compile_features(pageserver_${kind} PUBLIC cxx_std_20)
  target_include_directories(pageserver_${kind} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(pageserver_${kind} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  add_library(pageserver::${kind} ALIAS pageserver_${kind})
endforeach()
add_library(pageserver::pageserver ALIAS pageserver_static)

add_library(pageserver_c SHARED ${pageserver_parts} $<TARGET_OBJECTS:pageserver_c_objects>)
set_target_properties(pageserver_c PROPERTIES OUTPUT_NAME pageserver EXPORT_NAME c LINKER_LANGUAGE CXX)
target_include_directories(pageserver_c PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(pageserver_c PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
add_library(pageserver::c ALIAS pageserver_c)

set_target_properties(pageserver_shared PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
# The C interface has a number of its own, which only a change that breaks programs raises.
set_target_properties(pageserver_c PROPERTIES VERSION 1.0 SOVERSION 1)
# -fvisibility=hidden leaves instantiated templates of the standard library visible; the lists hide them too.
foreach(kind shared c)
  set(exports ${PROJECT_SOURCE_DIR}/cmake/pageserver_${kind}.exports)
  set_target_properties(pageserver_${kind} PROPERTIES LINK_DEPENDS ${exports})
  target_link_options(pageserver_${kind} PRIVATE LINKER:--version-script=${exports})
  if(NOT PAGESERVER_SANITIZE)
    target_link_options(pageserver_${kind} PRIVATE LINKER:--no-undefined)
  endif()
endforeach()

set(pageserver_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pageserver)
install(TARGETS pageserver_static EXPORT pageserver_static_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  COMPONENT library)
install(TARGETS pageserver_shared EXPORT pageserver_shared_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  COMPONENT library)
install(TARGETS pageserver_c EXPORT pageserver_c_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  COMPONENT library)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pageserver DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
foreach(kind static shared c)
  install(EXPORT pageserver_${kind}_targets NAMESPACE pageserver:: DESTINATION ${pageserver_package_dir}
    COMPONENT library)
endforeach()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/pageserver-config.cmake.in
  ${PROJECT_BINARY_DIR}/cmake/pageserver-config.cmake INSTALL_DESTINATION ${pageserver_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/pageserver-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cmake/pageserver-config.cmake
  ${PROJECT_BINARY_DIR}/cmake/pageserver-config-version.cmake DESTINATION ${pageserver_package_dir} COMPONENT library)

# The prefix is found from where the file lies, so that an installed tree may be moved.
file(RELATIVE_PATH pageserver_prefix_from_pc
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
foreach(library pageserver pageserver++)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${library}.pc.in ${PROJECT_BINARY_DIR}/cmake/${library}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/cmake/${library}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
    COMPONENT library)
endforeach()
