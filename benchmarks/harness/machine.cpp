#include "harness/machine.hpp"

#include <ctime>
#include <fstream>
#include <thread>

#include "pare/kernels/memory_tuning.hpp"

namespace bench {
namespace {

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown";
}

std::string compiler_name() {
#if defined(__clang__)
  return "clang++ " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__);
#elif defined(__GNUC__)
  return "g++ " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__);
#else
  return "unknown";
#endif
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::localtime(&now));
  return text;
}

}  // namespace

Machine this_machine() {
  Machine m{cpu_name(), compiler_name(), today()};
  m.cores = static_cast<int>(std::thread::hardware_concurrency());
  m.l3_bytes = static_cast<double>(pare::last_level_cache_bytes());
  return m;
}

}  // namespace bench
