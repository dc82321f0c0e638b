"""The classes, and which font may draw them in which split.

A font file belongs to exactly one split: the held-out pictures are drawn with type that training never saw.
`python3 fonts.py` prints the table of fonts with their Debian packages and licences, as the README shows it.
"""

from pathlib import Path

DIGITS = list("0123456789")

# One name per pictogram, and the code points that draw it (filled, outlined, ornamented).
PICTOGRAMS = {
    "heart": "♥♡❤",
    "star": "★☆✮",
    "sun": "☀☼",
    "umbrella": "☂☔",
    "phone": "☎☏",
    "scissors": "✂✄",
    "plane": "✈",
    "envelope": "✉",
    "snowflake": "❄❅❆",
    "anchor": "⚓",
}

LABELS = DIGITS + list(PICTOGRAMS)
SYMBOLS = DIGITS + [forms[0] for forms in PICTOGRAMS.values()]

T = "/usr/share/fonts/truetype/"
O = "/usr/share/fonts/opentype/"
X = "/usr/share/texmf/fonts/opentype/public/tex-gyre/"

# split, Debian package, licence of the font, files
DIGIT_FONTS = [
    ("train", "fonts-dejavu-core", "Bitstream Vera", [T + "dejavu/DejaVuSans.ttf", T + "dejavu/DejaVuSans-Bold.ttf", T + "dejavu/DejaVuSerif.ttf", T + "dejavu/DejaVuSerif-Bold.ttf", T + "dejavu/DejaVuSansMono.ttf"]),
    ("train", "fonts-freefont-ttf", "GPL-3+ with font exception", [T + "freefont/FreeSans.ttf", T + "freefont/FreeSerif.ttf", T + "freefont/FreeSerifBold.ttf", T + "freefont/FreeMono.ttf", T + "freefont/FreeMonoBold.ttf", T + "freefont/FreeSerifItalic.ttf"]),
    ("train", "fonts-texgyre", "GUST Font License", [X + "texgyreadventor-regular.otf", X + "texgyrebonum-regular.otf", X + "texgyrecursor-bold.otf", X + "texgyreheros-bold.otf", X + "texgyrepagella-regular.otf", X + "texgyreschola-bold.otf", X + "texgyrechorus-mediumitalic.otf"]),
    ("train", "fonts-cabin", "OFL-1.1", [O + "cabin/Cabin-Regular.otf", O + "cabin/Cabin-Bold.otf"]),
    ("train", "fonts-cantarell", "OFL-1.1", [O + "cantarell/Cantarell-Regular.otf", O + "cantarell/Cantarell-ExtraBold.otf"]),
    ("train", "fonts-comfortaa", "OFL-1.1", [T + "comfortaa/Comfortaa-Regular.ttf", T + "comfortaa/Comfortaa-Bold.ttf"]),
    ("train", "fonts-courier-prime", "OFL-1.1", [O + "courier-prime/Courier Prime Bold.otf"]),
    ("train", "fonts-crosextra-carlito", "OFL-1.1", [T + "crosextra/Carlito-Regular.ttf", T + "crosextra/Carlito-Bold.ttf"]),
    ("train", "fonts-fantasque-sans", "OFL-1.1", [O + "fantasque-sans/Normal/OTF/FantasqueSansMono-Regular.otf", O + "fantasque-sans/Normal/OTF/FantasqueSansMono-Bold.otf"]),
    ("train", "fonts-firacode", "OFL-1.1", [T + "firacode/FiraCode-Regular.ttf", T + "firacode/FiraCode-Bold.ttf"]),
    ("train", "fonts-go", "BSD-3-Clause", ["/usr/share/fonts/fonts-go/Go-Regular.ttf", "/usr/share/fonts/fonts-go/Go-Bold.ttf", "/usr/share/fonts/fonts-go/Go-Mono-Bold.ttf"]),
    ("train", "fonts-karla", "OFL-1.1", [T + "karla/Karla-Regular.otf", T + "karla/Karla-ExtraBold.otf"]),
    ("train", "fonts-league-spartan", "OFL-1.1", [O + "league-spartan/LeagueSpartan-Medium.otf", O + "league-spartan/LeagueSpartan-Black.otf"]),
    ("train", "fonts-lobstertwo", "OFL-1.1", [O + "lobstertwo/LobsterTwo-Regular.otf", O + "lobstertwo/LobsterTwo-Bold.otf"]),
    ("train", "fonts-manrope", "OFL-1.1", [T + "manrope/Manrope-Regular.ttf", T + "manrope/Manrope-ExtraBold.ttf"]),
    ("train", "fonts-mononoki", "OFL-1.1", [T + "mononoki/mononoki-Regular.ttf", T + "mononoki/mononoki-Bold.ttf"]),
    ("train", "fonts-ocr-a", "public domain", [T + "ocr-a/OCRA.ttf"]),
    ("train", "fonts-open-sans", "Apache-2.0", [T + "open-sans/OpenSans-Regular.ttf", T + "open-sans/OpenSans-CondBold.ttf"]),
    ("train", "fonts-opendyslexic", "CC-BY-3.0", [O + "opendyslexic/OpenDyslexic-Regular.otf", O + "opendyslexic/OpenDyslexicAlta-Bold.otf"]),
    ("train", "fonts-oxygen", "OFL-1.1", [T + "oxygen/Oxygen-Sans-Bold.ttf", T + "oxygen/OxygenMono-Regular.ttf"]),
    ("train", "fonts-quattrocento", "OFL-1.1", [O + "quattrocento/Quattrocento-Regular.otf"]),
    ("train", "fonts-roboto-unhinted", "Apache-2.0", [T + "roboto/unhinted/RobotoTTF/Roboto-Regular.ttf", T + "roboto/unhinted/RobotoTTF/Roboto-Black.ttf", T + "roboto/unhinted/RobotoCondensed-Bold.ttf"]),
    ("train", "fonts-sil-charis", "OFL-1.1", [T + "charis/CharisSIL-Regular.ttf", T + "charis/CharisSIL-Bold.ttf"]),
    ("train", "fonts-dancingscript", "OFL-1.1", [O + "dancingscript/DancingScript-Bold.otf"]),
    ("train", "fonts-kaushanscript", "OFL-1.1", [O + "kaushanscript/KaushanScript-Regular.otf"]),
    ("train", "fonts-sora", "OFL-1.1", [O + "sora/Sora-Regular.otf", O + "sora/Sora-ExtraBold.otf"]),
    ("train", "fonts-mplus", "OFL-1.1", [O + "mplus/Mplus1-Regular.otf", O + "mplus/Mplus1-Black.otf"]),
    ("train", "fonts-stix", "OFL-1.1", [O + "stix/STIXGeneral-Regular.otf", O + "stix/STIXGeneral-Bold.otf"]),
    ("train", "fonts-jura", "OFL-1.1", [O + "jura/Jura-Medium.otf", O + "jura/Jura-Bold.otf"]),
    ("train", "fonts-yanone-kaffeesatz", "OFL-1.1", [O + "yanone-kaffeesatz/YanoneKaffeesatz-Regular.otf", O + "yanone-kaffeesatz/YanoneKaffeesatz-Bold.otf"]),
    ("heldOut", "fonts-liberation", "OFL-1.1", [T + "liberation/LiberationSans-Regular.ttf", T + "liberation/LiberationSerif-Bold.ttf", T + "liberation/LiberationMono-Regular.ttf"]),
    ("heldOut", "fonts-inter", "OFL-1.1", [O + "inter/Inter-Regular.otf", O + "inter/Inter-Black.otf"]),
    ("heldOut", "fonts-lato", "OFL-1.1", [T + "lato/Lato-Regular.ttf", T + "lato/Lato-Black.ttf"]),
    ("heldOut", "fonts-oldstandard", "OFL-1.1", [T + "fonts-oldstandard/OldStandard-Bold.ttf"]),
    ("heldOut", "fonts-play", "OFL-1.1", [O + "play/Play-Regular.otf", O + "play/Play-Bold.otf"]),
    ("heldOut", "fonts-quicksand", "OFL-1.1", [T + "quicksand/Quicksand-Medium.ttf", T + "quicksand/Quicksand-Bold.ttf"]),
    ("heldOut", "fonts-sil-andika", "OFL-1.1", [T + "andika/Andika-Regular.ttf", T + "andika/Andika-Bold.ttf"]),
    ("heldOut", "fonts-b612", "EPL-2.0 / OFL-1.1", [O + "b612/B612-Regular.otf", O + "b612/B612-Bold.otf"]),
    ("heldOut", "fonts-jetbrains-mono", "OFL-1.1", [T + "jetbrains-mono/JetBrainsMono-Regular.ttf", T + "jetbrains-mono/JetBrainsMono-ExtraBold.ttf"]),
    ("heldOut", "fonts-dosis", "OFL-1.1", [O + "dosis/Dosis-Medium.otf", O + "dosis/Dosis-Bold.otf"]),
    ("heldOut", "fonts-comic-neue", "OFL-1.1", [O + "comic-neue/ComicNeue-Bold.otf"]),
    ("heldOut", "fonts-roboto-slab", "Apache-2.0", [O + "roboto/slab/RobotoSlab-Regular.otf", O + "roboto/slab/RobotoSlab-Bold.otf"]),
    ("heldOut", "fonts-crosextra-caladea", "Apache-2.0", [T + "crosextra/Caladea-Regular.ttf", T + "crosextra/Caladea-Bold.ttf"]),
    ("heldOut", "fonts-tuffy", "public domain", [T + "tuffy/tuffy_regular.ttf", T + "tuffy/Tuffy_Bold.ttf"]),
    ("heldOut", "fonts-averia-serif-gwf", "OFL-1.1", [T + "averia-gwf/AveriaSerifGWF-Bold.ttf"]),
    ("heldOut", "fonts-hack", "MIT / Bitstream Vera", [T + "hack/Hack-Bold.ttf"]),
]

