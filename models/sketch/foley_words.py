"""From the words of a prompt to the layers of a soundscape.

A word names a sound ("rain") or a thing or place that has some ("beach": surf, wind, gulls). What is named first is loudest. Words
such as "distant" and "heavy" change the level of what they stand before; "no", "without" and the negative prompt remove it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LAYERS_AT_MOST = 7
STEP_DB = 2.5  # from one layer to the next, in the order in which they are named
FAR_DB = -9.0  # of what is heard "in the distance"

# What read word by word would be mistaken. The layers that it names are on the right.
_PHRASES = {
    "fire hydrant": "", "fire escape": "", "fire truck": "engine", "fire engine": "engine", "hot dog": "", "teddy bear": "",
    "wine glass": "tableware", "wine glasses": "tableware", "traffic light": "traffic", "traffic lights": "traffic",
    "parking meter": "traffic", "stop sign": "traffic", "street lamp": "", "bird s eye": "", "birds eye": "", "night stand": "",
    "water bottle": "", "water bottles": "", "water color": "", "water colour": "", "live stream": "", "dining table": "room",
    "living room": "room", "room tone": "room", "potted plant": "room", "potted plants": "room", "rush hour": "traffic",
    "train station": "train crowd", "railway station": "train crowd", "bus station": "traffic crowd", "tin roof": "roof rain",
    "metal roof": "roof rain", "sea gull": "gulls", "sea gulls": "gulls", "sea lion": "", "under water": "underwater",
    "swimming pool": "lapping", "fall leaves": "leaves", "fallen leaves": "leaves", "baseball bat": "",
    "computer mouse": "keyboard", "clock tower": "bell", "wind farm": "wind", "flower bed": "leaves", "flower beds": "leaves",
    "river bed": "stream", "water and sand": "surf wind", "water , sand": "surf wind", "sand and water": "surf wind",
}  # fmt: skip

# Layer: the words that name its sound.
_SOUNDS = {
    "rain": "rain rains rainy raining rainfall raindrop raindrops drizzle drizzling downpour shower showers pouring",
    "roof": "roof rooftop tent umbrella umbrellas windowpane",
    "thunder": "thunder thunderstorm thundering lightning",
    "wind": "wind winds windy breeze breezy gust gusts gusty blowing blizzard howling",
    "leaves": "leaf leaves foliage rustle rustling rustles",
    "surf": """
        sea seas ocean oceans surf surfing surfer surfers surfboard surfboards wave waves shore seashore coast coastal coastline
        tide tides""",
    "stream": "stream streams river rivers brook creek rivulet fountain fountains trickle trickling babbling burbling gurgling",
    "waterfall": "waterfall waterfalls cascade cascades rapids torrent",
    "lapping": """
        water lake lakes pond ponds harbor harbour marina dock pier canal boat boats sailboat canoe kayak rowing swimming
        swimmer""",
    "underwater": "underwater submarine diving scuba aquarium",
    "fire": "fire fires flame flames campfire bonfire fireplace burning blaze ember embers crackling torch torches",
    "birds": "bird birds birdsong songbird songbirds chirping chirp chirps tweeting robin sparrow",
    "gulls": "gull gulls seagull seagulls",
    "crickets": "cricket crickets cicada cicadas insect insects grasshopper grasshoppers",
    "dog": "dog dogs puppy puppies bark barks barking",
    "cat": "cat cats kitten kittens purr purring miaow meow meowing",
    "cattle": "cow cows cattle mooing bull ox",
    "sheep": "sheep lamb lambs goat goats bleating",
    "hooves": "horse horses hoof hooves pony gallop galloping trotting carriage",
    "traffic": """
        traffic road roads street streets highway motorway car cars bus buses truck trucks taxi taxis vehicle vehicles
        crosswalk""",
    "engine": "engine engines motor motors motorcycle motorcycles motorbike tractor generator machine machines machinery",
    "train": "train trains railway railroad rail rails tram trams subway metro locomotive",
    "aircraft": "airplane airplanes aeroplane plane planes aircraft jet jets airport flight helicopter",
    "crowd": """
        crowd crowds crowded people talk talking talks chatter chattering voice voices speech conversation murmur murmuring audience
        babble spectators""",
    "applause": "applause applauding clap clapping claps cheering cheers",
    "footsteps": "footstep footsteps step steps walk walks walking walker walkers pedestrian pedestrians hiking hiker strolling",
    "crunch": "crunch crunching gravel",
    "tableware": "cutlery dish dishes cup cups fork knife spoon bowl eating dinner meal",
    "keyboard": "keyboard keyboards typing laptop laptops computer computers typewriter",
    "clock": "clock clocks ticking",
    "bell": "bell bells church cathedral chapel",
    "room": """
        indoor indoors inside room rooms interior bedroom bathroom office library hallway couch sofa chair bed tv refrigerator oven
        microwave sink""",
    "air": "silence silent stillness hush",
}

# Scene: the layers that belong to it, with their level in dB beside a layer that is named itself.
_SCENES: Mapping[str, Mapping[str, float]] = {
    "beach beaches seaside island": {"surf": 0, "wind": -8, "gulls": -8},
    "sand sandy dune dunes desert": {"wind": -5},
    "sky skies cloud clouds cloudy fog foggy mist misty sunset sunrise dusk dawn kite kites": {"wind": -9},
    "mountain mountains hill hills cliff cliffs summit canyon valley": {"wind": -3},
    "storm storms stormy hurricane": {"rain": 0, "thunder": -1, "wind": -2},
    "snow snowy winter ice icy skis skiing snowboard glacier": {"wind": -5, "crunch": -7},
    "forest forests wood woods woodland jungle rainforest": {"leaves": -1, "birds": -2},
    "vegetation tree trees plant plants grass meadow meadows field fields": {"leaves": -5, "birds": -5},
    "garden gardens park parks flower flowers lawn countryside": {"leaves": -5, "birds": -4},
    "spring summer morning": {"birds": -5},
    "night nighttime midnight nocturnal evening moon moonlight stars starry": {"crickets": -1},
    "city cities town downtown urban skyline buildings building skyscraper skyscrapers": {"traffic": -4, "crowd": -10},
    "lights": {"traffic": -9},
    "market marketplace mall shop shops store": {"crowd": -1, "footsteps": -7},
    "person man woman boy girl": {"footsteps": -4},
    "restaurant cafe coffee pub canteen kitchen": {"crowd": -5, "tableware": -3, "room": -3},
    "stadium concert party festival": {"crowd": 0, "applause": -4},
    "school playground museum lobby": {"crowd": -4, "footsteps": -6, "room": -4},
    "farm barn": {"cattle": -3, "birds": -5, "sheep": -6},
    "swamp marsh wetland": {"crickets": -3, "stream": -8},
    "camp camping campsite": {"fire": -2, "crickets": -5},
    "bicycle bicycles bike skateboard": {"traffic": -5},
    "factory workshop garage": {"engine": -4, "room": -4},
}

# What a word does to the level of what it stands before, in dB.
_CHANGES = {
    "heavy": 4, "loud": 5, "strong": 4, "roaring": 5, "busy": 3, "intense": 4, "thunderous": 5,
    "light": -5, "soft": -6, "gentle": -5, "faint": -9, "quiet": -7, "distant": -9, "far": -8, "faraway": -9, "subtle": -8,
    "muffled": -6, "slight": -7, "few": -4, "occasional": -5,
}  # fmt: skip
_REACH = 3  # words

_NEGATIONS = {"no", "not", "without", "never", "except", "excluding", "minus"}
_TURNS = {"but", "only", "just", "with", "while", "then", "and", "too", "very"}  # where a negation ends

_BY_DAY = {"birds", "gulls"}  # silent at night, unless they are named themselves
_WATERS = {"surf", "stream", "waterfall", "underwater"}  # each says what water it is; "water" alone is a lake's


@dataclass(frozen=True)
class Part:
    """One layer of a soundscape."""

    layer: str
    level_db: float
    """Beside the layer's own natural level."""


