#include "runtime/plugin/formula.h"

#include <array>
#include <cmath>
#include <functional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"

namespace graphrun {
namespace {

// Formulas nested deeper are refused: the parser calls itself.
constexpr int kMaxDepth = 200;

// A value, or a number that has not met one yet.
struct Term {
  Expr expr;
  double number = 0;
  bool is_number() const { return !expr.is_defined(); }
};

struct NamedFunction {
  const char* name;
  size_t arguments;
  Expr (*emit)(const std::vector<Expr>&);
};

using Args = const std::vector<Expr>&;
constexpr std::array<NamedFunction, 27> kFunctions = {{
    {"exp", 1, [](Args a) { return Exp(a[0]); }},
    {"log", 1, [](Args a) { return Log(a[0]); }},
    {"sqrt", 1, [](Args a) { return Sqrt(a[0]); }},
    {"square", 1, [](Args a) { return Square(a[0]); }},
    {"abs", 1, [](Args a) { return Abs(a[0]); }},
    {"sign", 1, [](Args a) { return Sign(a[0]); }},
    {"reciprocal", 1, [](Args a) { return Reciprocal(a[0]); }},
    {"sin", 1, [](Args a) { return Sin(a[0]); }},
    {"cos", 1, [](Args a) { return Cos(a[0]); }},
    {"tanh", 1, [](Args a) { return Tanh(a[0]); }},
    {"sigmoid", 1, [](Args a) { return Sigmoid(a[0]); }},
    {"erf", 1, [](Args a) { return Erf(a[0]); }},
    {"floor", 1, [](Args a) { return Floor(a[0]); }},
    {"relu", 1, [](Args a) { return Relu(a[0]); }},
    {"identity", 1, [](Args a) { return Identity(a[0]); }},
    {"zeros_like", 1, [](Args a) { return ZerosLike(a[0]); }},
    {"sum", 1, [](Args a) { return ReduceSum(a[0], {}, false); }},
    {"mean", 1, [](Args a) { return ReduceMean(a[0], {}, false); }},
    {"pow", 2, [](Args a) { return Pow(a[0], a[1]); }},
    {"max", 2, [](Args a) { return Max(a[0], a[1]); }},
    {"min", 2, [](Args a) { return Min(a[0], a[1]); }},
    {"matmul", 2, [](Args a) { return MatMul(a[0], a[1]); }},
    {"cast_like", 2, [](Args a) { return CastLike(a[0], a[1]); }},
    {"expand", 2, [](Args a) { return Expand(a[0], a[1]); }},
    {"reshape_to", 2, [](Args a) { return Reshape(a[0], a[1]); }},
    {"sum_to", 2, [](Args a) { return SumTo(a[0], a[1]); }},
    {"where", 3, [](Args a) { return Where(a[0], a[1], a[2]); }},
}};

// Operators that read alike are tried from the longest on.
struct BinaryOperator {
  const char* sign;
  int level;
  Expr (*emit)(Expr, Expr);
};
constexpr std::array<BinaryOperator, 11> kOperators = {{
    {"or", 0, [](Expr a, Expr b) { return Or(a, b); }},
    {"and", 1, [](Expr a, Expr b) { return And(a, b); }},
    {"<=", 2, [](Expr a, Expr b) { return a <= b; }},
    {">=", 2, [](Expr a, Expr b) { return a >= b; }},
    {"==", 2, [](Expr a, Expr b) { return Equal(a, b); }},
    {"<", 2, [](Expr a, Expr b) { return a < b; }},
    {">", 2, [](Expr a, Expr b) { return a > b; }},
    {"+", 3, [](Expr a, Expr b) { return a + b; }},
    {"-", 3, [](Expr a, Expr b) { return a - b; }},
    {"*", 4, [](Expr a, Expr b) { return a * b; }},
    {"/", 4, [](Expr a, Expr b) { return a / b; }},
}};
constexpr int kLevels = 5;

class Parser {
 public:
  Parser(Builder* builder, absl::string_view text, const std::vector<std::string>& names,
         const std::vector<Expr>& values)
      : builder_(builder), text_(text), names_(names), values_(values) {}

  Expr Parse() {
    Term term = Binary(0);
    SkipSpace();
    if (ok() && at_ < text_.size()) Fail("expected an operator");
    if (ok() && term.is_number()) Fail("a number alone has no element type: use an operand");
    return ok() ? term.expr : Expr();
  }

 private:
  bool ok() const { return builder_->status().ok(); }

  Term Fail(absl::string_view what) {
    builder_->Fail(PluginError("formula \"", text_, "\", column ", at_ + 1, ": ", what));
    return {};
  }

