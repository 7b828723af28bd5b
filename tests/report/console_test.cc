#include "runtime/report/console.h"

#include <stdlib.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "runtime/base/status.h"
#include "runtime/report/json.h"
#include "runtime/report/utf8.h"

namespace graphrun {
namespace {

// What was written to a file descriptor.
class Screen {
 public:
  Screen() : file_(std::tmpfile()) { terminal.fd = fileno(file_); }
  ~Screen() { std::fclose(file_); }
  std::string Text() const {
    std::string text(1 << 20, '\0');
    const ssize_t got = pread(terminal.fd, text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return text;
  }
  Terminal terminal;

 private:
  std::FILE* file_;
};

// Two epochs of 500 steps of 10 ms; returns how often Show was due.
int Train(Console* console, double* now) {
  int shows = 0;
  console->Header("run", std::vector<NamedText>{{"model", "mlp.onnx"}});
  for (int epoch = 1; epoch <= 2; ++epoch) {
    console->BeginEpoch(epoch, 2, 500);
    for (int step = 0; step < 500; ++step) {
      *now += 0.01;
      if (!console->Tick(32)) continue;
      ++shows;
      console->Show({0.5, 1e-3, std::numeric_limits<double>::quiet_NaN()});
    }
    console->EndEpoch(std::vector<NamedNumber>{{"loss", 0.25}});
    console->Validation(std::vector<NamedNumber>{{"accuracy", 0.75}}, "accuracy", epoch == 1);
  }
  console->Warning("dead-relu", "conv1");
  console->Finish(std::vector<NamedText>{{"model", "runs/a/best.onnx"}});
  return shows;
}

int TrainOn(const Terminal& terminal, ProgressMode mode) {
  double now = 100;
  auto console = Console::Make(mode, terminal, [&now] { return now; });
  return Train(console.get(), &now);
}

// The lines as they stand on the screen one after another, control sequences removed.
std::vector<std::string> Lines(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && !isalpha(static_cast<unsigned char>(text[i]))) ++i;
    } else {
      plain += text[i] == '\r' ? '\n' : text[i];
    }
  }
  return absl::StrSplit(plain, '\n');
}

TEST(ConsoleTest, PlainLinesHoldNoControlSequencesAndOneStar) {
  Screen screen;
  TrainOn(screen.terminal, ProgressMode::kAuto);
  EXPECT_EQ(screen.Text(),
            "run\n"
            "-----------------\n"
            " model  mlp.onnx\n"
            "-----------------\n"
            "epoch 1/2  loss 0.2500  5.0 s  3.20k samples/s\n"
            "      val  accuracy 0.7500  * best\n"
            "epoch 2/2  loss 0.2500  5.0 s  3.20k samples/s\n"
            "      val  accuracy 0.7500\n"
            "warning: dead-relu: conv1\n"
            "-------------------------\n"
            " model  runs/a/best.onnx\n"
            "-------------------------\n");
}

TEST(ConsoleTest, ShowIsDueAtMostTenTimesASecond) {
  Screen screen;
  screen.terminal.interactive = true;
  const int shows = TrainOn(screen.terminal, ProgressMode::kAuto);
  EXPECT_GE(shows, 80);
  EXPECT_LE(shows, 100);
  EXPECT_TRUE(absl::StrContains(screen.Text(), "100 it/s"));
  EXPECT_TRUE(absl::StrContains(screen.Text(), "3.20k samples/s"));
}

TEST(ConsoleTest, ANarrowTerminalLosesNumbersButNeverWraps) {
  for (const ProgressMode mode : {ProgressMode::kBar, ProgressMode::kTui}) {
    for (int columns = 20; columns <= 160; columns += 7) {
      Screen screen;
      screen.terminal.interactive = screen.terminal.color = true;
      screen.terminal.utf8 = columns % 2 == 0;
      screen.terminal.fixed_columns = columns;
      double now = 0;
      auto console = Console::Make(mode, screen.terminal, [&now] { return now; });
      console->BeginEpoch(3, 10, 1875);
      for (int i = 0; i < 200; ++i) {
        now += 0.05;
        console->Tick(32);
        console->Show({1.0 / (i + 1), 1e-5, 123.456});
      }
      for (const std::string& line : Lines(screen.Text())) {
        ASSERT_LT(TextColumns(line), columns) << line;
      }
      EXPECT_TRUE(absl::StrContains(screen.Text(), "10%"));
    }
  }
}

