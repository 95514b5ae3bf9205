// Questions about pictures: their forms, the queue and its bounds.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <future>

#include "launcher/serve/http/multipart.h"
#include "serving.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;
using test::Serving;
using test::with_detector;

namespace {

httplib::MultipartFormDataItems form(const std::vector<std::string>& pictures) {
  httplib::MultipartFormDataItems items;
  for (const std::string& picture : pictures)
    items.push_back({"image", picture, picture + ".jpg", "image/jpeg"});
  return items;
}

json parsed(const httplib::Result& answer) {
  REQUIRE(answer);
  INFO(answer->body);
  REQUIRE(answer->status == 200);
  return json::parse(answer->body);
}

std::string error_of(const httplib::Result& answer, int status) {
  REQUIRE(answer);
  CHECK(answer->status == status);
  return json::parse(answer->body).at("error");
}

}  // namespace

TEST_CASE("serve: a picture is the body, or a part of a form", "[unit]") {
  const Serving serving(with_detector());
  auto client = serving.client();
  const json plain = parsed(client.Post("/v1/detect?prompt=cells%20only&threshold=0.25&name=a.jpg",
                                        "picture", "image/jpeg"));
  REQUIRE(plain.size() == 1);
  CHECK(plain[0]["image"] == "a.jpg");
  CHECK(plain[0]["width"] == 7);
  CHECK(plain[0]["prompt"] == "cells only");
  CHECK(plain[0]["threshold"] == 0.25);

  auto items = form({"picture"});
  items.push_back({"prompt", "red", "", ""});
  items.push_back({"threshold", "0.75", "", ""});
  const json formed = parsed(client.Post("/v1/detect", items));
  CHECK(formed[0]["image"] == "picture.jpg");
  CHECK(formed[0]["prompt"] == "red");
  CHECK(formed[0]["threshold"] == 0.75);
}

TEST_CASE("serve: what is wrong with a question is said", "[unit]") {
  const Serving serving(with_detector());
  auto client = serving.client();
  const auto post = [&](const std::string& path) { return client.Post(path, "x", "image/png"); };
  CHECK_THAT(error_of(post("/v1/detect?threshold=2"), 400), ContainsSubstring("from 0 to 1"));
  CHECK_THAT(error_of(post("/v1/detect?threshold=nan"), 400), ContainsSubstring("from 0 to 1"));
  CHECK_THAT(error_of(post("/v1/detect?treshold=0.5"), 400),
             ContainsSubstring("did you mean 'threshold'?"));
  CHECK_THAT(error_of(post("/v1/detect?upright=maybe"), 400), ContainsSubstring("neither 1 nor 0"));
  CHECK_THAT(error_of(post("/v1/detect?prompt=" + std::string(5000, 'a')), 400),
             ContainsSubstring("4096 bytes"));
  CHECK_THAT(error_of(client.Post("/v1/detect", form({"a", "b"})), 400),
             ContainsSubstring("/v1/detect/batch"));
  CHECK_THAT(error_of(client.Post("/v1/detect", form({})), 400), ContainsSubstring("form"));
  CHECK_THAT(error_of(client.Post("/v1/detect", "bad", "image/png"), 422),
             ContainsSubstring("no picture"));
  CHECK(error_of(client.Get("/v1/detect"), 405).size() > 0);
  CHECK(error_of(client.Put("/v1/detect", "x", "image/png"), 405).size() > 0);
  CHECK(error_of(client.Post("/v1/detekt", "x", "image/png"), 404).size() > 0);
  const Serving without;
  auto other = without.client();
  CHECK_THAT(error_of(other.Post("/v1/detect", "x", "image/png"), 404), ContainsSubstring("--try"));
}

TEST_CASE("serve: in a batch each picture has its own answer", "[unit]") {
  const Serving serving(with_detector());
  auto client = serving.client();
  const json mixed = parsed(client.Post("/v1/detect/batch", form({"a", "bad", "poison", "b"})));
  REQUIRE(mixed.size() == 4);
  CHECK(mixed[0]["image"] == "a.jpg");
  CHECK_THAT(mixed[1]["error"].get<std::string>(), ContainsSubstring("no picture"));
  CHECK_THAT(mixed[2]["error"].get<std::string>(), ContainsSubstring("poisoned"));
  CHECK(mixed[3]["image"] == "b.jpg");
  CHECK_THAT(error_of(client.Post("/v1/detect/batch", form({"bad", "poison"})), 422),
             ContainsSubstring("bad.jpg"));
}

