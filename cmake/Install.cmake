# Installs the program, the library with its headers, and the shared libraries that came from wheels beside them.
include(CMakePackageConfigHelpers)
install(TARGETS kvlab EXPORT kvlabTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET kvlab-cli)
  install(TARGETS kvlab-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  # Man pages are written from the program's help, so they never say less or more than it.
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man/kvlab.1
    COMMAND ${CMAKE_SOURCE_DIR}/tools/docs/make_man.sh $<TARGET_FILE:kvlab-cli> ${CMAKE_BINARY_DIR}/man
    DEPENDS kvlab-cli ${CMAKE_SOURCE_DIR}/tools/docs/make_man.sh VERBATIM)
  add_custom_target(man ALL DEPENDS ${CMAKE_BINARY_DIR}/man/kvlab.1)
  install(DIRECTORY ${CMAKE_BINARY_DIR}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
install(DIRECTORY src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/kvlab FILES_MATCHING PATTERN "*.h" PATTERN "cli" EXCLUDE)
install(DIRECTORY data/corpus scorers DESTINATION ${CMAKE_INSTALL_DATADIR}/kvlab)
install(CODE "
  file(GLOB models \"${KVLAB_DEPS_DIR}/models/*.gguf\")
  foreach(model \${models})
    file(REAL_PATH \"\${model}\" real)
    file(INSTALL \"\${real}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/kvlab/models\")
  endforeach()")
# Whole symlink chains: the loader asks for the soname in the middle (libdnnl.so.3).
get_target_property(dnnl_file DNNL::dnnl IMPORTED_LOCATION_RELEASE)
if(NOT dnnl_file)
  get_target_property(dnnl_file DNNL::dnnl LOCATION)
endif()
get_filename_component(dnnl_folder ${dnnl_file} DIRECTORY)
get_filename_component(ggml_folder ${GGML_BASE} DIRECTORY)
file(GLOB carried_libraries "${dnnl_folder}/libdnnl.so*" "${ggml_folder}/libggml-base.so*")
install(FILES ${carried_libraries} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT kvlabTargets NAMESPACE kvlab:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kvlab)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/kvlabConfig.cmake @ONLY CONTENT
"include(CMakeFindDependencyMacro)
find_dependency(nlohmann_json)
include(\"\${CMAKE_CURRENT_LIST_DIR}/kvlabTargets.cmake\")
")
write_basic_package_version_file(${CMAKE_BINARY_DIR}/kvlabConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/kvlabConfig.cmake ${CMAKE_BINARY_DIR}/kvlabConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kvlab)
