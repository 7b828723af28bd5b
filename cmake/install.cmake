# What `cmake --install` and `cpack` put on a system:
#
#   bin/graphrun                 the command
#   lib/libgraphrun.so           every room and operator in one library, for C++ programs
#   lib/graphrun/plugins/        the plugins
#   lib/cmake/graphrun/          find_package(graphrun): graphrun::graphrun and, for plugins, graphrun::plugin
#   lib/pkgconfig/               the same for other build systems: graphrun and graphrun-plugin
#   include/graphrun/            headers, included as they are here: "runtime/ir/graph.h"
#   share/graphrun/models/       the bundled models and data

include(CMakePackageConfigHelpers)

set(GRAPHRUN_PLUGIN_DIR ${CMAKE_INSTALL_LIBDIR}/graphrun/plugins)
set(GRAPHRUN_HEADER_DIR ${CMAKE_INSTALL_INCLUDEDIR}/graphrun)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/graphrun)

# The rooms' objects in one shared library. What its headers show of others is Abseil.
get_property(rooms GLOBAL PROPERTY GRAPHRUN_ROOMS)
add_library(graphrun_library SHARED)
foreach(room ${rooms})
  target_sources(graphrun_library PRIVATE $<TARGET_OBJECTS:${room}>)
endforeach()
target_link_libraries(graphrun_library PRIVATE ${rooms})
set_target_properties(graphrun_library PROPERTIES OUTPUT_NAME graphrun EXPORT_NAME graphrun LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_compile_features(graphrun_library INTERFACE cxx_std_20)
target_include_directories(graphrun_library INTERFACE $<INSTALL_INTERFACE:${GRAPHRUN_HEADER_DIR}>)
target_link_libraries(graphrun_library INTERFACE absl::flat_hash_map absl::flat_hash_set absl::function_ref absl::optional
  absl::span absl::status absl::statusor absl::strings absl::variant)

# What a plugin is built against: headers alone, and the map by which it exports its entry and nothing else.
set(plugin_map ${GRAPHRUN_HEADER_DIR}/plugins/plugin.map)
add_library(graphrun_plugin_interface INTERFACE)
set_target_properties(graphrun_plugin_interface PROPERTIES EXPORT_NAME plugin)
target_include_directories(graphrun_plugin_interface INTERFACE $<INSTALL_INTERFACE:${GRAPHRUN_HEADER_DIR}/plugins>)
target_compile_options(graphrun_plugin_interface INTERFACE $<INSTALL_INTERFACE:-fvisibility=hidden>)
target_link_options(graphrun_plugin_interface INTERFACE
  $<INSTALL_INTERFACE:-Wl,--version-script=$<INSTALL_PREFIX>/${plugin_map}>)

install(TARGETS graphrun_library graphrun_plugin_interface EXPORT graphrun
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT graphrun NAMESPACE graphrun:: DESTINATION ${package_dir} FILE graphrunTargets.cmake)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/runtime ${PROJECT_SOURCE_DIR}/ops ${PROJECT_BINARY_DIR}/generated/
  DESTINATION ${GRAPHRUN_HEADER_DIR} FILES_MATCHING PATTERN *.h PATTERN onednn.h EXCLUDE)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/plugins
  DESTINATION ${GRAPHRUN_HEADER_DIR} FILES_MATCHING PATTERN graphrun_plugin.h PATTERN plugin.map PATTERN sdk/*.hpp)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/models DESTINATION ${CMAKE_INSTALL_DATADIR}/graphrun PATTERN *.py EXCLUDE)
foreach(target graphrun ${GRAPHRUN_PLUGINS})
  if(TARGET ${target})
    install(TARGETS ${target} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} LIBRARY DESTINATION ${GRAPHRUN_PLUGIN_DIR})
  endif()
endforeach()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/graphrun-config.cmake.in
  ${PROJECT_BINARY_DIR}/package/graphrun-config.cmake INSTALL_DESTINATION ${package_dir}
  PATH_VARS GRAPHRUN_PLUGIN_DIR GRAPHRUN_HEADER_DIR CMAKE_INSTALL_BINDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/graphrun-config-version.cmake
  COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH prefix_from_pkgconfig /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" prefix_from_pkgconfig ${prefix_from_pkgconfig})
foreach(name graphrun graphrun-plugin)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in ${PROJECT_BINARY_DIR}/package/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/package/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/package/graphrun-config.cmake
  ${PROJECT_BINARY_DIR}/package/graphrun-config-version.cmake DESTINATION ${package_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME graphrun)
set(CPACK_PACKAGE_CONTACT "the graphrun authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Runs and trains ONNX models on the CPU")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS libabsl-dev)
include(CPack)
