#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

namespace pare::test {

/// Programs that check addresses need memory of their own.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool has_address_sanitizer = true;
#elif defined(__has_feature)
inline constexpr bool has_address_sanitizer = __has_feature(address_sanitizer);
#else
inline constexpr bool has_address_sanitizer = false;
#endif

/// How a run of the program ended.
struct Outcome {
  int status = -1;  ///< exit status, or -1 when a signal ended it
  std::string out, err;

  [[nodiscard]] long error_lines() const { return std::count(err.begin(), err.end(), '\n'); }
  /// The last line of standard error.
  [[nodiscard]] std::string last_error() const {
    const std::string text = err.substr(0, err.find_last_not_of('\n') + 1);
    return text.substr(text.find_last_of('\n') + 1);
  }
};

/// A running `pare`; its output is collected in files.
class Program {
 public:
  /// No file may grow beyond `file_limit_bytes`: stands in for a full disk. The program's own data,
  /// mapped files apart, may not grow beyond `data_limit_bytes`.
  explicit Program(const std::vector<std::string>& arguments,
                   rlim_t file_limit_bytes = RLIM_INFINITY,
                   rlim_t data_limit_bytes = RLIM_INFINITY) {
    std::vector<std::string> words{PARE_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string out = (directory_ / "out").string(), err = (directory_ / "err").string();
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    ::dup2(::open(out.c_str(), O_CREAT | O_WRONLY, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), O_CREAT | O_WRONLY, 0600), STDERR_FILENO);
    for (const auto& [resource, most] :
         {std::pair(RLIMIT_FSIZE, file_limit_bytes), std::pair(RLIMIT_DATA, data_limit_bytes)}) {
      const rlimit limit{most, most};
      if (most != RLIM_INFINITY) ::setrlimit(resource, &limit);
    }
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    kill();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] bool running() {
    if (pid_ <= 0) return false;
    if (::waitpid(pid_, &state_, WNOHANG) != 0) pid_ = -1;
    return pid_ > 0;
  }
  void kill() const {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
  }
  Outcome wait() {
    if (pid_ > 0) ::waitpid(pid_, &state_, 0);
    pid_ = -1;
    return {WIFEXITED(state_) ? WEXITSTATUS(state_) : -1, read_text(directory_ / "out"),
            read_text(directory_ / "err")};
  }

 private:
  TemporaryDirectory directory_;
  pid_t pid_ = -1;
  int state_ = 0;
};

inline Outcome run_pare(const std::vector<std::string>& arguments,
                        rlim_t file_limit_bytes = RLIM_INFINITY) {
  return Program(arguments, file_limit_bytes).wait();
}

/// Runs a command that must succeed; gives its standard output.
[[nodiscard]] inline std::string output_of(const std::vector<std::string>& arguments) {
  const Outcome outcome = run_pare(arguments);
  CAPTURE(arguments, outcome.err);
  REQUIRE(outcome.status == 0);
  return outcome.out;
}

}  // namespace pare::test
