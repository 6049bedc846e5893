#include "harness/peer_process.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "support/catch.hpp"

namespace {

using bench::PeerProcess;

/// A worker whose answers to "prepare" and "run" are these lines of shell.
class FakePeer {
 public:
  FakePeer(const std::string& prepare, const std::string& run,
           const std::string& greeting = "echo peer fake 1.2 beta") {
    static int count = 0;
    path_ = "fake_peer_" + std::to_string(::getpid()) + "_" + std::to_string(++count);
    std::ofstream(path_) << "#!/bin/sh\n"
                         << greeting << "\nwhile read -r word rest; do\ncase $word in\nprepare) "
                         << prepare << ";;\nrun) " << run << ";;\nquit) exit;;\nesac\ndone\n";
    ::chmod(path_.c_str(), 0700);
  }
  FakePeer(const FakePeer&) = delete;
  FakePeer& operator=(const FakePeer&) = delete;
  ~FakePeer() { std::remove(path_.c_str()); }

  [[nodiscard]] std::string program() const { return "./" + path_; }

 private:
  std::string path_;
};

const bench::PeerTask task{
    .operation = "w4a8", .out = 48, .in = 64, .tokens = 3, .group = 32, .threads = 2, .copies = 5};

}  // namespace

TEST_CASE("a peer worker answers requests") {
  const FakePeer fake(
      "[ \"$rest\" = 'op=w4a8 out=48 in=64 tokens=3 group=32 threads=2 copies=5' ] "
      "&& echo ready 1728 || echo unsupported \"$rest\"",
      "echo seconds 0.5 2e-3 0.25");
  PeerProcess process(fake.program());
  CHECK(process.version() == "1.2 beta");
  CHECK(process.prepare(task) == 1728);
  CHECK(process.run(3) == std::vector<double>{0.5, 0.002, 0.25});
  CHECK(process.failure().empty());
  CHECK(process.alive());
}

TEST_CASE("a peer that does not support a task may support the next") {
  const FakePeer fake(
      "case $rest in *tokens=3*) echo unsupported no such tile;; "
      "*) echo ready 7;; esac",
      "echo seconds 1");
  PeerProcess process(fake.program());
  CHECK(process.prepare(task) == 0);
  CHECK(process.failure() == "unsupported: no such tile");
  bench::PeerTask other = task;
  other.tokens = 1;
  CHECK(process.prepare(other) == 7);
  CHECK(process.failure().empty());
  CHECK(process.run(1).size() == 1);
}

TEST_CASE("a peer that is missing, dies, hangs or babbles is ended and says why") {
  struct Case {
    std::string prepare, run, greeting, failure;
  };
  const std::string hello = "echo peer fake 1";
  const Case cases[] = {
      {"exit 3", "", hello, "died"},
      {"kill -9 $$", "", hello, "died"},
      {"sleep 1000", "", hello, "no answer in time"},
      {"printf ready", "", hello, "no answer in time"},
      {"echo steady 5", "", hello, "answers \"steady 5\""},
      {"echo ready 5", "exit", hello, "died"},
      {"echo ready 5", "echo seconds 1 2", hello, "reports 2 of 3 times"},
      {"echo ready 5", "echo seconds 1 -2 3", hello, "reports 1 of 3 times"},
      {"", "", "exit", "died"},
      {"", "", "sleep 1000", "no answer in time"},
      {"", "", "echo error: no library", "greets with \"error: no library\""},
  };
  for (const Case& c : cases) {
    INFO(c.greeting << " / " << c.prepare << " / " << c.run);
    const FakePeer fake(c.prepare, c.run, c.greeting);
    using Seconds = PeerProcess::Seconds;
    const bool hangs = c.failure == "no answer in time";
    const Seconds timeout(hangs ? 0.3 : 30.0);
    PeerProcess process(fake.program(),
                        {c.greeting == hello ? Seconds(30.0) : timeout, timeout, timeout});
    if (process.prepare(task) > 0) CHECK(process.run(3).empty());
    CHECK(process.failure().find(c.failure) == 0);
    CHECK_FALSE(process.alive());
    CHECK(process.prepare(task) == 0);
    CHECK(process.run(3).empty());
    CHECK_FALSE(process.failure().empty());
  }
  PeerProcess missing("./no_such_worker");
  CHECK_FALSE(missing.alive());
  CHECK(missing.failure() == "not installed");
  CHECK(missing.prepare(task) == 0);
}
