# cmake -D readme=FILE -D compile=COMMAND;LINE -D build=DIR -P readme.cmake
# Builds the first ```cpp block of the README and compares what it prints with the next block.
file(READ ${readme} text)

# Removes everything up to and including the next fence that starts with `opening` from `text`, and
# returns what that block holds.
function(next_block opening result)
  string(FIND "${text}" "${opening}" begin)
  if(begin EQUAL -1)
    message(FATAL_ERROR "${readme} has no block that starts with ${opening}")
  endif()
  string(SUBSTRING "${text}" ${begin} -1 text)
  string(FIND "${text}" "\n" line_end)
  math(EXPR line_end "${line_end} + 1")
  string(SUBSTRING "${text}" ${line_end} -1 text)
  string(FIND "${text}" "```" end)
  string(SUBSTRING "${text}" 0 ${end} block)
  math(EXPR end "${end} + 3")
  string(SUBSTRING "${text}" ${end} -1 text)
  set(${result} "${block}" PARENT_SCOPE)
  set(text "${text}" PARENT_SCOPE)
endfunction()

next_block("```cpp\n" program)
next_block("```" expected)

file(WRITE ${build}/readme.cpp "${program}")
execute_process(COMMAND ${compile} -O2 -fopenmp ${build}/readme.cpp -o ${build}/readme
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${build}/readme OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)

string(STRIP "${expected}" expected)
string(STRIP "${printed}" printed)
if(NOT printed STREQUAL expected)
  message(FATAL_ERROR "the README's program prints\n${printed}\ninstead of\n${expected}")
endif()
