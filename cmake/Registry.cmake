# Registration is the file name. For each group (NAME FOLDER HEADER TYPE) this writes a source that lists one
# `extern const TYPE k<TYPE>_<stem>;` per file of src/FOLDER, as kvlab::registry_NAME(). Static self-registration would be
# lost in libraries; a file whose object is not named after its stem fails at link time.
function(kvlab_registry out)
  set(args ${ARGN})
  list(FIND args EXCLUDE at)
  set(excluded "")
  if(at GREATER -1)
    math(EXPR next "${at} + 1")
    list(SUBLIST args ${next} -1 excluded)
    list(SUBLIST args 0 ${at} args)
  endif()
  set(sources "")
  while(args)
    list(POP_FRONT args name folder header type)
    if(NOT EXISTS ${CMAKE_SOURCE_DIR}/src/${header})
      continue()
    endif()
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cc)
    list(SORT files)
    set(declarations "")
    set(entries "")
    set(count 0)
    foreach(file ${files})
      get_filename_component(stem ${file} NAME_WE)
      # shared_*.cc hold what the files of a folder share; only files that define the object are listed.
      if(stem IN_LIST excluded OR stem MATCHES "^shared_")
        continue()
      endif()
      string(APPEND declarations "extern const ${type} k${type}_${stem};\n")
      string(APPEND entries "      &k${type}_${stem},\n")
      math(EXPR count "${count} + 1")
    endforeach()
    set(path ${CMAKE_BINARY_DIR}/registry/${name}.cc)
    file(CONFIGURE OUTPUT ${path} @ONLY CONTENT "// Written by cmake/Registry.cmake from the files of src/${folder}.
#include \"${header}\"

namespace kvlab {
${declarations}
const std::vector<const ${type}*>& registry_${name}() {
  static const std::vector<const ${type}*> all = {
${entries}  };
  return all;
}
}  // namespace kvlab
")
    list(APPEND sources ${path})
  endwhile()
  set(${out} ${sources} PARENT_SCOPE)
endfunction()