  void SkipSpace() {
    while (at_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }

  static bool IsWordChar(char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
  }

  bool Accept(absl::string_view sign) {
    SkipSpace();
    if (text_.substr(at_, sign.size()) != sign) return false;
    const size_t after = at_ + sign.size();
    if (IsWordChar(sign[0]) && after < text_.size() && IsWordChar(text_[after])) return false;
    at_ = after;
    return true;
  }

  // Numbers take the element type of the first value among `terms`.
  bool Unify(std::vector<Term>* terms) {
    // A condition is no value that a number could be like: where(c, 1, x).
    const Term* like = nullptr;
    for (const Term& t : *terms) {
      if (!t.is_number() && (like == nullptr || like->expr.dtype() == DType::kBool)) like = &t;
    }
    if (like == nullptr) return false;
    const DType dtype = like->expr.dtype();
    for (Term& t : *terms) {
      if (!t.is_number()) continue;
      if (dtype == DType::kBool) {
        Fail("a number meets conditions only and has no element type: use an operand");
        return false;
      }
      t.expr = builder_->Scalar(dtype, t.number);
    }
    return true;
  }

  static double Compute(absl::string_view sign, double a, double b) {
    return sign == "+" ? a + b : sign == "-" ? a - b : sign == "*" ? a * b : a / b;
  }

  const BinaryOperator* AcceptOperator(int level) {
    for (const BinaryOperator& op : kOperators) {
      if (op.level == level && Accept(op.sign)) return &op;
    }
    return nullptr;
  }

  Term Binary(int level) {
    if (level == kLevels) return Unary();
    Term left = Binary(level + 1);
    while (ok()) {
      const BinaryOperator* op = AcceptOperator(level);
      if (op == nullptr) break;
      const Term right = Binary(level + 1);
      if (!ok()) break;
      std::vector<Term> both = {left, right};
      if (Unify(&both)) {
        left = {op->emit(both[0].expr, both[1].expr), 0};
      } else if (!ok()) {
        break;
      } else if (level >= 3) {
        left = {Expr(), Compute(op->sign, left.number, right.number)};
      } else {
        return Fail(absl::StrCat("\"", op->sign, "\" between two numbers"));
      }
    }
    return left;
  }

  Term Unary() {
    if (++depth_ > kMaxDepth) return Fail("nested too deeply");
    Term term;
    if (Accept("-")) {
      term = Unary();
      if (ok()) term = term.is_number() ? Term{Expr(), -term.number} : Term{-term.expr, 0};
    } else if (Accept("not")) {
      term = Unary();
      if (ok() && term.is_number()) return Fail("\"not\" of a number");
      if (ok()) term = {Not(term.expr), 0};
    } else {
      term = Power();
    }
    --depth_;
    return term;
  }

  Term Power() {
    const Term base = Primary();
    if (!ok() || !Accept("^")) return base;
    const Term exponent = Unary();
    if (!ok()) return {};
    std::vector<Term> both = {base, exponent};
    if (Unify(&both)) return {Pow(both[0].expr, both[1].expr), 0};
    return {Expr(), std::pow(base.number, exponent.number)};
  }

  Term Primary() {
    SkipSpace();
    if (at_ == text_.size()) return Fail("ends where a value is expected");
    if (Accept("(")) {
      const Term inner = Binary(0);
      if (ok() && !Accept(")")) return Fail("expected \")\"");
      return inner;
    }
    const char c = text_[at_];
    if (absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '.') return Number();
    if (!IsWordChar(c)) return Fail("expected a value");
    const size_t begin = at_;
    while (at_ < text_.size() && IsWordChar(text_[at_])) ++at_;
    const std::string word(text_.substr(begin, at_ - begin));
    if (Accept("(")) return FunctionCall(word);
    for (size_t i = 0; i < names_.size(); ++i) {
      if (names_[i] != word) continue;
      if (!values_[i].is_defined()) return Fail(absl::StrCat("\"", word, "\" is left out"));
      return {values_[i], 0};
    }
    return Fail(absl::StrCat("there is no value \"", word, "\".", DidYouMean(word, names_)));
  }

  Term Number() {
    const size_t begin = at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const bool sign = (c == '-' || c == '+') && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E');
      if (!IsWordChar(c) && c != '.' && !(sign && at_ > begin)) break;
      ++at_;
    }
    Term term;
    if (!absl::SimpleAtod(text_.substr(begin, at_ - begin), &term.number)) {
      at_ = begin;
      return Fail("not a number");
    }
    return term;
  }

  Term FunctionCall(const std::string& name) {
    const NamedFunction* function = nullptr;
    std::vector<std::string> known;
    for (const NamedFunction& f : kFunctions) {
      if (name == f.name) function = &f;
      known.emplace_back(f.name);
    }
    if (function == nullptr) {
      return Fail(absl::StrCat("there is no function \"", name, "\".", DidYouMean(name, known)));
    }
    std::vector<Term> terms;
    do {
      terms.push_back(Binary(0));
      if (!ok()) return {};
    } while (Accept(","));
    if (!Accept(")")) return Fail("expected \",\" or \")\"");
    if (terms.size() != function->arguments) {
      return Fail(
          absl::StrCat(name, " takes ", function->arguments, " values, not ", terms.size()));
    }
    if (!Unify(&terms)) return Fail(absl::StrCat(name, " of numbers only"));
    std::vector<Expr> arguments;
    for (const Term& t : terms) arguments.push_back(t.expr);
    return {function->emit(arguments), 0};
  }

  Builder* builder_;
  absl::string_view text_;
  const std::vector<std::string>& names_;
  const std::vector<Expr>& values_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Expr EmitFormula(Builder* builder, absl::string_view text, const std::vector<std::string>& names,
                 const std::vector<Expr>& values) {
  return Parser(builder, text, names, values).Parse();
}

}  // namespace graphrun
