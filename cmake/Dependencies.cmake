# Finds what scripts/setup.sh installed: Debian packages, and oneDNN and ggml from wheels under KVLAB_DEPS_DIR.
# A system version that is new enough is used first. Everything is wrapped as an imported target.
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(fmt REQUIRED)
find_package(PkgConfig REQUIRED)

list(APPEND CMAKE_PREFIX_PATH "${KVLAB_DEPS_DIR}/venv")
find_package(dnnl 3 QUIET CONFIG)
if(NOT dnnl_FOUND)
  message(FATAL_ERROR "oneDNN 3 not found: run scripts/setup.sh, or set KVLAB_DEPS_DIR (now ${KVLAB_DEPS_DIR})")
endif()

# ggml-base only: GGUF parsing and the quantised types. Its CPU library needs AVX2 and is not linked.
find_path(GGML_INCLUDE gguf.h HINTS "${KVLAB_DEPS_DIR}/ggml/include")
find_library(GGML_BASE ggml-base HINTS "${KVLAB_DEPS_DIR}/ggml/lib64" "${KVLAB_DEPS_DIR}/ggml/lib")
if(NOT GGML_INCLUDE OR NOT GGML_BASE)
  message(FATAL_ERROR "ggml not found: run scripts/setup.sh, or set KVLAB_DEPS_DIR (now ${KVLAB_DEPS_DIR})")
endif()
add_library(kvlab_ggml SHARED IMPORTED)
set_target_properties(kvlab_ggml PROPERTIES IMPORTED_LOCATION "${GGML_BASE}"
  INTERFACE_INCLUDE_DIRECTORIES "${GGML_INCLUDE}")

pkg_check_modules(CAIRO REQUIRED IMPORTED_TARGET cairo)
add_library(kvlab_cairo INTERFACE)
target_link_libraries(kvlab_cairo INTERFACE PkgConfig::CAIRO)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
add_library(kvlab_pcre2 INTERFACE)
target_link_libraries(kvlab_pcre2 INTERFACE PkgConfig::PCRE2)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
add_library(kvlab_hwy INTERFACE)
target_link_libraries(kvlab_hwy INTERFACE PkgConfig::HWY)
find_package(Eigen3 REQUIRED NO_MODULE)
add_library(kvlab_eigen INTERFACE)
target_link_libraries(kvlab_eigen INTERFACE Eigen3::Eigen)
find_package(CLI11 REQUIRED)
add_library(kvlab_cli11 INTERFACE)
target_link_libraries(kvlab_cli11 INTERFACE CLI11::CLI11)