TEST_CASE("serve: pictures that wait together go into the model together", "[unit]") {
  auto options = with_detector({.batch = 4});
  auto& detector = static_cast<test::FakeDetector&>(*options.detector);
  const Serving serving(std::move(options));
  auto client = serving.client();
  CHECK(parsed(client.Post("/v1/detect/batch", form({"1", "2", "3", "4", "5", "6"}))).size() == 6);
  CHECK(detector.largest == 4);
  CHECK(detector.batches == 2);
}

TEST_CASE("serve: a full queue answers 429 at once, a late answer is 504", "[unit]") {
  const Serving serving(
      with_detector({.waiting = 3, .batch = 1, .patience = std::chrono::milliseconds(700)}));
  std::vector<std::future<int>> asked;
  for (int i = 0; i < 8; ++i)
    asked.push_back(std::async(std::launch::async, [&serving] {
      auto client = serving.client();
      const auto answer = client.Post("/v1/detect", "slow", "image/png");
      if (answer && answer->status == 429) CHECK(answer->get_header_value("Retry-After") == "1");
      return answer ? answer->status : -1;
    }));
  std::map<int, int> count;
  for (auto& one : asked) ++count[one.get()];
  CHECK(count[429] >= 1);  // five, unless some come late
  CHECK(count[200] >= 1);
  CHECK(count[200] + count[504] + count[429] == 8);
  auto client = serving.client();
  CHECK(client.Post("/v1/detect", "quick", "image/png")->status == 200);
  const std::string counted = client.Get("/metrics")->body;
  CHECK_THAT(counted,
             ContainsSubstring(fmt::format("muster_detect_refused_total {}\n", count[429])) &&
                 ContainsSubstring("muster_detect_waiting 0"));
}

TEST_CASE("serve: the server ends while clients wait", "[unit]") {
  auto serving = std::make_unique<Serving>(with_detector({.batch = 1}));
  const int port = serving->app->port();
  std::vector<std::future<int>> asked;
  for (int i = 0; i < 4; ++i)
    asked.push_back(std::async(std::launch::async, [port] {
      httplib::Client client("127.0.0.1", port);
      client.set_bearer_token_auth(Serving::kToken);
      const auto answer = client.Post("/v1/detect", "slow", "image/png");
      return answer ? answer->status : -1;
    }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  serving.reset();
  for (auto& one : asked) {
    const int status = one.get();
    CHECK((status == 200 || status == 503));
  }
}

TEST_CASE("serve: forms are parsed as RFC 7578 has them, or refused", "[unit]") {
  const std::string type = "multipart/form-data; boundary=\"x y\"";
  const std::string body =
      "preamble\r\n--x y\r\nContent-Disposition: form-data; name=\"image\"; "
      "filename=\"a \\\"b\\\".png\"\r\nContent-Type: image/png\r\n\r\nbytes\r\n--x\r\n\r\n--x y\r\n"
      "content-disposition: form-data; name=prompt\r\n\r\n\r\n--x y--\r\n";
  const auto parts = parse_form(type, body);
  REQUIRE(parts.size() == 2);
  CHECK(parts[0].name == "image");
  CHECK(parts[0].file_name == "a \"b\".png");
  CHECK(parts[0].bytes == "bytes\r\n--x\r\n");
  CHECK(parts[1].name == "prompt");
  CHECK(parts[1].bytes.empty());
  CHECK_THROWS_AS(parse_form("multipart/form-data", body), DataError);
  CHECK_THROWS_AS(parse_form(type, "nothing"), DataError);
  CHECK_THROWS_AS(parse_form(type, body.substr(0, body.size() - 12)), DataError);
  const auto parses = [&](const std::string& bytes) {
    try {
      return !parse_form(type, bytes).empty();
    } catch (const DataError&) {
      return false;
    }
  };
  CHECK(parses(body));
  // Never out of bounds, whatever is missing.
  for (std::size_t cut = 0; cut < body.size() / 2; ++cut) CHECK_FALSE(parses(body.substr(0, cut)));
  for (std::size_t cut = body.size() / 2; cut < body.size(); ++cut)
    static_cast<void>(parses(body.substr(0, cut)));
  std::string many;
  for (std::size_t i = 0; i <= kMostFormParts; ++i)
    many += "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
  CHECK_THROWS_AS(parse_form("multipart/form-data; boundary=b", many + "--b--"), DataError);
}
