#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/ingest/judge.h"
#include "data/sources/source_folder.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using test::fault_texts;
using test::objects_text;
using test::SourceFolder;
using test::warning_texts;

// "S:text U:text A:text" with "A:*" for an answer that lists objects and "@" for a picture's mark.
std::string turns_text(const Sample& sample) {
  std::string all;
  for (const Turn& turn : sample.turns) {
    std::string text = turn.lists_objects ? "*" : turn.text;
    for (std::size_t at = text.find(kPictureMark); at != std::string::npos;
         at = text.find(kPictureMark))
      text.replace(at, kPictureMark.size(), "@");
    const char* role = turn.role == Role::kUser ? "U:" : "A:";
    if (turn.role == Role::kSystem) role = "S:";
    all += (all.empty() ? "" : " ") + std::string(role) + text;
  }
  return all;
}

struct Rows {
  SourceFolder folder{"a.jpg", "images/b.jpg"};
  Source read(const std::string& rows, const char* name = "x.jsonl",
              const ReadOptions& options = {}) const {
    folder.text(name, rows);
    return folder.read(name, options);
  }
  // What one row gives: its turns and objects, and its faults.
  std::string one(const std::string& row, const ReadOptions& options = {}) const {
    const Source source = read(row, "x.jsonl", options);
    std::string faults = fault_texts(source, folder);
    if (source.samples.empty()) return faults;
    const Sample& sample = source.samples.at(0);
    return turns_text(sample) + " # " + objects_text(sample) + (sample.boxed ? "" : " # words") +
           (faults.empty() ? "" : " ! " + faults);
  }
};

std::string chat(const std::string& question, const std::string& answer,
                 const std::string& more = "") {
  return R"({"image": "a.jpg", )" + more +
         nlohmann::json{
             {"conversations",
              {{{"from", "human"}, {"value", question}}, {{"from", "gpt"}, {"value", answer}}}}}
             .dump()
             .substr(1);
}

const std::string kCat = R"([{"bbox_2d": [1, 2, 30, 4], "label": "cat"}])";

}  // namespace

TEST_CASE("rows: a question of its own, objects, words only", "[unit]") {
  const Rows rows;
  CHECK(rows.one(chat("<image>\nfind", "```json\n" + kCat + "\n```")) ==
        "U:@find A:* # cat 1,2,30,4");
  CHECK(
      rows.one(
          R"({"image": "b.jpg", "objects": [{"bbox": [0, 0, 40, 30], "label": "cat", "caption": "a cat"}]})") ==
      " # a cat 0,0,40,30");
  CHECK(rows.one(R"({"image": "b.jpg", "objects": []})") == " # ");
  CHECK(
      rows.one(
          R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "why?"}]}, {"role": "assistant", "content": "so"}]})") ==
      "S:s U:why? A:so #  # words");
  CHECK(
      rows.one(
          R"({"messages": [{"role": "user", "content": [{"type": "image", "image": "a.jpg"}, {"type": "text", "text": "what?"}]}, {"role": "assistant", "content": "a grey square"}]})") ==
      "U:@what? A:a grey square #  # words");
  CHECK(rows.one(chat("<image>Locate", "[]")) == "U:@Locate A:* # ");
  CHECK(rows.one(chat("where?", kCat)) == "U:@where? A:* # cat 1,2,30,4");  // no <image>: in front
  CHECK(rows.one(chat("<|vision_start|><|image_pad|><|vision_end|>where?", kCat)) ==
        "U:@where? A:* # cat 1,2,30,4");
  CHECK(rows.one(chat("see <image>\r\nhere", kCat)) == "U:see @here A:* # cat 1,2,30,4");
}

