cmake_minimum_required(VERSION 3.25)
file(MAKE_DIRECTORY ${work})
set(use "#include <pageserver/pageserver.h>
int main(void) {
  ps_error error = PS_ERROR_INIT;
  ps_options options = PS_OPTIONS_INIT;
  ps_traffic traffic;
  ps_session* session = NULL;
  traffic.size = sizeof traffic;
  options.access = PS_ACCESS_READ;
  options.cache_bytes = PS_CACHE_OFF;
  return ps_session_open(ps_version(), &options, &session, &error) == PS_OK &&
         ps_session_traffic(session, &traffic, NULL) == PS_OK;
}
")
file(WRITE ${work}/use.c "${use}")
file(WRITE ${work}/use.cpp "${use}")
set(count 0)
function(compile_all suffix standards)
  foreach(name IN LISTS ARGN)
    find_program(compiler_${name} ${name})
    if(NOT compiler_${name})
      continue()
    endif()
    foreach(standard IN LISTS standards)
      execute_process(COMMAND ${compiler_${name}} -std=${standard} -pedantic -Wall -Wextra -Werror
        -I${include_dir} -c ${work}/use.${suffix} -o ${work}/use.o
        RESULT_VARIABLE status ERROR_VARIABLE said)
      if(NOT status EQUAL 0)
        message(SEND_ERROR "${name} -std=${standard}: ${said}")
      endif()
      math(EXPR count "${count} + 1")
    endforeach()
  endforeach()
  set(count ${count} PARENT_SCOPE)
endfunction()
compile_all(c "c89;c99;c11" gcc clang clang-14 clang-19)
compile_all(cpp "c++98;c++11;c++20" g++ clang++ clang++-14 clang++-19)
if(count LESS 6)
  message(SEND_ERROR "no two compilers were found")
endif()
message(STATUS "compiled ${count} times")
