#pragma once

#include <cstdio>
#include <mutex>
#include <set>
#include <string>

namespace engine {

/// Tells on standard error what was assumed about a model, in one line, the first time only: a
/// model is opened several times by some commands, and a layer is like the next one.
inline void warn_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> told;
  const std::lock_guard lock(mutex);
  if (told.insert(text).second) std::fprintf(stderr, "warning: %s\n", text.c_str());
}

}  // namespace engine