TEST(ConsoleTest, ALineThatStaysIsPrintedAboveTheLiveBlock) {
  Screen screen;
  screen.terminal.interactive = true;
  double now = 0;
  auto console = Console::Make(ProgressMode::kBar, screen.terminal, [&now] { return now; });
  console->BeginEpoch(1, 1, 10);
  const size_t before = screen.Text().size();
  console->Note("hello");
  const std::string added = screen.Text().substr(before);
  EXPECT_TRUE(absl::StartsWith(added, "\r\x1b[Jhello\nepoch 1/1")) << added;
}

TEST(ConsoleTest, WithoutUtf8EverythingIsAscii) {
  for (const ProgressMode mode : {ProgressMode::kBar, ProgressMode::kTui, ProgressMode::kPlain}) {
    Screen screen;
    screen.terminal.interactive = screen.terminal.color = true;
    TrainOn(screen.terminal, mode);
    for (const char c : screen.Text()) ASSERT_LT(static_cast<unsigned char>(c), 0x80);
  }
}

TEST(ConsoleTest, JsonLinesAreEachAnEvent) {
  Screen screen;
  TrainOn(screen.terminal, ProgressMode::kJson);
  const auto events = JsonValue::ParseLines(screen.Text());
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_EQ(events->front().Find("event")->AsString(), "begin");
  EXPECT_EQ(events->back().Find("rows")->Find("model")->AsString(), "runs/a/best.onnx");
  int validations = 0;
  for (const JsonValue& event : *events) {
    if (event.Find("event")->AsString() == "progress") {
      EXPECT_TRUE(event.Find("gradient_norm")->is_null());
    }
    if (event.Find("event")->AsString() != "validation") continue;
    EXPECT_EQ(event.Find("best")->AsBool(), ++validations == 1);
    EXPECT_EQ(event.Find("values")->Find("accuracy")->AsNumber(), 0.75);
  }
  EXPECT_EQ(validations, 2);
}

TEST(ConsoleTest, NoneWritesNothing) {
  Screen screen;
  EXPECT_EQ(TrainOn(screen.terminal, ProgressMode::kNone), 0);
  EXPECT_EQ(screen.Text(), "");
}

TEST(ConsoleTest, StepsOfUnknownNumberAreCountedWithoutABar) {
  Screen screen;
  screen.terminal.interactive = true;
  double now = 0;
  auto console = Console::Make(ProgressMode::kTui, screen.terminal, [&now] { return now; });
  console->BeginEpoch(1, 0, 0);
  now += 1;
  console->Tick(8);
  console->Show({0.5, 0.1, 1});
  EXPECT_TRUE(absl::StrContains(screen.Text(), "epoch 1  step 1  loss 0.5000"));
  EXPECT_FALSE(absl::StrContains(screen.Text(), "eta"));
}

TEST(ConsoleTest, AResumedEpochStartsWhereItStoppedWithTheRateOfNow) {
  Screen screen;
  screen.terminal.interactive = true;
  screen.terminal.fixed_columns = 160;
  double now = 0;
  auto console = Console::Make(ProgressMode::kBar, screen.terminal, [&now] { return now; });
  console->BeginEpoch(2, 2, 100, 90);
  now += 1;
  console->Tick(8);
  console->Show({0.5, 0.1, 1});
  const std::string last = Lines(screen.Text()).back();
  EXPECT_TRUE(absl::StrContains(last, " 91%   91/100  eta 9.0 s")) << last;
  EXPECT_TRUE(absl::StrContains(last, "8 samples/s")) << last;
}

