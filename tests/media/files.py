"""Which files the readers are tried on, made and real, and which of them a backend refuses."""

import json

from tests.data.videos import shared

STEADY = range(0, 120, 3)  # 40 frames at 30 fps
IRREGULAR = [0, 3, 4, 9, 12, 30, 33, 60, 61, 62, 90, 93, 95, 120, 150, 151, 152, 160]
# What encode() takes.
FILES = {
    "h264.mp4": dict(times=STEADY, options={"g": "12", "bf": "3"}),
    "open_gop.mp4": dict(times=STEADY, options={"x264-params": "keyint=10:open-gop=1:bframes=3"}),
    "irregular.mkv": dict(times=IRREGULAR, options={"g": "6", "bf": "2"}),
    "irregular.mp4": dict(times=IRREGULAR, options={"g": "6", "bf": "2"}),
    "late.mkv": dict(times=[t + 180 for t in STEADY], options={"g": "10"}),
    "late.mp4": dict(times=[t + 180 for t in STEADY], options={"g": "10", "bf": "2"}),
    "late.ts": dict(times=[t + 180 for t in STEADY], options={"g": "10", "bf": "2"}),
    "fragmented.mp4": dict(
        times=STEADY, options={"g": "10"}, container={"movflags": "frag_keyframe+empty_moov"}
    ),
    "unknown_length.mkv": dict(times=STEADY, options={"g": "10"}, container={"live": "1"}),
    "many_keys.flv": dict(times=STEADY, options={"g": "7", "bf": "2"}),
    "mpeg2_open_gop.mkv": dict(times=STEADY, codec="mpeg2video", options={"g": "7", "bf": "2"}),
    "mpeg4.avi": dict(times=STEADY, codec="mpeg4", options={"g": "8"}),
    "mpeg4_b_frames.avi": dict(times=STEADY, codec="mpeg4", options={"g": "8", "bf": "2"}),
    "odd.webm": dict(times=STEADY, codec="libvpx-vp9", size=(61, 47), options={"g": "15"}),
    "hidden_vp9.webm": dict(
        times=STEADY, codec="libvpx-vp9", options={"auto-alt-ref": "1", "lag-in-frames": "16"}
    ),
    "hidden_vp8.webm": dict(
        times=STEADY,
        codec="libvpx",
        options={"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"},
    ),
    "single.mp4": dict(times=[0]),
}
REFUSED = {
    "pyav": set(),
    "decord": {
        "late.ts",
        "unknown_length.mkv",
        "many_keys.flv",
        "mpeg2_open_gop.mkv",
        "mpeg4_b_frames.avi",
    },
    "torchcodec": {"late.ts", "unknown_length.mkv", "mpeg4_b_frames.avi"},
}

# Real files whose frames cannot all be had, and the words that say why.
BROKEN = {
    "media__sample_audio_only.mp4": "no video stream",
    "media__invalid-bitstream.webm": "does not decode",
    "decord__corrupted.mp4": "does not decode",
}
# Those that decord must not touch: it gives wrong frames, or none.
REFUSED_BY_DECORD = {
    "media__sample.flv",
    "media__iibbibb_editlist_videoonly.mp4",
    "media__sample_sef_slow_motion.mp4",
    "media__sample_vvc.mp4",
    "media__bbb_2500ms.ts",
    "media__sample_h262_mpeg_audio.ts",
    "media__sample_h265.ts",
    "media__roadtrip-vp92-10bit.webm",
    "torchcodec__av1_video.mkv",
    "torchcodec__h265_video.mp4",
    "moviepy__no_duration.webm",
    "torchcodec__nasa_13013.mp4",
}


def real_files():
    """(path, entry of the manifest) of every real file; the test is skipped without them."""
    folder = shared("decoder_clips")
    for entry in json.loads((folder / "manifest.json").read_text()):
        if not entry["file"].endswith(".pt"):
            yield folder / entry["file"], entry
