# cmake -D source=FILE -D compile=COMMAND;LINE -P check.cmake
file(STRINGS ${source} expected LIMIT_COUNT 1 REGEX "^// error: ")
string(REGEX REPLACE "^// error: " "" expected "${expected}")
if(expected STREQUAL "")
  message(FATAL_ERROR "${source} does not start with a line \"// error: <regular expression>\"")
endif()

execute_process(COMMAND ${compile} -fsyntax-only ${source}
  RESULT_VARIABLE status ERROR_VARIABLE messages)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "the twin without PARE_MUST_FAIL does not compile:\n${messages}")
endif()

execute_process(COMMAND ${compile} -fsyntax-only -DPARE_MUST_FAIL ${source}
  RESULT_VARIABLE status ERROR_VARIABLE messages)
if(status EQUAL 0)
  message(FATAL_ERROR "${source} compiles with PARE_MUST_FAIL")
endif()
string(REGEX MATCHALL "error: [^\n]*" errors "${messages}")
if(NOT errors MATCHES "${expected}")
  message(FATAL_ERROR "no error matches \"${expected}\":\n${messages}")
endif()