TEST_CASE("rows: several turns and several pictures", "[unit]") {
  const Rows rows;
  const Source turns = rows.read(
      R"({"images": ["a.jpg"], "messages": [{"role": "user", "content": "<image>find cat"}, {"role": "assistant", "content": "[{\"bbox_2d\":[1,1,6,5],\"label\":\"cat\"}]"}, {"role": "user", "content": "and?"}, {"role": "assistant", "content": "nothing"}, {"role": "user", "content": "find dog"}, {"role": "assistant", "content": "[{\"bbox_2d\":[7,4,13,10],\"label\":\"dog\"}]"}]})");
  const Sample& sample = turns.samples.at(0);
  CHECK(turns_text(sample) == "U:@find cat A:* U:and? A:nothing U:find dog A:*");
  CHECK((sample.objects.at(0).turn == 1 && sample.objects.at(1).turn == 5 && sample.boxed));
  CHECK(
      rows.one(
          R"({"images": ["a.jpg", "b.jpg"], "messages": [{"role": "user", "content": "<image><image>compare"}, {"role": "assistant", "content": "same"}]})") ==
      "U:@@compare A:same #  # words");
  const Source per_turn = rows.read(
      R"({"images": ["a.jpg", "b.jpg"], "messages": [{"role": "user", "content": "<image>cat"}, {"role": "assistant", "content": "[{\"bbox_2d\":[1,1,6,5],\"label\":\"cat\"}]"}, {"role": "user", "content": "<image>dog"}, {"role": "assistant", "content": "[{\"bbox_2d\":[7,4,13,10],\"label\":\"dog\"}]"}]})");
  CHECK((per_turn.samples.at(0).objects.at(0).picture == 0 &&
         per_turn.samples.at(0).objects.at(1).picture == 1));
  CHECK_THAT(
      rows.one(
          R"({"images": ["a.jpg", "b.jpg"], "messages": [{"role": "user", "content": "<image><image>find"}, {"role": "assistant", "content": "[{\"bbox_2d\":[1,1,6,5],\"label\":\"cat\"}]"}]})"),
      ContainsSubstring("a box, and 2 pictures that it may be in"));
}

TEST_CASE("rows: many rows on one picture are many samples", "[unit]") {
  const Rows rows;
  std::string all;
  for (int i = 0; i < 50; ++i) all += chat("<image>Find " + std::to_string(i), kCat) + "\n";
  const Source source = rows.read(all);
  CHECK((source.samples.size() == 50 && source.faults.empty()));
  CHECK(turns_text(source.samples.at(49)) == "U:@Find 49 A:*");
}

TEST_CASE("rows: the dialects", "[unit]") {
  const Rows rows;
  const std::string quoted = nlohmann::json(kCat).dump();
  CHECK(rows.one(R"({"images": ["a.jpg"], "query": "<image>find", "response": )" + quoted +
                 R"(, "history": [["hi", "yes"]], "system": "s"})") ==
        "S:s U:hi A:yes U:@find A:* # cat 1,2,30,4");
  CHECK(rows.one(R"({"images": ["a.jpg"], "instruction": "find", "input": "cats", "output": )" +
                 quoted + "}") == "U:@find\ncats A:* # cat 1,2,30,4");
  CHECK(rows.one(R"({"system": "s", "conversation": [{"human": "a", "assistant": "b"}]})") ==
        "S:s U:a A:b #  # words");
  CHECK(
      rows.one(
          R"({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.jpg"}}, {"type": "text", "text": "x"}]}, {"role": "assistant", "content": "y"}]})") ==
      "U:@x A:y #  # words");
  CHECK(
      rows.one(
          R"({"images": [{"path": "a.jpg"}], "messages": [{"role": "user", "content": "<image>x"}, {"role": "assistant", "content": "y"}]})") ==
      "U:@x A:y #  # words");
  const std::string array =
      "[\n " + chat("<image>find", kCat) + ",\n " + chat("<image>more", "[]") + "]";
  CHECK(rows.read(array, "data.json").samples.size() == 2);
  CHECK(rows.read("\xef\xbb\xbf" + array, "data.json").samples.size() == 2);
  CHECK(rows.read(array, "really.jsonl").samples.size() == 2);
  CHECK(rows.read(chat("a", "b") + "\n" + chat("a", "b") + "\n", "lines.json").samples.size() == 2);
}

