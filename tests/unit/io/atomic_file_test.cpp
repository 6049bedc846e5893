#include "pare/io/atomic_file.hpp"

#include <sys/stat.h>

#include <string>

#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

TEST_CASE("a file is replaced at once and with ordinary permissions", "[atomic_file]") {
  const test::TemporaryDirectory directory;
  const mode_t mask = ::umask(022);
  write_file(directory / "f", "one");
  write_file(directory / "f", "three");
  ::umask(mask);
  CHECK(test::read_text(directory / "f") == "three");
  CHECK(directory.entries() == std::set<std::string>{"f"});
  struct stat status {};
  REQUIRE(::stat((directory / "f").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0644);
}

TEST_CASE("two writers of one name do not meet, the last to commit stays", "[atomic_file]") {
  const test::TemporaryDirectory directory;
  AtomicFile first(directory / "f"), second(directory / "f");
  CHECK(directory.entries().size() == 2);
  first.write_at(0, std::as_bytes(std::span("first", 5)));
  second.write_at(3, std::as_bytes(std::span("second", 6)));
  AtomicFile moved(std::move(second));
  moved.commit();
  CHECK(test::read_text(directory / "f") == std::string("\0\0\0second", 9));
  first.commit();
  CHECK(test::read_text(directory / "f") == "first");
  CHECK(directory.entries() == std::set<std::string>{"f"});
}

TEST_CASE("a name that cannot be taken leaves nothing", "[atomic_file]") {
  const test::TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "d");
  CHECK_THROWS_AS(write_file(directory / "d", "x"), IoError);
  CHECK_THROWS_WITH(write_file(directory / "d", "x"), Contains("d: cannot rename"));
  CHECK_THROWS_WITH(write_file(directory / "none/f", "x"),
                    Contains("none/f: cannot create: No such file or directory"));
  CHECK(directory.entries() == std::set<std::string>{"d"});
}
