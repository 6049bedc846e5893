// error: constraint
#include "pare/formats/int.hpp"

#ifdef PARE_MUST_FAIL
using Format = pare::Int<9>;
#else
using Format = pare::Int<8>;
#endif

static_assert(Format::code_bits > 0);
