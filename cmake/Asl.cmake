# ringvisor_asl(out source.asl symbol): compiles ASL at build time into a C file that defines
# `const unsigned char symbol[]` and `const unsigned int symbol_bytes`; puts its path into `out`.
# The source goes through the C preprocessor, with src/ as its include path. iasl's warnings are
# errors. The same file is the script that does the text work (cmake -DSTEP=… -P Asl.cmake).
if(DEFINED STEP)
  if(STEP STREQUAL "plain")
    # ASL's integers have no suffixes.
    file(READ ${INPUT} text)
    string(REGEX REPLACE "([0-9a-fA-F])ULL" "\\1" text "${text}")
    file(WRITE ${OUTPUT} "${text}")
  elseif(STEP STREQUAL "compile")
    execute_process(COMMAND ${IASL} -we -vs -vr -p ${OUTPUT} ${INPUT}
      OUTPUT_VARIABLE log ERROR_VARIABLE log RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR "${log}")
    endif()
  elseif(STEP STREQUAL "array")
    file(READ ${INPUT} hex HEX)
    string(LENGTH "${hex}" digits)
    math(EXPR bytes "${digits} / 2")
    string(REGEX REPLACE "(..)" "0x\\1," list "${hex}")
    file(WRITE ${OUTPUT} "extern const unsigned char ${SYMBOL}[];\n"
      "extern const unsigned int ${SYMBOL}_bytes;\n\n"
      "const unsigned char ${SYMBOL}[] = {\n\t${list}\n};\n"
      "const unsigned int ${SYMBOL}_bytes = ${bytes};\n")
  endif()
  return()
endif()

function(ringvisor_asl out source symbol)
  set(script ${PROJECT_SOURCE_DIR}/cmake/Asl.cmake)
  set(base ${CMAKE_CURRENT_BINARY_DIR}/${symbol})
  add_custom_command(OUTPUT ${base}.c
    COMMAND ${CMAKE_C_COMPILER} -E -P -x c -I ${PROJECT_SOURCE_DIR}/src
      ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${base}.i
    COMMAND ${CMAKE_COMMAND} -DSTEP=plain -DINPUT=${base}.i -DOUTPUT=${base}.asl -P ${script}
    COMMAND ${CMAKE_COMMAND} -DSTEP=compile -DIASL=${IASL} -DINPUT=${base}.asl -DOUTPUT=${base}
      -P ${script}
    COMMAND ${CMAKE_COMMAND} -DSTEP=array -DSYMBOL=${symbol} -DINPUT=${base}.aml
      -DOUTPUT=${base}.c -P ${script}
    DEPENDS ${source} ${PROJECT_SOURCE_DIR}/src/core/layout.h ${script}
    COMMENT "Compiling ${source}" VERBATIM)
  set(${out} ${base}.c PARENT_SCOPE)
endfunction()