TEST_CASE("rows: ms-swift's objects", "[unit]") {
  const Rows rows;
  const auto swift = [&](const std::string& question, const std::string& answer,
                         const std::string& objects) {
    return rows.one(R"({"images": ["a.jpg"], "messages": [{"role": "user", "content": ")" +
                    question + R"("}, {"role": "assistant", "content": ")" + answer +
                    R"("}], "objects": )" + objects + "}");
  };
  CHECK(swift("<image>Find the <ref-object>", "<bbox><bbox>",
              R"({"ref": ["sheep"], "bbox": [[1, 2, 3, 4], [5, 6, 7, 8]]})") ==
        "U:@Find the sheep A:* # sheep 1,2,3,4 | sheep 5,6,7,8");
  CHECK(swift("<image>Describe", "<ref-object><bbox> and <ref-object><bbox> play",
              R"({"ref": ["a dog", "a man"], "bbox": [[1, 2, 3, 4], [5, 6, 7, 8]]})") ==
        "U:@Describe A:* # a dog 1,2,3,4 | a man 5,6,7,8");
  CHECK(swift("<image>Find <ref-object>", "<bbox>",
              R"({"ref": ["x"], "bbox": [[0.25, 0.5, 0.5, 1]], "bbox_type": "norm1"})") ==
        "U:@Find x A:* # x 10,15,20,30");
  CHECK(swift("<image>Find <ref-object>", "<bbox>",
              R"({"ref": ["x"], "bbox": [[250, 500, 500, 1000]], "bbox_type": "norm1000"})") ==
        "U:@Find x A:* # x 10,15,20,30");
  CHECK_THAT(swift("<image>What is in <bbox>?", "x", R"({"ref": [], "bbox": [[1, 2, 3, 4]]})"),
             ContainsSubstring("a <bbox> in a question"));
  CHECK_THAT(swift("<image>Find <ref-object>", "<bbox>",
                   R"({"ref": ["x"], "bbox": [[1, 2, 3, 4], [1, 2, 3, 5]]})"),
             ContainsSubstring("2 boxes in 'objects.bbox', and 1 <bbox>"));
  CHECK_THAT(swift("<image>Click", "<bbox>", R"({"ref": [], "bbox": [[1, 2]]})"),
             ContainsSubstring("a point of 2 numbers"));
  CHECK_THAT(swift("<image>x", "<bbox>", R"({"bbox": [[1, 2, 3, 4]], "bbox_type": "feet"})"),
             ContainsSubstring("bbox_type 'feet'"));
}

TEST_CASE("rows: Hugging Face's image folders", "[unit]") {
  const SourceFolder folder{"train/a.jpg", "train/b.jpg", "validation/c.jpg"};
  folder.text(
      "train/metadata.jsonl",
      R"({"file_name": "a.jpg", "objects": {"bbox": [[1, 2, 10, 20]], "categories": [1]}})"
      "\n"
      R"({"file_name": "b.jpg", "objects": {"bbox": [[1, 2, 10, 20]], "category": ["dog"]}})"
      "\n");
  folder.text(
      "validation/metadata.jsonl",
      R"({"file_name": "c.jpg", "objects": [{"bbox": [1, 2, 10, 20], "category": "cat"}]})");
  const Source train = folder.read("", "train");
  CHECK(objects_text(train.samples.at(0)) == "1 1,2,11,22");
  CHECK(objects_text(train.samples.at(1)) == "dog 1,2,11,22");
  CHECK_THAT(warning_texts(train, folder), ContainsSubstring("1 rows have numbers for categories"));
  CHECK(objects_text(folder.read("", "val").samples.at(0)) == "cat 1,2,11,22");
  folder.text("train/classes.txt", "cat\nowl\n");
  CHECK(objects_text(folder.read("", "train").samples.at(0)) == "owl 1,2,11,22");
}