TEST(ConsoleTest, ATeeKeepsItsPlainLogBesideTheTerminal) {
  Screen terminal, log, alone;
  terminal.terminal.interactive = true;
  double now = 100;
  const auto clock = [&now] { return now; };
  auto tee = Console::Tee(Console::Make(ProgressMode::kBar, terminal.terminal, clock),
                          Console::Make(ProgressMode::kPlain, log.terminal, clock));
  EXPECT_GE(Train(tee.get(), &now), 80);
  TrainOn(alone.terminal, ProgressMode::kPlain);
  EXPECT_EQ(log.Text(), alone.Text());
  EXPECT_TRUE(absl::StrContains(terminal.Text(), "it/s"));
}

TEST(ConsoleTest, ModesGoByName) {
  EXPECT_EQ(*ProgressModeFromName("tui"), ProgressMode::kTui);
  const absl::Status status = ProgressModeFromName("plan").status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
  EXPECT_TRUE(absl::StrContains(status.message(), "Did you mean \"plain\"?"));
}

TEST(TerminalTest, DetectionReadsTheEnvironment) {
  const char* old_lc_all = getenv("LC_ALL");
  const std::string kept = old_lc_all == nullptr ? "" : old_lc_all;
  setenv("LC_ALL", "de_DE.UTF-8", 1);
  EXPECT_TRUE(Terminal::Detect(2).utf8);
  setenv("LC_ALL", "C", 1);
  EXPECT_FALSE(Terminal::Detect(2).utf8);
  setenv("LC_ALL", kept.c_str(), 1);
  Screen screen;
  const Terminal file = Terminal::Detect(screen.terminal.fd);
  EXPECT_FALSE(file.interactive);
  EXPECT_FALSE(file.color);
  EXPECT_EQ(file.Columns(), 80);
}

TEST(TerminalTest, NoColorKeepsThePlainText) {
  Terminal terminal;
  EXPECT_EQ(Painted(terminal, Paint::kRed, "a"), "a");
  terminal.color = true;
  EXPECT_EQ(Painted(terminal, Paint::kRed, "a"), "\x1b[31ma\x1b[0m");
}

TEST(TerminalTest, ABarIsAsWideAsAskedAndBoundedByItsEnds) {
  Terminal ascii, utf8;
  utf8.utf8 = true;
  EXPECT_EQ(ProgressBar(ascii, 0.5, 12), "[=====>    ]");
  EXPECT_EQ(ProgressBar(ascii, 1.0, 6), "[====]");
  EXPECT_EQ(ProgressBar(utf8, 0.625, 4), "━━╸┄");
  for (const double fraction : {-1.0, 0.0, 0.3, 1.0, 7.0, std::nan("")}) {
    EXPECT_EQ(TextColumns(ProgressBar(ascii, fraction, 20)), 20);
    EXPECT_EQ(TextColumns(ProgressBar(utf8, fraction, 20)), 20);
  }
}

TEST(TerminalTest, ASparklineShowsTheCourse) {
  Terminal terminal;
  terminal.utf8 = true;
  EXPECT_EQ(Sparkline(terminal, {0, 1, 2, 3, 4, 5, 6, 7}, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(Sparkline(terminal, {0, 0, 8, 8}, 2), "▁█");
  EXPECT_EQ(Sparkline(terminal, {1, std::nan(""), 1}, 9), "▅ ▅");
  EXPECT_EQ(Clipped(terminal, "abcdef", 4), "abc…");
}

TEST(TerminalTest, NumbersKeepAboutFourDigits) {
  EXPECT_EQ(HumanNumber(0.23412), "0.2341");
  EXPECT_EQ(HumanNumber(12.3456), "12.35");
  EXPECT_EQ(HumanNumber(1234.56), "1234.6");
  EXPECT_EQ(HumanNumber(1.234e-5), "1.234e-05");
  EXPECT_EQ(HumanNumber(-1e9), "-1.000e+09");
}

}  // namespace
}  // namespace graphrun
