#pragma once

/// The only file that knows Catch2 2 from Catch2 3.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
#else
#include <catch2/catch.hpp>
#include <string>
using Catch::StartsWith;
inline auto ContainsSubstring(const std::string& text) { return Catch::Contains(text); }
#endif
