"""What a person should know of a sound that did not become what was asked for."""

from models.audio_generation import AudioRequest, GeneratedAudio


def notes_on(made: GeneratedAudio, *, request: AudioRequest, model: str) -> tuple[str, ...]:
    """A sentence for everything that the model could not do. `model`: its name."""
    notes = []
    if unread := made.prompt_words_unread:
        words = (
            "1 word at the end of the prompt was" if unread == 1 else f"{unread} words at the end of the prompt were"
        )
        read = len(request.prompt.split()) - unread
        notes.append(f"{words} not read: the model reads about {read}" if read > 0 else f"{words} not read")
    if request.candidates > 1 and not made.candidates:
        notes.append(f"{request.candidates} candidates were asked for, and {model} makes one")
    if request.loop and not made.loops:
        notes.append(f"{model} makes no loops: the sound fades in and out instead")
    if request.reference and not made.listened:
        notes.append(f"{model} cannot listen to a reference: the words alone decided")
    return tuple(notes)
