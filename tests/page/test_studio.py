"""`<iv-studio>` in a real browser: what is heard is measured, by the pitch of each sound."""

import pytest
from playwright.async_api import Page, expect

from tests.page.browser import Visits
from tests.page.studio_page import Site, data, give, heard, levels, press, state

IN_STEP = 0.08  # seconds
# The quietest that ten milliseconds of what is heard were, from now on.
_LISTEN = """() => {
  const tap = document.querySelector("iv-studio").tap;
  const samples = new Float32Array(tap.fftSize);
  const part = Math.round(tap.context.sampleRate / 100);
  window.quietest = 1;
  setInterval(() => {
    tap.getFloatTimeDomainData(samples);
    for (let at = samples.length - 8 * part; at < samples.length; at += part) {
      const square = samples.slice(at, at + part).reduce((sum, sample) => sum + sample ** 2, 0) / part;
      window.quietest = Math.min(window.quietest, Math.sqrt(square));
    }
  }, 40);
}"""


async def drift(studio: Page) -> float:
    """The largest of any sound, in seconds."""
    drifts: dict[str, float] = (await state(studio))["drift"]
    return max(abs(seconds) for seconds in drifts.values())


async def settled(studio: Page) -> float:
    """The larger drift of two looks, one after the other, once both are small, or after some seconds in which they were not."""
    await studio.wait_for_timeout(1000)
    before = await drift(studio)
    for _ in range(20):
        await studio.wait_for_timeout(250)
        largest, before = max(before, now := await drift(studio)), now
        if largest < IN_STEP:
            break
    return largest


async def test_the_original_is_heard_at_the_same_instant_without_a_gap(studio: Page) -> None:
    await press(studio, "Play")
    await heard(studio, {"result"})
    before = await state(studio)
    await studio.evaluate(_LISTEN)
    await press(studio, "Original")
    await heard(studio, {"original"})
    assert await studio.evaluate("window.quietest") > 0.07  # both are 0.14, by root mean square
    after = await state(studio)
    assert before["time"] < after["time"]
    assert after["playing"]
    assert abs(after["drift"]["original"]) < IN_STEP
    await press(studio, "With sound")
    await heard(studio, {"result"})
    await expect(studio.get_by_role("button", name="With sound", exact=True)).to_have_attribute("aria-pressed", "true")


async def test_all_sounds_stay_in_step_when_one_seeks_and_pauses(studio: Page) -> None:
    await press(studio, "Mixer")
    await press(studio, "Play")
    assert await settled(studio) < IN_STEP
    await press(studio, "Scene 2, 0:06–0:12 A warm scene with vegetation.")
    assert await settled(studio) < IN_STEP
    assert 6 < (await state(studio))["time"] < 9
    await studio.get_by_label("Place in the result").press("Home")
    assert await settled(studio) < IN_STEP
    await press(studio, "Pause")
    paused = (await state(studio))["time"]
    assert await settled(studio) < IN_STEP
    assert (await state(studio))["time"] == paused
    await heard(studio, set())
    await press(studio, "Play")
    assert await settled(studio) < IN_STEP
    await heard(studio, {"music", "sounds", "original"})


async def test_stems_load_when_the_mixer_is_opened_and_the_result_is_heard_until_then(
    studio: Page, studio_site: Site
) -> None:
    await press(studio, "Play")
    await heard(studio, {"result"})
    assert not {"music.flac", "sounds.flac"} & set(studio_site.asked)
    loud = (await levels(studio))["result"]
    await press(studio, "Mixer")
    await studio.wait_for_function("document.querySelector('iv-studio').state().heard === 'mix'")
    await heard(studio, {"music", "sounds", "original"})
    await studio.wait_for_timeout(700)
    # Three sounds of the same level, together as loud as the result: each 4.8 dB below.
    assert (await levels(studio))["music"] == pytest.approx(loud - 4.8, abs=1.5)
    await press(studio, "Mixer")
    await heard(studio, {"result"})


async def test_the_mixer_is_heard_at_once(studio: Page) -> None:
    await press(studio, "Mixer")
    await press(studio, "Play")
    await heard(studio, {"music", "sounds", "original"})
    await press(studio, "Solo Music")
    await heard(studio, {"music"})
    await press(studio, "Solo Music")
    await press(studio, "Mute Music")
    await heard(studio, {"sounds", "original"})
    before = (await levels(studio))["sounds"]
    await studio.get_by_label("Sound effects, volume").fill("-12")
    await expect(studio.get_by_label("Sound effects, volume")).to_have_attribute("aria-valuetext", "−12 decibels")
    await studio.wait_for_timeout(400)
    assert (await levels(studio))["sounds"] == pytest.approx(before - 12, abs=1)
    await press(studio, "As it was made")
    await heard(studio, {"music", "sounds", "original"})


