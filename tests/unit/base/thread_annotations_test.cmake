# cmake -DCLANG=clang++ -DROOT=DIR -P: fails unless clang takes tests/unit/base/thread_annotations.cpp as it is and
# refuses each breach in it.
set(source ${ROOT}/tests/unit/base/thread_annotations.cpp)
foreach(breach RANGE 0 7)
  execute_process(COMMAND ${CLANG} -std=c++20 -fsyntax-only -Wthread-safety -Werror -Wno-unused -DBREACH=${breach} -I${ROOT}
      ${source}
    RESULT_VARIABLE result ERROR_VARIABLE text)
  if(breach EQUAL 0)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR "clang refuses code without a breach:\n${text}")
    endif()
  elseif(NOT text MATCHES "Wthread-safety")
    message(FATAL_ERROR "clang does not see breach ${breach}:\n${text}")
  endif()
endforeach()
