"""Makes golden.json: what CPython says about numbers, blanks, rounding and printed forms.

    python3.11 golden.py > golden.json

Each entry is [input, result]; a null result means that Python raises.
"""
import ast, json, random, struct, sys

rng = random.Random(20261123)


def tried(f, *args):
    try:
        return f(*args)
    except Exception:
        return None


texts = """12| 12 |12.0|5.|.5|.|+7|-7|- 7|+-7|--1|1_000|_1|1_|1__0|1_000.5|1._5|1_.5|1e1_0|1e3|1E3|1e|1e+|e5|1e-5|1e400
-1e400|1e-400|-1e-400|1,000|12%|1/2|0x10|0b1|007|-0|0|00|+0|inf|-inf|Infinity|iNf|i_nf|nan|-nan|NaN|nan(1)|1e22|1e23|2.675
１２|٣٫٥|٣.٥|１_0.5|१२३|\u2212 5|\u22125|\u00a07\u00a0|\u20037|7\u3000|\u200b7|\x1c7|\x1c１|7\x00|\x857|\u2028-3\u2029|½|²|Ⅷ|①|1e５|１e1
9007199254740993|123456789012345678901234567890|0.1|1.7976931348623159e308|4.9e-324|2e-324|1 000|1\n|\t1\v\f|"1"|[1]|True|None|1e99999999999999999999
0e99999999999999999999|𝟘𝟙|𞥐|٠|1.2.3|1e2.5|1e+5|1e +5|infinit|∞|$5|5cm|1d5|1f|0.5f|0_0|-1_0""".replace("\n", "|").split("|")
texts += ["", " ", "1\n", "\t1\v\f", "\x1c7", "\x1c１", "7\x00", "\x857", "\u22125", "\u00a07\u00a0", "\u20037", "\u200b7", "\u20287\u2029",
          "9" * 25, "0" * 30 + "7", "1" * 400]
alphabet = "0123456789..__--++eE 　 １٣naif,%/x"
texts += ["".join(rng.choice(alphabet) for _ in range(rng.randint(1, 7))) for _ in range(250)]


def number(text):
    whole = tried(int, text)
    real = tried(float, text)
    return [text, None if whole is None else str(whole), None if real is None else str(real)]


def double():
    kind = rng.randrange(4)
    if kind == 0:
        return struct.unpack("<d", rng.randbytes(8))[0]
    if kind == 1:
        return rng.randrange(-10**6, 10**6) / 2 ** rng.randrange(0, 8)
    if kind == 2:
        return round(rng.uniform(-1000, 1000), rng.randrange(0, 6))
    return float(f"{rng.randrange(1, 10**rng.randrange(1, 17))}e{rng.randrange(-12, 25)}")


doubles = [724158431401100.25, -1775492984655305.25, 183468800469532.125, 9007199254740993.0, 2.0**60, 2.0**-1074 * 3, 0.0, -0.0, 0.125, 0.375, 0.5, 1.5, 2.5, 2.675, 1.005, -0.04, -0.001, 1e16, 9999999999999998.0, 1e15, 123456789012345680.0,
           1e-4, 9.9e-5, 1e22, 1e23, 1e308, 1.7976931348623157e308, 5e-324, 15.0, 25.0, 35.0, 150.0, 250.0, 45.5, 1e300]
doubles += [double() for _ in range(250)]
doubles = [d for d in doubles if d == d and abs(d) != float("inf")]


def one(value):
    places = [1, 2, rng.choice([0, 3, 7, 17, 300, 323, 324, -1, -2, -3, -15, -308, -309])]
    return [str(value), str(int(value)),
            [[p, None if (r := tried(round, value, p)) is None else str(r)] for p in places]]


strings = ["", "a", "it's", 'say "x"', "it's \"x\"", "\\", "a\nb\r\t", "\x00\x1f\x7f", "é", "\x85\xa0\xad", "\u200b\u2028\ufeff",
           "\u0301a\u0301", "中文", "😀", "\U000e0001", "\ue000", "\u0378", "\U0010ffff", "٣", "🫠", "\u3000 ", "‘q’"]
strings += ["".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(0xa0, 0x380), rng.randrange(0x2000, 0x2072)]))
                    for _ in range(6)) for _ in range(60)]

literals = ["[1,2", "(1,)", "()", "[1,2,]", "['a' 'b']", "-1", "+1", "- 1", "--1", "[007]", "[00]", "1_0", "0x1F", "1e400", "{1:2}",
            "u'x'", "r'\\n'", "'a\nb'", "'''a\nb'''", " 1", "\n1", "\t[1]", "(1)", "((1))", "[]#c", "[#c\n1]", "set()", "nan", "inf",
            "None", "True", "[True,False,None]", "f'x'", "1.", "1 .", ".5", "1e5", "0777", "'\\777'", "'\\d'", "'\\x4'", "not 1",
            "[1\\\n]", "1,2", "1,", "'a',", "", "\ufeff1", "１", "[-0.0]", "- - 1", "-True", "(1,2", "'\\\n'", "1__0", "0_7", "0b102",
            "0b101", "0x1_f", "0x1f_", "0x1__f", "0o17", "[1 2]", "[,]", "(,)", "[1,,2]", "{}", "{'a': [1, (2,)], 3: 'x'}", "{1, 'a': 2}", "\"it's\"", "'\\u00e9\\t'",
            "[([161, 39], 'k'), ([316.7, 304], \"it's\")]", "r'a\\'b'", "'a' r'\\b' \"c\"", "'a", "[1]]", "1 2", "'''it's'''", "'''", "'\\",
            "[" * 60 + "]" * 60, "-1e-7", "-'a'", "[1]\n", "[1]\n#x\n", "1\n,2", "10000000000000000000000000", "1.0e+16", "''", "['']"]


def literal(text):
    value = tried(ast.literal_eval, text)
    return [text, None if value is None and text.strip() != "None" else repr(value)]


import warnings
warnings.simplefilter("ignore")
json.dump({"python": sys.version.split()[0], "numbers": [number(t) for t in dict.fromkeys(texts)], "floats": [one(d) for d in doubles],
           "repr": [[s, repr(s)] for s in strings], "literals": [literal(t) for t in literals]},
          sys.stdout, ensure_ascii=True, separators=(",", ":"))
print()
