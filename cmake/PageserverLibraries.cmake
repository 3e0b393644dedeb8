# The libraries that others link, and their installation: headers, find_package(pageserver), pkg-config.
include(CMakePackageConfigHelpers)

set(pageserver_parts
  $<TARGET_OBJECTS:pageserver_client> $<TARGET_OBJECTS:pageserver_storage> $<TARGET_OBJECTS:pageserver_proto>)

foreach(kind static shared)
  string(TOUPPER ${kind} kind_upper)
  add_library(pageserver_${kind} ${kind_upper} ${pageserver_parts})
  set_target_properties(pageserver_${kind} PROPERTIES
    OUTPUT_NAME pageserver EXPORT_NAME ${kind} LINKER_LANGUAGE CXX)
  target_compile_features(pageserver_${kind} PUBLIC cxx_std_20)
  target_include_directories(pageserver_${kind} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(pageserver_${kind} PRIVATE Threads::Threads)
  add_library(pageserver::${kind} ALIAS pageserver_${kind})
endforeach()
add_library(pageserver::pageserver ALIAS pageserver_static)

# -fvisibility=hidden leaves instantiated templates of the standard library visible; the list hides them too.
set(pageserver_exports ${PROJECT_SOURCE_DIR}/cmake/pageserver.exports)
set_target_properties(pageserver_shared PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} LINK_DEPENDS ${pageserver_exports})
target_link_options(pageserver_shared PRIVATE LINKER:--version-script=${pageserver_exports})
if(NOT PAGESERVER_SANITIZE)
  target_link_options(pageserver_shared PRIVATE LINKER:--no-undefined)
endif()

set(pageserver_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pageserver)
install(TARGETS pageserver_static EXPORT pageserver_static_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  COMPONENT library)
install(TARGETS pageserver_shared EXPORT pageserver_shared_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  COMPONENT library)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pageserver DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library
  FILES_MATCHING PATTERN "*.hpp")
foreach(kind static shared)
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
configure_file(${PROJECT_SOURCE_DIR}/cmake/pageserver.pc.in ${PROJECT_BINARY_DIR}/cmake/pageserver.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cmake/pageserver.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