async def test_a_mix_is_kept_in_the_services_words(studio: Page) -> None:
    await studio.evaluate("addEventListener('keep-mix', ({detail}) => { window.kept = detail })")
    await press(studio, "Mixer")
    await studio.get_by_label("Music, volume").fill("-6")
    await press(studio, "Mute Sound effects")
    await studio.get_by_label("The video's own sound, volume").fill("6")
    await press(studio, "Keep this mix")
    kept = await studio.evaluate("window.kept")
    assert kept == {"music_volume_db": -6, "sound_volume_db": -60, "original": pytest.approx(0.666, abs=0.001)}
    assert await studio.evaluate("document.querySelector('iv-studio').mix") == kept
    await press(studio, "Mute Music")
    await press(studio, "Mute The video's own sound")
    await expect(studio.get_by_role("button", name="Keep this mix")).to_be_disabled()
    await expect(studio.get_by_text("Nothing would be heard")).to_be_visible()


@pytest.mark.parametrize(
    ("settings", "made", "kept"),
    [
        # As it was made.
        ({"music": 0, "original": 0}, {"music": -3, "original_rate": 0.3}, {"music_volume_db": -3, "original": 0.3}),
        # Above the loudest there is, the own sound goes down in its place: 6 dB are half.
        ({"music": 6, "original": 0}, {"music": 12, "original_rate": 0.5}, {"music_volume_db": 12, "original": 0.334}),
        # The result had none of the own sound: it starts level with the rest, and muted.
        ({"music": 0, "original": 0}, {"music": 0, "original_rate": 0}, {"music_volume_db": 0, "original": 0.5}),
        ({"music": 0, "original": None}, {"original_rate": 0.7}, {"music_volume_db": 0, "original": 0}),
        ({"music": None, "original": 0}, {"original_rate": 0.7}, {"music_volume_db": -60, "original": 1}),
        ({"sounds": 3}, {"sounds": 1}, {"sound_volume_db": 4}),
        ({"sounds": None}, {}, None),
    ],
)
async def test_volumes_become_options(
    visits: Visits,
    studio_site: Site,
    settings: dict[str, float | None],
    made: dict[str, float],
    kept: dict[str, float] | None,
) -> None:
    page = await visits.open(studio_site.url)
    await page.evaluate("customElements.whenDefined('iv-studio').then(() => {})")
    rows = [{"name": name, "decibels": level or 0, "muted": level is None} for name, level in settings.items()]
    script = """async ([rows, volumes]) => {
        const {asMade, options} = await import("/studio/static/studio/mix.js");
        return options(rows, asMade(volumes));
    }"""
    found = await page.evaluate(script, [rows, made])
    assert found == (kept and pytest.approx(kept, abs=0.001))


async def test_volume_and_mute_are_heard(studio: Page) -> None:
    await press(studio, "Play")
    await heard(studio, {"result"})
    loud = (await levels(studio))["result"]
    await studio.get_by_label("Volume", exact=True).fill("50")
    await studio.wait_for_timeout(400)
    assert (await levels(studio))["result"] == pytest.approx(loud - 12, abs=1)
    await press(studio, "Mute")
    await heard(studio, set())


async def test_a_source_without_sound_says_so_and_is_silent(visits: Visits, studio_site: Site) -> None:
    page = await visits.open(studio_site.url)
    await give(page, data(original=None, stems=data()["stems"][:2]))
    await press(page, "Play")
    await heard(page, {"result"})
    await press(page, "Original")
    await expect(page.get_by_text("The original has no sound")).to_be_visible()
    await heard(page, set())
    assert (await state(page))["playing"]


async def test_candidates_play_one_at_a_time_and_the_chosen_one_is_named(studio: Page) -> None:
    playing = "[...document.querySelectorAll('iv-studio audio')].map(audio => !audio.paused)"
    chosen = studio.get_by_role("listitem").filter(has_text="In the result")
    await expect(chosen).to_contain_text("Music, candidate 2")
    await expect(chosen).to_contain_text("0.31, the best of 2")
    await press(studio, "Play")
    await press(studio, "Play Music, candidate 1")
    await expect(studio.get_by_role("button", name="Pause Music, candidate 1")).to_be_visible()
    assert not (await state(studio))["playing"]
    await studio.wait_for_timeout(800)
    await press(studio, "Play Music, candidate 2")
    assert await studio.evaluate(playing) == [False, True]
    # The same moment of the other one.
    assert await studio.evaluate("document.querySelectorAll('iv-studio audio')[1].currentTime") > 0.4
    await press(studio, "Play")
    assert await studio.evaluate(playing) == [False, False]
    assert (await state(studio))["playing"]
