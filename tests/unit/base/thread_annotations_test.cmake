# cmake -DCLANG=clang++ -DROOT=DIR -DSOURCE=FILE -DBREACHES=N -P: fails unless clang takes the file as it is and refuses
# each BREACH in it.
foreach(breach RANGE 0 ${BREACHES})
  execute_process(COMMAND ${CLANG} -std=c++20 -fsyntax-only -Wthread-safety -Werror -Wno-unused -DBREACH=${breach}
      -I${ROOT} -I${ROOT}/include ${SOURCE}
    RESULT_VARIABLE result ERROR_VARIABLE text)
  if(breach EQUAL 0)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR "clang refuses code without a breach:\n${text}")
    endif()
  elseif(NOT text MATCHES "Wthread-safety")
    message(FATAL_ERROR "clang does not see breach ${breach}:\n${text}")
  endif()
endforeach()