TEST_CASE("rows: Hugging Face's metadata.csv is its metadata.jsonl", "[unit]") {
  const SourceFolder folder{"train/a.jpg", "train/b, c.jpg"};
  folder.text("train/metadata.csv",
              "\xef\xbb\xbf"
              "file_name,objects,width,note\r\n"
              "a.jpg,\"{\"\"bbox\"\": [[1, 2, 10, 20]], \"\"categories\"\": "
              "[\"\"dog\"\"]}\",40,\"two\r\nlines\"\r\n"
              "\"b, c.jpg\",\"[{'bbox': [1, 2, 10, 20], 'category': 'cat'}]\",,\r\n");
  for (const char* place : {"", "train/metadata.csv"}) {
    const Source source = folder.read(place);
    CHECK(fault_texts(source, folder).empty());
    REQUIRE(source.samples.size() == 2);
    CHECK(objects_text(source.samples.at(0)) == "dog 1,2,11,22");
    CHECK(objects_text(source.samples.at(1)) == "cat 1,2,11,22");
    CHECK(source.samples.at(1).pictures.at(0).path.filename() == "b, c.jpg");
    CHECK_THAT(warning_texts(source, folder), ContainsSubstring("nobody reads the key 'note'"));
  }
}

TEST_CASE("rows: faults of a metadata.csv, each with its line", "[fault]") {
  const SourceFolder folder{"a.jpg"};
  const auto read = [&](const std::string& text) {
    folder.text("metadata.csv", text);
    return fault_texts(folder.read(), folder);
  };
  const std::string faults = read(
      "file_name,objects\n"
      "a.jpg,\"{\"\"bbox\"\": [[1, 2, 10, 20]], \"\"categories\"\": [\"\"dog\"\"]}\"\n"
      "a.jpg\n"
      "\n"
      "a.jpg,\"[1,\"\n"
      "a.jpg,\n"
      "a.jpg,[] x\n"
      "a.jpg,\xff\n");
  for (const char* told :
       {"metadata.csv:3: 1 fields, and the first line names 2 columns",
        "metadata.csv:5: column 'objects': character", "metadata.csv:6: neither 'objects'",
        "metadata.csv:7: column 'objects': character 2: text behind",
        "metadata.csv:8: text that is not UTF-8"})
    CHECK_THAT(faults, ContainsSubstring(told));
  CHECK_THROWS_MATCHES(
      read("name,objects\na.jpg,[]\n"), DataError,
      MessageMatches(ContainsSubstring("column file_name is expected; there are: name, objects")));
  CHECK_THROWS_MATCHES(read("file_name,objects\na.jpg,\"[]\n"), DataError,
                       MessageMatches(ContainsSubstring("line 2: a quote that is not closed")));
  CHECK_THROWS_MATCHES(read("file_name,objects\na.jpg,\"[]\"x\n"), DataError,
                       MessageMatches(ContainsSubstring("line 2: text behind a closing quote")));
}

TEST_CASE("rows: Qwen2-VL's tokens are thousandths", "[unit]") {
  const Rows rows;
  CHECK(rows.one(chat("<image>Find the <|object_ref_start|>cat<|object_ref_end|>",
                      "<|box_start|>(250,500),(500,1000)<|box_end|>")) ==
        "U:@Find the cat A:* # cat 10,15,20,30");
}

