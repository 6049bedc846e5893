#include "harness/peer_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

/// Takes `keyword` and the space behind it off the front of `line`.
bool strip_keyword(std::string& line, const std::string& keyword) {
  if (line.rfind(keyword, 0) != 0) return false;
  if (line.size() > keyword.size() && line[keyword.size()] != ' ') return false;
  line.erase(0, std::min(line.size(), keyword.size() + 1));
  return true;
}

std::string request_of(const PeerTask& t) {
  std::ostringstream line;
  line << "prepare op=" << t.operation << " out=" << t.out << " in=" << t.in
       << " tokens=" << t.tokens << " group=" << t.group << " threads=" << t.threads
       << " copies=" << t.copies;
  return line.str();
}

std::map<std::string, std::unique_ptr<PeerProcess>>& peers() {
  static std::map<std::string, std::unique_ptr<PeerProcess>> all;
  return all;
}

std::string peer_directory() {
  if (const char* root = std::getenv("PARE_PEERS")) return std::string(root) + "/bin/";
  const char* home = std::getenv("HOME");
  return std::string(home ? home : "") + "/.cache/pare/peers/bin/";
}

}  // namespace

PeerProcess::PeerProcess(const std::string& program, Timeouts timeouts) : timeouts_(timeouts) {
  // Writing to a dead worker must fail, not end this program.
  ::signal(SIGPIPE, SIG_IGN);
  start(program);
  std::string greeting;
  if (!alive() || !receive(greeting, timeouts_.start)) return;
  if (!strip_keyword(greeting, "peer")) {
    end("greets with \"" + greeting + "\"");
    return;
  }
  const std::size_t space = greeting.find(' ');
  version_ = space == std::string::npos ? "unknown" : greeting.substr(space + 1);
}

PeerProcess::~PeerProcess() {
  if (!alive()) return;
  static_cast<void>(send("quit"));
  for (int i = 0; i < 200; ++i) {
    if (::waitpid(child_, nullptr, WNOHANG) == child_) {
      child_ = -1;
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  end("ended");
}

void PeerProcess::start(const std::string& program) {
  if (::access(program.c_str(), X_OK) != 0) {
    failure_ = "not installed";
    return;
  }
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) != 0) return end(std::strerror(errno));
  if (::pipe2(out, O_CLOEXEC) != 0) {
    const int reason = errno;
    ::close(in[0]);
    ::close(in[1]);
    return end(std::strerror(reason));
  }
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
  // The worker gets the usual SIGPIPE, and a group of its own so that its children end with it.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  char* const arguments[] = {const_cast<char*>(program.c_str()), nullptr};
  const int error =
      ::posix_spawn(&child_, program.c_str(), &files, &attributes, arguments, ::environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  ::close(in[0]);
  ::close(out[1]);
  to_child_ = in[1];
  from_child_ = out[0];
  if (error != 0) {
    child_ = -1;
    end("cannot start: " + std::string(std::strerror(error)));
  }
}

void PeerProcess::end(const std::string& reason) {
  failure_ = reason;
  if (child_ > 0) {
    ::kill(-child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  child_ = -1;
  for (int* file : {&to_child_, &from_child_}) {
    if (*file >= 0) ::close(*file);
    *file = -1;
  }
}

bool PeerProcess::send(const std::string& line) {
  const std::string text = line + "\n";
  // Less than PIPE_BUF: written whole or not at all.
  if (::write(to_child_, text.data(), text.size()) == static_cast<ssize_t>(text.size()))
    return true;
  end("died");
  return false;
}

bool PeerProcess::receive(std::string& line, Seconds timeout) {
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(timeout);
  for (;;) {
    const std::size_t newline = received_.find('\n');
    if (newline != std::string::npos) {
      line = received_.substr(0, newline);
      received_.erase(0, newline + 1);
      return true;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd file{from_child_, POLLIN, 0};
    const int ready = left > 0 ? ::poll(&file, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    char buffer[4096];
    const ssize_t count = ready > 0 ? ::read(from_child_, buffer, sizeof buffer) : 0;
    if (count <= 0) {
      end(ready == 0 ? "no answer in time" : "died");
      return false;
    }
    received_.append(buffer, static_cast<std::size_t>(count));
  }
}

std::string PeerProcess::ask(const std::string& request, const std::string& keyword,
                             Seconds timeout) {
  std::string answer;
  if (!alive() || !send(request) || !receive(answer, timeout)) return {};
  if (strip_keyword(answer, keyword)) {
    failure_.clear();
    return answer;
  }
  if (strip_keyword(answer, "unsupported"))
    failure_ = "unsupported: " + answer;
  else
    end("answers \"" + answer + "\" to \"" + request + "\"");
  return {};
}

pare::Index PeerProcess::prepare(const PeerTask& task) {
  const std::string answer = ask(request_of(task), "ready", timeouts_.prepare);
  return answer.empty() ? 0 : static_cast<pare::Index>(std::strtoll(answer.c_str(), nullptr, 10));
}

std::vector<double> PeerProcess::run(int n) {
  std::istringstream answer(ask("run " + std::to_string(n), "seconds", timeouts_.run));
  std::vector<double> seconds;
  for (double s = 0.0; answer >> s && s > 0.0;) seconds.push_back(s);
  if (alive() && failure_.empty() && seconds.size() != static_cast<std::size_t>(n))
    end("reports " + std::to_string(seconds.size()) + " of " + std::to_string(n) + " times");
  if (!failure_.empty()) seconds.clear();
  return seconds;
}

PeerProcess& peer(const std::string& name) {
  auto& known = peers()[name];
  if (!known) known = std::make_unique<PeerProcess>(peer_directory() + name);
  return *known;
}

std::vector<std::pair<std::string, std::string>> peer_versions() {
  std::vector<std::pair<std::string, std::string>> versions;
  for (const auto& [name, process] : peers())
    if (!process->version().empty()) versions.emplace_back(name, process->version());
  return versions;
}

}  // namespace bench