# As above, with the characters taken from the font: many fonts hold only some, or draw another thing under the code point.
PICTOGRAM_FONTS = [
    ("train", "fonts-dejavu-core", "Bitstream Vera", T + "dejavu/DejaVuSans.ttf", "♥♡❤★☆✮☀☼☂☔☎☏✂✄✈✉❄❅❆⚓"),
    ("train", "fonts-dejavu-core", "Bitstream Vera", T + "dejavu/DejaVuSansMono.ttf", "❤☼☂✂✈✉❄⚓"),
    ("train", "fonts-freefont-ttf", "GPL-3+ with font exception", T + "freefont/FreeSerif.ttf", "♥♡❤★☆✮☀☼☂☔☎☏✂✄✈✉❄❅❆⚓"),
    ("train", "fonts-freefont-ttf", "GPL-3+ with font exception", T + "freefont/FreeMono.ttf", "♥♡★☆☀☼☂☔"),
    ("train", "fonts-symbola", "free for any use", T + "ancient-scripts/Symbola_hint.ttf", "♥♡❤★☆✮☀☼☂☔☎☏✂✄✈✉❄❅❆⚓"),
    ("train", "fonts-unifont", "GPL-2+ with font exception", O + "unifont/unifont.otf", "❤✂✄✈✉❄❅❆⚓"),
    ("train", "fonts-umeplus", "M+ / BSD", T + "umeplus/umeplus-gothic.ttf", "♥♡❤★☆✮☀☼☂☎☏✂✄✈✉❄❅❆"),
    ("train", "fonts-hanazono", "OFL-1.1", T + "hanazono/HanaMinA.ttf", "♥♡★☆☀☼☂☔✂✈✉❄⚓"),
    ("train", "fonts-ipamj-mincho", "IPA-1.0", T + "ipamj/ipamjm.ttf", "♥♡★☆☀☂☎"),
    ("train", "fonts-wqy-zenhei", "GPL-2 with font exception", T + "wqy/wqy-zenhei.ttc", "♥♡★☆☎☏"),
    ("train", "fonts-oflb-asana-math", "OFL-1.1", O + "asana-math/Asana-Math.otf", "♥♡★☆"),
    ("train", "fonts-babelstone-han", "Arphic Public License", T + "babelstone/BabelStoneHan.ttf", "❤★☆"),
    ("train", "fonts-stix", "OFL-1.1", O + "stix/STIXGeneral-Regular.otf", "♥♡★☆☼☎✂✉"),
    ("train", "fonts-b612", "EPL-2.0 / OFL-1.1", O + "b612/B612-Regular.otf", "♡★☀☼☂✈✉"),
    ("heldOut", "fonts-noto-core", "OFL-1.1", T + "noto/NotoSansSymbols2-Regular.ttf", "♥♡❤★☆✮☀☼☂☔☎☏✂✄✈✉❄❅❆"),
    ("heldOut", "fonts-noto-core", "OFL-1.1", T + "noto/NotoSansSymbols-Regular.ttf", "⚓"),
    ("heldOut", "fonts-vlgothic", "M+ / BSD", T + "vlgothic/VL-Gothic-Regular.ttf", "♥♡★☆☀☼☂☔☎☏✈✉⚓"),
    ("heldOut", "fonts-lxgw-wenkai", "OFL-1.1", T + "lxgw-wenkai/LXGWWenKai-Regular.ttf", "♥♡★☆☀☂☎✂"),
    ("heldOut", "fonts-inter", "OFL-1.1", O + "inter/Inter-Regular.otf", "♥♡❤★☆☀☼"),
    ("heldOut", "fonts-opensymbol", "MPL-2.0", T + "libreoffice/opens___.ttf", "♥☼☎✈❄"),
]

