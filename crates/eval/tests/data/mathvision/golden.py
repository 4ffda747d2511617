"""Makes golden.json: what MATH-V's official evaluator makes of strings, most of them drawn at random.

`values` are [text, the value of text rounded to two decimals as Python prints it, or null where the
evaluator fails]; `pairs` are [text, text, whether is_equal calls them equal].

Needs a checkout of https://github.com/mathllm/MATH-V at 1d36118 and Python 3.11 with
latex2sympy2 1.9.1, sympy 1.14.0, antlr4-python3-runtime 4.7.2, numpy and tqdm.

Run: python golden.py PATH/TO/MATH-V > golden.json
"""

import json
import random
import signal
import sys
from math import *  # noqa: F403, the names that the official code looks printed expressions up in

sys.path.insert(0, sys.argv[1] + "/evaluation")
import latex2sympy2  # noqa: E402
from latex2sympy2 import latex2sympy  # noqa: E402
from utils import is_equal  # noqa: E402

# Each shows one rule.
CHOSEN = r"""
5'|5.so,|5tr|5eight|5cats|5_2|5!^2|5|5|x|1,234|1,2345|1,23|2e|e^2|e^0|e|\exp(0)|\ln 2|\log 100
\log_2 8|\log_{2}{8}|\sin 30|\sin(30)|\sin^2 30|\sin^{-1} 0.5|\sin^0 3|3!!|\binom{5}{2}|{5\choose2}
x=3|x=y=3|3<4|4<3|1<2<3|50\%|5:12|(5)_{2}|\tau|\gcd(4,6)|2^-1|2^{-1}|2^{-3}|2^3^2|{2^3}^2|-2^2
(-2)^2|\sqrt[3]{8}|\sqrt[3]{-8}|\sqrt4|\lfloor 2.7\rfloor|\lceil 2.7\rceil|\left(2\right)|5\right
60°|5 ?|5\cdots|2\frac{1}{2}|\frac12|1/2/3|1/2*3|0.1+0.2|4/2|2.50|-0|--5|5--3|5\\6|5&6|5,|5;6|[5]
{5}|[5,6]|(5,6)|5\mod 3|\max(3,4)|10^{400}|1.5^{1000}|2^{0.5}|(-8)^{1/3}|0^0|0^{-1}|1/0|1e5|5!=120
\leq|((5|5)))|\frac{\pi}{2}|2\pi r|\sqrt{-4}|\infty|\arctan 1|\tan{45}|\cot 3|e^{\ln 2}|e^{2\ln 3}
\sin 2 \cos 3|\sin 2 3|\log 2*5|\cos\pi|60^\circ|3.5.5|.5|5.|0.5!|(6/2)!|22\mathrm{~cm}^2|\$5|$5$
-\frac{1}{\frac{3}{2}}|-\frac{5}{2\cdot3}|1/2^{-1}|2/(1/2)|-2/0.6|\frac{3^{1008}-1}{3^{1009}}
\displaystyle 5|5\quad 6|5~6|\text{area}=5|0.125|0.375|2.675|-0.125|1.005|12\,345|\operatorname{floor}(2.5)
"""

TUPLES = ["(1,2)", "(1.0,2)", "(1/2,3)", "(0.5,3)", "(4/2,1)", "(2,1)", "[1,2]", "(a,1)", "(-a,1)",
          "(\\infty,0)", "(infty,0)", "(x,1)", "(1,2]", "(1 ,2)", "(5)", "()", "(,)", "(1,)"]


