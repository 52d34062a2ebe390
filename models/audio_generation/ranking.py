"""How well a sound fits its prompt, by the CLAP that AudioLDM2 carries (Wu et al., arXiv:2211.06687)."""

from typing import Any

from models.audio import Audio, resample


def clap_score(pipeline: Any, audio: Audio, *, prompt: str) -> float:
    """Cosine similarity of prompt and sound, in [-1, 1].

    Only the middle of a long sound is heard, as much as CLAP takes at once (10 s): its own feature extractor would
    crop at random. (diffusers' ranking does, mixes the prompts of a batch, and is skipped where librosa is missing.)
    """
    import torch

    clap, extractor = pipeline.text_encoder, pipeline.feature_extractor
    heard = min(audio.samples.shape[1], audio.sample_rate * extractor.nb_max_samples // extractor.sampling_rate)
    start = (audio.samples.shape[1] - heard) // 2
    sound = resample(audio.samples[:1, start : start + heard], rate=audio.sample_rate, to=extractor.sampling_rate)
    features = extractor(
        sound[0, : extractor.nb_max_samples], sampling_rate=extractor.sampling_rate, return_tensors="pt"
    )
    words = pipeline.tokenizer(
        prompt, truncation=True, max_length=pipeline.tokenizer.model_max_length, return_tensors="pt"
    )
    with torch.no_grad():
        heard_as = clap.get_audio_features(features.input_features.to(clap.device, clap.dtype)).pooler_output
        read_as = clap.get_text_features(**words.to(clap.device)).pooler_output
        return float(torch.nn.functional.cosine_similarity(heard_as.float(), read_as.float())[0])
