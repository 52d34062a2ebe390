"""The page's look as Gradio's components have it. The elements' own stands in `static/page.css`, in the same colours."""

import gradio as gr

SEA = gr.themes.Color(
    name="sea",
    c50="#eef7f8", c100="#d6ecef", c200="#aedbe1", c300="#7cc4ce", c400="#48a6b4", c500="#26899a",
    c600="#156e80", c700="#0f5c6e", c800="#0e4a58", c900="#0d3d49", c950="#06262f",
)  # fmt: skip
STONE = gr.themes.Color(
    name="stone",
    c50="#faf9f6", c100="#f3f1ec", c200="#e5e2da", c300="#cfcabf", c400="#a09b90", c500="#6f6b62",
    c600="#565249", c700="#3f4650", c800="#232b35", c900="#19212a", c950="#11171e",
)  # fmt: skip
FONTS = ("ui-sans-serif", "system-ui", "sans-serif")
MONO = ("ui-monospace", "Consolas", "monospace")

_LOOK = {
    "body_background_fill": "*neutral_50",
    "body_background_fill_dark": "*neutral_950",
    "body_text_color": "#1d2733",
    "body_text_color_dark": "#e8edf2",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "#aab4c0",
    "block_background_fill": "#ffffff",
    "block_background_fill_dark": "*neutral_900",
    "block_border_color": "*neutral_200",
    "block_label_text_color": "#1d2733",
    "block_label_text_color_dark": "#e8edf2",
    "block_title_text_color": "#1d2733",
    "block_title_text_color_dark": "#e8edf2",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "#aab4c0",
    "input_background_fill": "*neutral_50",
    "input_background_fill_dark": "*neutral_950",
    "block_title_text_weight": "550",
    "section_header_text_weight": "650",
    "input_border_width": "1px",
    "input_border_color": "#8a8579",
    "input_border_color_dark": "#6f7b88",
    "input_border_color_focus": "*primary_700",
    "input_border_color_focus_dark": "*primary_300",
    "input_placeholder_color": "*neutral_500",
    "input_placeholder_color_dark": "#94a0ad",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_dark": "*primary_300",
    "button_primary_background_fill_hover_dark": "*primary_200",
    "button_primary_text_color": "#ffffff",
    "button_primary_text_color_dark": "#06262f",
    "checkbox_background_color_selected": "*primary_700",
    "checkbox_background_color_selected_dark": "*primary_500",
    "checkbox_label_background_fill": "transparent",
    "checkbox_label_background_fill_dark": "transparent",
    "checkbox_label_background_fill_hover": "*neutral_100",
    "checkbox_label_background_fill_hover_dark": "*neutral_800",
    "checkbox_label_background_fill_selected": "transparent",
    "checkbox_label_background_fill_selected_dark": "transparent",
    "checkbox_label_border_width": "0px",
    "checkbox_label_border_width_dark": "0px",
    "checkbox_label_padding": "11px 0",
    "checkbox_label_gap": "0px",
    "checkbox_border_color": "*neutral_500",
    "checkbox_border_color_dark": "#7d8895",
    "slider_color": "*primary_700",
    "slider_color_dark": "*primary_300",
}


def theme() -> gr.themes.Base:
    """Calm: warm paper, sea-green accent; fonts of the system, so that nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue=SEA,
        secondary_hue=SEA,
        neutral_hue=STONE,
        font=FONTS,
        font_mono=MONO,
        radius_size=gr.themes.sizes.radius_lg,
        text_size=gr.themes.sizes.text_md,
    ).set(**_LOOK)
