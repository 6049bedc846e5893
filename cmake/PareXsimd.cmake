# Debian's xsimd 8.1 lists a target `xtl` in its link interface, which it uses only when
# XSIMD_ENABLE_XTL_COMPLEX is defined and does not depend on. Without a target of that name the
# linker is asked for -lxtl.
if(TARGET xsimd AND NOT TARGET xtl)
  get_target_property(pare_xsimd_links xsimd INTERFACE_LINK_LIBRARIES)
  if("xtl" IN_LIST pare_xsimd_links)
    add_library(xtl INTERFACE IMPORTED GLOBAL)
  endif()
endif()
