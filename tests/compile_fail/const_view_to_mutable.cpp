// error: could not convert|no viable conversion
#include "pare/core/tensor_view.hpp"

#ifdef PARE_MUST_FAIL
using From = const float;
using To = float;
#else
using From = float;
using To = const float;
#endif

pare::MatrixView<To> convert(pare::MatrixView<From> view) { return view; }