# Icon fonts keep their pictograms in the private use area, under codes of their own.
ICON_FONTS = [
    ("train", "fonts-font-awesome", "OFL-1.1", T + "font-awesome/fontawesome-webfont.ttf",
     {"heart": "\uf004\uf08a", "star": "\uf005\uf006", "sun": "\uf185", "umbrella": "\uf0e9", "scissors": "\uf0c4", "plane": "\uf072", "envelope": "\uf0e0\uf003", "anchor": "\uf13d"}),
    ("train", "fonts-glyphicons-halflings", "MIT", T + "glyphicons/glyphicons-halflings-regular.ttf",
     {"heart": "\ue005\ue143", "star": "\ue006\ue007", "scissors": "\ue226", "plane": "\ue108", "envelope": "✉"}),
]

Glyph = tuple[str, str]  # font file, character


def glyphs_of(split: str) -> dict[str, list[Glyph]]:
    """Every way the fonts of `split` can draw each label."""
    glyphs: dict[str, list[Glyph]] = {label: [] for label in LABELS}
    for of, _, _, files in DIGIT_FONTS:
        if of == split:
            for digit in DIGITS:
                glyphs[digit] += [(file, digit) for file in files]
    for of, _, _, file, characters in PICTOGRAM_FONTS:
        if of == split:
            for label, forms in PICTOGRAMS.items():
                glyphs[label] += [(file, form) for form in forms if form in characters]
    for of, _, _, file, icons in ICON_FONTS:
        if of == split:
            for label, forms in icons.items():
                glyphs[label] += [(file, form) for form in forms]
    return glyphs


def font_table() -> str:
    """The fonts as a Markdown table, one row per package and use."""
    rows = [(split, "digits", package, licence, files) for split, package, licence, files in DIGIT_FONTS]
    rows += [(split, "pictograms", package, licence, [file]) for split, package, licence, file, _ in PICTOGRAM_FONTS + ICON_FONTS]
    lines = ["| split | draws | Debian package | licence | faces |", "| --- | --- | --- | --- | --- |"]
    for split, draws, package, licence, files in rows:
        lines.append(f"| {split} | {draws} | {package} | {licence} | {', '.join(Path(file).stem for file in files)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(font_table())
