#include "runtime/report/stroke_font.h"

#include <algorithm>

#include "runtime/report/utf8.h"

namespace graphrun {
namespace {

// Lines of a letter on a grid, pairs of digits xy; a space lifts the pen. The base line is y = 2,
// small letters reach to 7, capitals to 9.
constexpr const char* kLetters[] = {
    /* space */ "",
    "0905 0202",
    "0907 2927",
    "1219 3239 0444 0747",
    "483919080716354443321203 2921",
    "0269 0929270709 4464624244",
    "4217182938370403122245",
    "0907",
    "19070311",
    "09171301",
    "2824 0745 0547",
    "0545 2723",
    "1201",
    "0535",
    "0202",
    "0149",
    /* 0 */ "120308193948433212",
    "182922 1232",
    "08193948470242",
    "0819394847361636 364543321203",
    "32390444",
    "490906364543321203",
    "483919080312324345361605",
    "094912",
    "160503123243453616 1607081939484736",
    "031232434839190806153546",
    /* : */ "0202 0606",
    "1201 1616",
    "480542",
    "0444 0646",
    "084502",
    "08193948472524 2222",
    "534212030819495855443425263757",
    /* A */ "022942 1535",
    "02093948473606 3645433202",
    "4839190803123243",
    "02093948433202",
    "49090242 0636",
    "490902 0636",
    "48391908031232434525",
    "0902 4942 0646",
    "0902",
    "3933221203",
    "0902 4905 1642",
    "090242",
    "0209346962",
    "02094249",
    "120308194958534212",
    "02093948463505",
    "120308194958534212 3452",
    "02093948463505 2542",
    "483919080716354443321203",
    "0949 2922",
    "090312324349",
    "092249",
    "0912375269",
    "0942 0249",
    "092649 2622",
    "09490242",
    "19090111",
    "0941",
    "09191101",
    "072947",
    "0141",
    "0918",
    /* a */ "4742 4637170603123243",
    "0902 0617374643321203",
    "4637170603123243",
    "4942 4637170603123243",
    "05454637170603123243",
    "39291812 0737",
    "4637170603123243 47413010",
    "0902 0617374642",
    "0702 0909",
    "171100 1919",
    "0902 3704 1542",
    "0902",
    "0702 0617273632 3647576662",
    "0702 0617374642",
    "120306173746433212",
    "0700 0617374643321203",
    "4740 4637170603123243",
    "0702 061737",
    "46371706153443321203",
    "19132232 0737",
    "0703123243 4742",
    "072247",
    "0712365267",
    "0742 0247",
    "0722 4710",
    "07470242",
    "29181605141221",
    "0901",
    "09181625141201",
    "05163546",
};

// What charts write besides ASCII.
struct More {
  const char* utf8;
  const char* lines;
};
constexpr More kMore[] = {
    {"…", "0202 2222 4242"}, {"×", "0347 0743"}, {"·", "0505"}, {"−", "0535"}};
constexpr char kUnknown[] = "0209494202";

const char* LinesOf(absl::string_view character) {
  const auto byte = static_cast<unsigned char>(character[0]);
  if (byte >= 0x20 && byte < 0x7f) return kLetters[byte - 0x20];
  for (const More& more : kMore) {
    if (character == more.utf8) return more.lines;
  }
  return kUnknown;
}

}  // namespace

StrokeText StrokeLetters(absl::string_view text, double size) {
  constexpr double kAcross = 0.089, kUp = 0.104;  // ems a step of the grid
  constexpr int kGap = 2, kSpace = 3;
  StrokeText result;
  int x = 0;
  while (!text.empty()) {
    const auto length = static_cast<size_t>(std::max(Utf8Length(text), 1));
    const char* at = LinesOf(text.substr(0, length));
    text.remove_prefix(length);
    int widest = *at == 0 ? kSpace - kGap : 0;
    bool pen_up = true;
    for (; *at != 0; at += *at == ' ' ? 1 : 2) {
      if (*at == ' ') {
        pen_up = true;
        continue;
      }
      if (pen_up) result.lines.emplace_back();
      pen_up = false;
      widest = std::max(widest, at[0] - '0');
      result.lines.back().emplace_back((x + (at[0] - '0')) * kAcross * size,
                                       -((at[1] - '0') - 2) * kUp * size);
    }
    x += widest + kGap;
  }
  result.width = std::max(x - kGap, 0) * kAcross * size;
  return result;
}

}  // namespace graphrun
