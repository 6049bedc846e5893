// error: read-only|cannot assign
#include "pare/core/tensor_view.hpp"

#ifdef PARE_MUST_FAIL
using Element = const float;
#else
using Element = float;
#endif

void write(pare::MatrixView<Element> view) { view(0, 0) = 1.0f; }
