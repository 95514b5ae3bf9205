# cmake -DSOURCE=DIR -DTEMPLATE=FILE -DOUT=FILE -P Commit.cmake: writes OUT when the commit is another than before.
execute_process(COMMAND git -C "${SOURCE}" describe --always --dirty=+ --exclude=* --abbrev=8
  OUTPUT_VARIABLE MUSTER_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
configure_file("${TEMPLATE}" "${OUT}" @ONLY)