TEST_CASE("rows: all faults at once, each with its line", "[fault]") {
  const Rows rows;
  const std::string good = chat("<image>find", kCat);
  const std::vector<std::pair<std::string, std::string>> bad{
      {"{", "column"},
      {"{}", "neither 'objects' nor"},
      {"7", "no JSON object"},
      {R"({"image": "a.jpg", "objects": [{"bbox": [1,2,3,4]}]})",
       "object 0: an object without a label"},
      {R"({"image": "a.jpg", "objects": [{"label": "x"}]})", "object 0: an object without a box"},
      {chat("x", R"([{"bbox_2d": [1,)"), "turn 1: character"},
      {R"({"images": ["a", "b"], "objects": [{"bbox": [1,2,3,4], "label": "x"}]})", "2 pictures"},
      {R"({"messages": [{"role": "user", "content": "x"}]})", "no assistant's turn"},
      {R"({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "x"}]})",
       "turn 1: an assistant's turn expected"},
      {R"({"messages": [{"role": "tool", "content": "x"}]})", "turn 0: a turn of the role 'tool'"},
      {R"({"videos": ["v.mp4"], "messages": [{"role": "user", "content": "<video>what"}, {"role": "assistant", "content": "x"}]})",
       "a video"},
      {R"({"messages": [{"role": "user", "content": [{"type": "video", "video": "v.mp4"}]}, {"role": "assistant", "content": "x"}]})",
       "a video"},
      {chat("<image><image>two", "x"), "1 pictures, and 2 <image>"},
      {chat("x", "<image>"), "turn 1: <image> outside a question"},
      {chat("<image>say <|im_end|>", "x"), "turn 0 holds the special token <|im_end|>"},
      {chat("<image>x", R"([{"bbox_2d": [1,2,3,4], "label": "<|im_end|>"}])"), "special token"},
      {chat("\xEF\xBF\xBC", "x"), "U+FFFC"},
      {R"({"image": "http://x/a.jpg", "objects": []})", "on the network"},
      {R"({"image": "data:image/png;base64,AAAA", "objects": []})", "inside the row"},
      {"{\"image\": \"a.jpg\", \"query\": \"x\xba\"}", "not UTF-8"},
      {chat("<image>x", kCat, R"("objects": [{"bbox": [1,2,3,4], "label": "x"}], )"),
       "boxes both in 'objects' and in an answer"},
  };
  std::string all = good + "\n";
  for (const auto& [row, why] : bad) all += row + "\n";
  const Source source = rows.read(all + "\n" + good);
  const std::string faults = fault_texts(source, rows.folder);
  for (std::size_t i = 0; i < bad.size(); ++i) {
    INFO(bad[i].first);
    const std::string place = "x.jsonl:" + std::to_string(i + 2) + ": ";
    const std::size_t at = faults.find(place);
    REQUIRE(at != std::string::npos);
    CHECK_THAT(faults.substr(at, faults.find('\n', at) - at), ContainsSubstring(bad[i].second));
  }
  CHECK(source.faults.size() == bad.size());
}

TEST_CASE("rows: what is left unused is told", "[unit]") {
  const Rows rows;
  const Source source =
      rows.read(chat("<image>find", "Here: " + kCat, R"("tools": "x", "id": 7, )") + "\n" +
                chat("<image>find <ref>cat</ref>", kCat) + "\n");
  CHECK_THAT(warning_texts(source, rows.folder),
             ContainsSubstring("1 answers say more than their boxes") &&
                 ContainsSubstring("the key 'tools' of 1 rows") &&
                 ContainsSubstring("1 questions have marks around a name"));
  CHECK(turns_text(source.samples.at(1)) == "U:@find cat A:*");
}

TEST_CASE("rows: boxes of other frames", "[unit]") {
  const Rows rows;
  ReadOptions options;
  options.boxes = BoxFrame::kNorm1000;
  CHECK(rows.one(chat("<image>x", R"([{"bbox_2d": [250, 500, 500, 1000], "label": "c"}])"),
                 options) == "U:@x A:* # c 10,15,20,30");
  // 40x30 is resized to 84x56 for 56 * 56 pixels at least (ceil(40 * 1.617 / 28) * 28, and so on).
  options.boxes = BoxFrame::kResized;
  CHECK(rows.one(chat("<image>x", R"([{"bbox_2d": [0, 0, 42, 56], "label": "c"}])"), options) ==
        "U:@x A:* # c 0,0,20,30");
  const Source source = rows.read(
      chat("<image>x", R"([{"bbox_2d": [0, 0, 42, 56], "label": "c"}])"), "x.jsonl", options);
  CHECK_THAT(join(source.repaired, "\n"),
             ContainsSubstring("1 boxes read as pixels of the resized"));
}

}  // namespace muster::data
