#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

/// The worker side of the protocol in README.md: one peer library in a process of its own, so that
/// its threads, allocator and crashes disturb nothing that is measured elsewhere.
namespace peer {

/// What a `prepare` line asks for: y = x Wᵀ with x (tokens, in), W (out, in), y (tokens, out).
struct Request {
  std::string op;
  std::ptrdiff_t out = 0, in = 0, tokens = 0;
  std::ptrdiff_t group = -1;  ///< weights that share a scale; -1 is a row
  int threads = 1;
  int copies = 1;  ///< distinct weight buffers, used in turn: 1 keeps the weights in the cache
};

/// Thrown by a factory for what its library does not have. This and every other exception of a
/// factory is answered as `unsupported <reason>`.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A prepared product: weights packed, primitives made, threads started.
class Product {
 public:
  Product() = default;
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  virtual ~Product() = default;

  virtual std::size_t bytes_per_copy() const = 0;
  /// Exactly the operation compared, with the weights of one copy.
  virtual void run(int copy) = 0;
  /// Between wake and rest threads may spin; outside they sleep, within `spin_limit` at most.
  virtual void wake() {}
  virtual void rest() {}
};

/// How long an answer is held back so that threads which spin for a while are asleep when the next
/// program measures. The wrappers set up libraries to spin shorter than this.
inline constexpr std::chrono::milliseconds spin_limit{3};

using Factory = std::function<std::unique_ptr<Product>(const Request&)>;

/// Fixed-seed values, none of them denormal.
inline void fill_normal(std::span<float> values, unsigned seed, float deviation = 1.0f) {
  std::minstd_rand random(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  // A repeated run of a prime length costs no time to make and aligns with no row.
  const std::size_t fresh = std::min<std::size_t>(values.size(), 65'537);
  for (std::size_t i = 0; i < fresh; ++i) values[i] = normal(random);
  for (std::size_t i = fresh; i < values.size(); ++i) values[i] = values[i - fresh];
}

template <class Integer>
void fill_integers(std::span<Integer> values, unsigned seed, int low, int high) {
  std::minstd_rand random(seed);
  std::uniform_int_distribution<int> uniform(low, high);
  const std::size_t fresh = std::min<std::size_t>(values.size(), 65'537);
  for (std::size_t i = 0; i < fresh; ++i) values[i] = static_cast<Integer>(uniform(random));
  for (std::size_t i = fresh; i < values.size(); ++i) values[i] = values[i - fresh];
}

namespace detail {

inline long parse_number(const std::string& word, const std::string& text) {
  long number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) throw std::invalid_argument("not a number: " + word);
  return number;
}

inline Request parse_request(std::istream& words) {
  Request request;
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) throw std::invalid_argument("not key=value: " + word);
    const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
    if (key == "op") {
      request.op = value;
      continue;
    }
    const long number = parse_number(word, value);
    if (key == "out")
      request.out = number;
    else if (key == "in")
      request.in = number;
    else if (key == "tokens")
      request.tokens = number;
    else if (key == "group")
      request.group = number;
    else if (key == "threads")
      request.threads = static_cast<int>(number);
    else if (key == "copies")
      request.copies = static_cast<int>(number);
    else
      throw std::invalid_argument("unknown key: " + key);
  }
  if (request.out < 1 || request.in < 1 || request.tokens < 1 || request.threads < 1 ||
      request.copies < 1)
    throw std::invalid_argument("out, in, tokens, threads and copies must be at least 1");
  return request;
}

/// Times `runs` products after an untimed one that wakes the threads.
inline std::string timed_runs(Product& product, int runs, int copies, int& next) {
  const auto step = [&] {
    product.run(next);
    next = (next + 1) % copies;
  };
  std::vector<double> seconds(static_cast<std::size_t>(runs));
  product.wake();
  step();
  for (double& s : seconds) {
    const auto start = std::chrono::steady_clock::now();
    step();
    s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  product.rest();
  std::this_thread::sleep_for(spin_limit);
  std::ostringstream line;
  line << "seconds";
  for (const double s : seconds) line << ' ' << s;
  return line.str();
}

inline std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text;
}

}  // namespace detail

/// Answers requests from stdin until `quit` or its end; returns main's exit status.
inline int serve(const std::string& name, const std::string& version, const Factory& factory) {
  std::cout << "peer " << name << ' ' << version << std::endl;
  std::unique_ptr<Product> product;
  Request request;
  int next = 0;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "quit") return 0;
    try {
      if (command == "prepare") {
        product.reset();  // first: two sets of cold weights may not fit the memory
        request = detail::parse_request(words);
        product = factory(request);
        next = 0;
        std::cout << "ready " << product->bytes_per_copy() << std::endl;
      } else if (command == "run") {
        int runs = 0;
        if (!(words >> runs) || runs < 1) throw std::invalid_argument("run needs a count");
        if (!product) throw std::invalid_argument("run before a successful prepare");
        std::cout << detail::timed_runs(*product, runs, request.copies, next) << std::endl;
      } else {
        throw std::invalid_argument("unknown command: " + command);
      }
    } catch (const std::exception& error) {
      std::cout << (command == "prepare" ? "unsupported " : "error ")
                << detail::one_line(error.what()) << std::endl;
    }
  }
  return 0;
}

}  // namespace peer