def draw(rng, depth):
    def part():
        return draw(rng, depth - 1)

    def number():
        return rng.choice([
            str(rng.randint(0, 9)), str(rng.randint(10, 3000)), f"{rng.random() * 10:.2f}",
            f"{rng.random():.1f}", "1,000", "3.14", "0.5", ".5", "2.", "1/2", "50\\%", "0"])

    if depth <= 0 or rng.random() < 0.25:
        return number()
    kind = rng.randrange(24)
    if kind < 5:
        return part() + ["+", "-", "*", "/", ":"][kind] + part()
    if kind == 5:
        return "\\frac{" + part() + "}{" + part() + "}"
    if kind == 6:
        return part() + "\\sqrt{" + part() + "}"
    if kind == 7:
        return "(" + part() + ")"
    if kind == 8:
        return part() + "\\pi"
    if kind == 9:
        return part() + "^{" + str(rng.randint(-4, 6)) + "}"
    if kind == 10:
        return part() + "^" + str(rng.randint(0, 5))
    if kind == 11:
        return "(" + part() + ", " + part() + ")"
    if kind == 12:
        return "-" + part()
    if kind == 13:
        return part() + " " + part()
    if kind == 14:
        return part() + "(" + part() + ")"
    if kind == 15:
        name = rng.choice(["sin", "cos", "tan", "arctan", "log", "ln", "exp", "cot", "sinh"])
        power = rng.choice(["", "^2", "^{-1}", " "])
        return "\\" + name + power + rng.choice(["(%s)", "{%s}", " %s"]) % part()
    if kind == 16:
        return str(rng.randint(0, 8)) + "!"
    if kind == 17:
        return part() + rng.choice(["\\times", "\\cdot ", "\\div"]) + part()
    if kind == 18:
        return "\\sqrt[" + str(rng.randint(2, 4)) + "]{" + part() + "}"
    if kind in (19, 20):
        return part() + rng.choice([
            "cm", " cm", "trees", " eight", ".", ". so", ")", "}", "]", ",", "?", "^\\circ", "x",
            "\\text{cm}", "\\mathrm{cm}", "_2", "!", "\\\\", "&", "\\%", "%", ";", "a", "e", "=",
            "d", " units", "dx", "\\theta"])
    if kind == 21:
        return rng.choice(["x=", "\\angle a=", "x ", "$", "\\mathrm{ab}=", "x_1=", "f(x)="]) + part()
    if kind == 22:
        return part() + rng.choice(["<", ">", "\\leq", "\\geq "]) + part()
    return "e^{" + rng.choice([number(), "\\ln 2", "2\\ln 3", "0", "1"]) + "}"


class Slow(BaseException):
    pass


def limited(work):
    def stop(*_):
        raise Slow

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(5)
    # What earlier assignments stored is forgotten: rows are judged one by one here.
    latex2sympy2.var = {}
    try:
        return True, work()
    except Slow:
        return False, None
    except Exception:
        return True, None
    finally:
        signal.alarm(0)


def value(asw):
    found = round(eval(str(latex2sympy(asw))), 2)
    return str(int(found)) if isinstance(found, bool) else str(found)


def main():
    rng = random.Random(3)
    texts = [t for line in CHOSEN.split("\n") for t in line.split("|") if t] + ["5|", "5|x", "|3|"]
    for _ in range(1100):
        text = draw(rng, rng.randint(1, 3))
        if rng.random() < 0.15:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice("+-*/^_(){}[].,;:!'=<>&\\ $%dext019") + text[at:]
        texts.append(text)
    texts = [t.lower() for t in dict.fromkeys(texts) if len(t) < 80]
    values = []
    for text in texts:
        ended, found = limited(lambda: value(text))
        if ended and len(found or "") < 40:
            values.append([text, found])
    pairs = []
    number = [t for t, v in values if v is not None]
    for _ in range(500):
        kind = rng.random()
        if kind < 0.3:
            pair = rng.choice(TUPLES), rng.choice(TUPLES)
        elif kind < 0.5:
            pair = tuple("(" + rng.choice(number) + "," + rng.choice(["1", "2", "0.5"]) + ")"
                         for _ in "ab")
        elif kind < 0.8:
            text = rng.choice(number)
            pair = text, rng.choice([text + " ", text.upper(), "$" + text + "$", "(" + text + ")",
                                     text + "+0.001", text + "+0.006", text + "*1", text + "."])
        else:
            pair = rng.choice(texts), rng.choice(texts)
        ended, equal = limited(lambda: bool(is_equal(*pair)))
        if ended:
            pairs.append([*pair, equal])
    print("{\"values\":[\n" + ",\n".join(json.dumps(v) for v in values) + "\n],\"pairs\":[\n"
          + ",\n".join(json.dumps(p) for p in pairs) + "\n]}")


main()
