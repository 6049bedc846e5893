#pragma once

#include "harness/result.hpp"

namespace bench {

/// Prepares, measures and frees a row.
///
/// Time is the median of at least 9 passes; a pass is as many runs as take a millisecond. Rows
/// with a bandwidth goal are measured in triples (read loop, pass, read loop) over the same
/// buffers; a triple counts when its two read loops differ by at most 10 %. Peaks are measured
/// before and after; the larger counts. Rivals are timed in at least 7 interleaved pairs, and the
/// median of the ratios counts. A rival that fails leaves its ratio blank.
[[nodiscard]] Result measure(const Row& row);

}  // namespace bench
