"""Styles: words that are put behind the user's own. They know nothing of the picture, which the service looks at itself."""

from typing import NamedTuple

MOST = 1000
"""Characters of one prompt's words."""


class Style(NamedTuple):
    """Words for the music, for the sounds, and for what to avoid."""

    music: str = ""
    sounds: str = ""
    avoid: str = ""


AS_SEEN = "As the picture suggests"

STYLES = {
    AS_SEEN: Style(),
    "Cinematic": Style(
        "cinematic orchestral score, wide strings and low brass, slow build", "wide and deep ambience", "pop, vocals"
    ),
    "Calm": Style("calm ambient music, soft piano and warm pads, slow", "soft and close sounds", "drums, harsh sounds"),
    "Bright": Style("bright and upbeat, acoustic guitar, light percussion, 115 bpm", "lively sounds", "dark, sad"),
    "Documentary": Style("restrained underscore, marimba and soft strings", "natural ambience, close up", "vocals"),
    "Aerial": Style("airy, spacious strings and synthesizer, rising", "wind at height, distant nature", "traffic"),
    "Underwater": Style(
        "slow deep drones, glassy bells, floating", "muffled underwater ambience, bubbles", "birds, wind"
    ),
    "Tense": Style("tense pulsing synthesizer, low drones, sparse hits", "uneasy room tone", "cheerful"),
    "Retro": Style("analogue synthesizers, steady drum machine, 1980s", "", "orchestra"),
}


def joined(own: str | None, style: str) -> str | None:
    """The user's own words, and the style's behind them. None for no words; ValueError where there is no room for both."""
    own = (own or "").strip()
    both = ", ".join(filter(None, (own, style)))
    if style and len(both) > MOST:
        raise ValueError("Your words leave no room for the style: shorten them, or choose another.")
    return both or None
