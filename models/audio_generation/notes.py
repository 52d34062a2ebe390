"""What a person should know of a sound that did not become what was asked for."""

from models.audio_generation import AudioRequest, GeneratedAudio


def notes_on(made: GeneratedAudio, *, request: AudioRequest, model: str) -> tuple[str, ...]:
    """A sentence for everything that the model could not do. `model`: its name."""
    notes = []
    for unread, prompt in (
        (made.prompt_words_unread, "the prompt" if not request.later_prompts else "a scene's prompt"),
        (made.negative_words_unread, "the negative prompt"),
    ):
        if unread:
            words = f"{unread} word{'s' if unread > 1 else ''} at the end of {prompt}"
            notes.append(f"{words} {'were' if unread > 1 else 'was'} not read: the model reads no more")
    if request.candidates > 1 and not made.candidates:
        notes.append(f"{request.candidates} candidates were asked for, and {model} makes one")
    if request.loop and not made.loops:
        notes.append(f"{model} makes no loops: the sound fades in and out instead")
    if request.reference and not made.listened:
        notes.append(f"{model} cannot listen to a reference: the words alone decided")
    return tuple(notes)