@dataclass(frozen=True)
class _Mention:
    layers: Mapping[str, float]
    change_db: float
    negated: bool


def plan(prompt: str, negative_prompt: str = "") -> tuple[Part, ...]:
    """The layers that a prompt asks for, the first-named first, at most seven. Empty when it names nothing that is known."""
    unwanted = {layer for mention in _read(negative_prompt) for layer in mention.layers}
    levels: dict[str, float] = {}
    changes: dict[str, float] = {}
    for mention in _read(prompt):
        if mention.negated:
            unwanted |= mention.layers.keys()
            continue
        for layer, level_db in mention.layers.items():
            levels[layer] = max(levels.get(layer, -math.inf), level_db)
            changes[layer] = changes.get(layer, 0) or mention.change_db
    if "crickets" in levels:
        unwanted |= {layer for layer in _BY_DAY if levels.get(layer) != 0}
    if _WATERS & levels.keys() - unwanted:
        unwanted.add("lapping")
    wanted = [layer for layer in levels if layer not in unwanted][:LAYERS_AT_MOST]
    return tuple(Part(layer, levels[layer] + changes[layer] - STEP_DB * rank) for rank, layer in enumerate(wanted))


def _read(text: str) -> Iterator[_Mention]:
    """The known words and phrases of a text, in their order."""
    words = re.findall(r"[a-z]+|[.,;:!?]", text.lower())
    negated, changes, at = False, [0.0] * _REACH, 0
    while at < len(words):
        layers, length = _look_up(words, at)
        negated = (negated or words[at] in _NEGATIONS) and words[at] not in _TURNS and words[at].isalpha()
        if layers:
            behind = " ".join(words[at + length : at + length + 4])
            far = FAR_DB if re.match(r"(\w+ )?in the (distance|background)", behind) else 0
            yield _Mention(layers, sum(changes) + far, negated)
        # A change goes past a scene to the sound that it is meant for: "soft summer rain".
        changes = [0.0] * _REACH if 0 in layers.values() else [*changes[1:], _CHANGES.get(words[at], 0.0)]
        at += length


def _look_up(words: list[str], at: int) -> tuple[Mapping[str, float], int]:
    """The layers of the longest known phrase that begins here, and its length in words."""
    for length in (3, 2):
        phrase = " ".join(words[at : at + length])
        if phrase in _PHRASES:
            return dict.fromkeys(_PHRASES[phrase].split(), 0.0), length
    return _VOCABULARY.get(words[at], {}), 1


_VOCABULARY: Mapping[str, Mapping[str, float]] = {
    **{word: layers for words, layers in _SCENES.items() for word in words.split()},
    **{word: {layer: 0.0} for layer, words in _SOUNDS.items() for word in words.split()},
}
